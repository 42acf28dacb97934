"""Autoencoder.  Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, Science 313, 2006.

    min_{f, g}  E_x | x - g(f(x)) |^2

The encoder f returns a code z, the decoder g rebuilds the example.  Can it generate?  `generate` decodes any z,
and `noise` draws z from N(0, I): nothing in the objective has prepared g for such codes.
"""

from collections.abc import Iterator
from typing import final

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..model import STRICT, Batch, Move, Shape, minimize
from ..nets import decoder, encoder
from ..objectives import squared_error
from .latent import LatentModel


@final
@dataclass(frozen=True, kw_only=True, config=STRICT)
class Autoencoder(LatentModel):
    """Learn a short code from which the example can be rebuilt."""

    span = (0.0, 1.0)
    kept = ("encoder", "decoder")

    def networks(self, shape: Shape) -> dict[str, nn.Module]:
        bound = [nn.Sigmoid()] if len(shape) == 3 else []  # pixels lie in [0, 1], vectors anywhere
        return {
            "encoder": encoder(self.net, shape, self.latent, self.width, self.depth),
            "decoder": decoder(self.net, self.latent, shape, self.width, self.depth).extend(bound),
        }

    def step(self, batches: Iterator[Batch], encoder: nn.Module, decoder: nn.Module) -> Iterator[Move]:
        x, _ = next(batches)
        yield minimize(encoder, decoder, reconstruction=squared_error(x, decoder(encoder(x))).mean())

    def encode(self, x: Float[Tensor, "n *shape"], encoder: nn.Module, **_: nn.Module) -> Float[Tensor, "n d"]:
        """f(x)."""
        code: Tensor = encoder(x)
        return code

    def generate(self, z: Float[Tensor, "n d"], decoder: nn.Module, **_: nn.Module) -> Float[Tensor, "n *shape"]:
        """g(z)."""
        x: Tensor = decoder(z)
        return x

    def preview(self, batch: Batch, encoder: nn.Module, decoder: nn.Module) -> Float[Tensor, "rows n *shape"]:
        """Rows: examples, their reconstructions."""
        return torch.stack([batch.x, decoder(encoder(batch.x))])
