"""How often a nearest neighbour is of the same set: the accuracy of a 1-nearest-neighbour classifier."""

import torch
from jaxtyping import Float
from torch import Tensor

from .metric import Comparison, Entries, Number, Score, Terms, metric
from .neighbours import NeighbourIndex, build_indexes, nearest_distances


def one_nn_accuracy(real: Float[Tensor, "m d"], fake: Float[Tensor, "n d"]) -> tuple[float, float]:
    """Share of the real, and of the generated examples, whose nearest other example is of their own set.

    The leave-one-out 1-nearest-neighbour classifier of Lopez-Paz & Oquab, arXiv:1610.06545: 0.5 for both where it
    cannot tell the sets apart, 1 where it can; higher for generated examples where these vary less than the data.
    Where the nearest ones of either set are as near, e.g. duplicates in both, that counts half.
    """
    return own_neighbour_shares(*build_indexes(real, fake, k=1))


def own_neighbour_shares(real: NeighbourIndex, fake: NeighbourIndex) -> tuple[float, float]:
    """The two shares of `one_nn_accuracy`."""
    real_to_fake, fake_to_real = nearest_distances(real.x, fake.x)
    pairs = ((real.radii(1), real_to_fake), (fake.radii(1), fake_to_real))
    on_real, on_fake = (((a < b).double() + (a <= b).double()).mean().item() / 2 for a, b in pairs)
    return on_real, on_fake


@metric("one-nn", {"one_nn_accuracy": Number(higher_is_better=False, high=1.0)}, rank=4)
def compute(c: Comparison) -> Entries:
    """The accuracy, and that of each of the two sets."""
    real, fake = c.real.index, c.fake.index
    on_real, on_fake = own_neighbour_shares(real, fake)

    def influence() -> Terms:
        """Where an example is left out, those nearest to it have their second nearest one."""
        pooled, m = NeighbourIndex(torch.cat([real.x, fake.x]), k=2), len(real.x)
        is_real = torch.arange(len(pooled.x)) < m
        first, second = (is_real[pooled.nearest[0]] == is_real[:, None]).double().unbind(1)
        terms = (first + pooled.sum_to_nearest(first - second)) / 2
        return terms[:m], terms[m:]

    accuracy = Score((on_real + on_fake) / 2, influence)
    names = ("one_nn_accuracy", "one_nn_accuracy_real", "one_nn_accuracy_generated")
    return zip(names, (accuracy, Score(on_real), Score(on_fake)), strict=True)
