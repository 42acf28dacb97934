"""Autoencoder.  Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, Science 313, 2006.

    min_{f, g}  E_x | x - g(f(x)) |^2

The encoder f returns a code z, the decoder g rebuilds the example.  Can it generate?  `generate` decodes any z,
and `noise` draws z from N(0, I): nothing in the objective has prepared g for such codes.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..distributions.likelihoods import begin_transparent
from ..distributions.tables import Columns, ColumnsHead
from ..model import Batch, Batches, Moves, Shape, minimize
from ..nn import decoder, encoder
from ..objectives.reconstruction import squared_error
from ..rules import Rule
from ..table_shape import TableShape
from ._latent import Codes, Examples, LatentModel, Network, Rows
from ._latent_diagnosis import fewer_dimensions, prior_rule, used_rule
from ._own import EncoderDecoder, copy_own_network


class Autoencoder(EncoderDecoder, LatentModel):
    """Learn a short code from which the example can be rebuilt."""

    ignored_options: ClassVar[tuple[str, ...]] = ("keep", "patience")
    pixel_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    has_normal_prior = False

    def networks(self, shape: Shape, classes: int = 0) -> dict[str, nn.Module]:
        """f and g.  Those of the user's own are taken as they are: b x *shape -> b x d and back, pixels in [0, 1]."""
        d, sizes = self.code_size(shape), (self.width, self.depth)
        bound: list[nn.Module] = [nn.Sigmoid()] if len(shape) > 1 else []  # pixels lie in [0, 1], vectors anywhere
        bound = [ColumnsHead(shape)] if isinstance(shape, TableShape) else bound
        f = (
            copy_own_network(self, "encoder", shape, (d,), f"a code of {d} numbers") if "encoder" in self.own_networks
            else encoder(self.net, shape, d, *sizes)
        )  # fmt: skip
        g = (
            copy_own_network(self, "decoder", (d,), shape, "an example") if "decoder" in self.own_networks
            else begin_transparent(decoder(self.net, d, shape, *sizes), shape).extend(bound)
        )  # fmt: skip
        return {"encoder": f, "decoder": g}

    def step(self, batches: Batches, global_step: int, encoder: nn.Module, decoder: nn.Module) -> Moves:
        x, *_ = next(batches)
        y = decoder(encoder(x))
        error = y.nll(x)[0] if isinstance(y, Columns) else squared_error(x.flatten(1), y.flatten(1))
        yield minimize(encoder, decoder, reconstruction=error.mean())

    def encode(self, x: Examples, encoder: Network, **_: Any) -> Codes:
        """f(x)."""
        return encoder(x)

    def sample_posterior(self, x: Examples, encoder: Network, **_: Any) -> Codes:
        """f(x): the code is no distribution."""
        return self.encode(x, encoder)

    def generate(self, z: Codes, decoder: Network, **_: Any) -> Examples:
        """g(z); of a table's rows the probabilities of entries."""
        y = decoder(z)
        return y.mean if isinstance(y, Columns) else y

    def draw(self, z: Codes, shape: TableShape, noise: Tensor, *labels: Tensor, **networks: Any) -> Examples:
        """Rows of a table from the distribution that the decoder gives."""
        rows: Tensor = networks["decoder"](z).draw(noise)
        return rows

    def monitor(self, batch: Batch, encoder: Network, **_: Any) -> dict[str, Tensor]:
        """Mean and standard deviation of each dimension of the codes."""
        code = self.encode(batch.x, encoder)
        return {"aggregate_mean": code.mean(0), "aggregate_std": code.std(0)}

    def rules(self, config: TrainConfig) -> Iterator[Rule]:
        return chain(super().rules(config), [prior_rule(), used_rule("used", fewer_dimensions)])

    def preview(self, batch: Batch, encoder: nn.Module, decoder: nn.Module) -> Rows:
        """Rows: examples, their reconstructions."""
        return torch.stack([batch.x, self.generate(encoder(batch.x), decoder)])
