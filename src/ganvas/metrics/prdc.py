"""Precision, recall, density and coverage: who lies in the balls that reach to the k-th nearest of one's own set."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from .metric import Comparison, Entries, Number, Score, metric
from .neighbours import N_NEIGHBOURS, NeighbourIndex, build_indexes, distance_chunks

SHARE, DENSITY = Number(higher_is_better=True, high=1.0), Number(higher_is_better=True)
NUMBERS = {"precision": SHARE, "recall": SHARE, "density": DENSITY, "coverage": SHARE}


class PRDCTerms(NamedTuple):
    """Terms whose means are the four numbers: one for each generated example, or for each real one."""

    precision: Bool[Tensor, " n"]  # whether each generated example lies in the ball of a real one
    recall: Bool[Tensor, " m"]  # whether each real example lies in the ball of a generated one
    density: Float64[Tensor, " n"]  # in how many balls of real examples each generated one lies, divided by k
    coverage: Bool[Tensor, " m"]  # whether the ball of each real example holds a generated one


class BallCounts(NamedTuple):
    """Who lies in whose ball, of m real and n generated examples; a ball reaches to the k-th nearest of its own set."""

    real_balls: Float64[Tensor, " n"]  # in how many balls of real examples each generated one lies
    fake_balls: Float64[Tensor, " m"]  # in how many balls of generated examples each real one lies
    fakes_held: Float64[Tensor, " m"]  # how many generated examples each real one's ball holds
    only_holder: Float64[Tensor, " m"]  # how many generated examples each real one's ball alone holds
    only_ball: Float64[Tensor, " n"]  # how many real examples each generated one's ball alone holds
    only_held: Float64[Tensor, " n"]  # in how many balls of real examples each generated one is alone

    def terms(self, k: int) -> PRDCTerms:
        """The terms of the four numbers."""
        return PRDCTerms(self.real_balls > 0, self.fake_balls > 0, self.real_balls / k, self.fakes_held > 0)


def count_balls(real: NeighbourIndex, fake: NeighbourIndex) -> BallCounts:
    """All counts in one pass over the distances."""
    n, real_radii, fake_radii = len(fake.x), real.ball_radii(), fake.ball_radii()
    real_balls, holder_sums, only_ball, only_held = torch.zeros(4, n, dtype=torch.float64)
    fake_balls, fakes_held = [], []
    for i, pairwise in distance_chunks(real.x, fake.x):
        rows = slice(i, i + len(pairwise))
        in_real, in_fake = (pairwise < real_radii[rows, None]).float(), (pairwise < fake_radii).float()
        fakes_held.append(in_real.sum(1).double())
        fake_balls.append(in_fake.sum(1).double())
        real_balls += in_real.sum(0)
        holder_sums += torch.arange(rows.start, rows.stop, dtype=torch.float32) @ in_real
        only_held += in_real[fakes_held[-1] == 1].sum(0)
        only_ball += in_fake[fake_balls[-1] == 1].sum(0)
    only_holder = holder_sums[real_balls == 1].long().bincount(minlength=len(real.x)).double()
    return BallCounts(real_balls, torch.cat(fake_balls), torch.cat(fakes_held), only_holder, only_ball, only_held)


def precision_recall(real: Float[Tensor, "m d"], fake: Float[Tensor, "n d"], k: int = N_NEIGHBOURS) -> PRDCTerms:
    """Improved precision and recall, density and coverage.

    Kynkaanniemi et al., arXiv:1904.06991, equations 1 and 2; Naeem et al., arXiv:2002.09797, equations 4 and 5.
    """
    return count_balls(*build_indexes(real, fake, k=k)).terms(k)


def prdc_scores(real: NeighbourIndex, fake: NeighbourIndex) -> dict[str, Score]:
    """The four numbers.

    Besides its own term, an example has one for each other example that only its ball holds, or whose ball holds only
    it.  Balls grow where one is left out, which makes up for part of that, so intervals are rather too wide.
    """
    m, n, k, counts = len(real.x), len(fake.x), real.k, count_balls(real, fake)
    terms = counts.terms(k)
    influence = {
        "precision": lambda: (counts.only_holder * (m - 1) / n, terms.precision),
        "recall": lambda: (terms.recall, counts.only_ball * (n - 1) / m),
        "density": lambda: (counts.fakes_held * m / (n * k), terms.density),
        "coverage": lambda: (terms.coverage, counts.only_held * (n - 1) / m),
    }
    return {name: Score(t.double().mean().item(), influence[name]) for name, t in terms._asdict().items()}


@metric("prdc", NUMBERS, rank=3)
def compute(c: Comparison) -> Entries:
    return iter(prdc_scores(c.real.index, c.fake.index).items())
