"""Generative adversarial network.  Goodfellow et al., Generative Adversarial Nets, arXiv:1406.2661.

    min_G max_D  E_x log s(D(x))  +  E_z log(1 - s(D(G(z)))),      s the logistic function: D returns logits

`step` is algorithm 1: k updates of D, each on m fresh noise samples and m fresh examples, then one update of G
on m fresh noise samples.  With loss="minimax" G descends log(1 - s(D(G(z)))) as the game says; the default is
section 3's -log s(D(G(z))), which has the same fixed point and does not saturate.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, final

import torch
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..model import STRICT, Batch, Move, Rate, Shape, device_of, minimize
from ..nets import Depth, chosen, decoder, encoder, initialize
from ..objectives import discriminator_loss, minimax_loss, nonsaturating_loss
from .latent import LatentModel

LOSSES = {"non-saturating": nonsaturating_loss, "minimax": minimax_loss}


@final
@dataclass(frozen=True, kw_only=True, config=STRICT)
class GAN(LatentModel):
    """A generator learns to fool a discriminator, which learns not to be fooled."""

    scaffolding = ("D",)

    latent: Annotated[int, Field(gt=0, le=65536)] = 64
    """dimensions of the noise z"""
    net: Literal["auto", "conv", "mlp"] = "auto"
    """kind of networks; auto is conv for images, mlp for vectors"""
    k: Annotated[int, Field(gt=0)] = 1
    """discriminator updates per generator update"""
    loss: Literal["non-saturating", "minimax"] = "non-saturating"
    """what the generator descends"""
    depth: Depth = 2
    """hidden layers of an MLP"""
    lr: Annotated[float, Field(gt=0)] = 2e-4
    """Adam's learning rate"""
    betas: tuple[Rate, Rate] = (0.5, 0.999)
    """Adam's decay rates"""

    def networks(self, shape: Shape, classes: int = 0) -> dict[str, nn.Module]:
        conv = chosen(self.net, shape) == "conv"
        G = decoder(self.net, self.latent, shape, self.width, self.depth, norm=conv)
        D = encoder(self.net, shape, 1, self.width, self.depth, norm=conv, activation="leaky-relu")
        if len(shape) == 3:
            G.append(nn.Tanh())  # pixels lie in [-1, 1], vectors anywhere
        return {"G": initialize(G) if conv else G, "D": initialize(D) if conv else D}

    def step(self, batches: Iterator[Batch], done: int, G: nn.Module, D: nn.Module) -> Iterator[Move]:
        """Algorithm 1."""
        for _ in range(self.k):
            x, *_ = next(batches)
            with torch.no_grad():
                fake = G(fresh_noise(len(x), self.latent, G))
            real_loss, fake_loss = discriminator_loss(*verdicts(D, x, fake))
            yield minimize(D, real=real_loss, fake=fake_loss)
        yield minimize(G, fool=LOSSES[self.loss](D(G(fresh_noise(len(x), self.latent, G)))))

    def generate(self, z: Float[Tensor, "n d"], G: nn.Module) -> Float[Tensor, "n *shape"]:
        """G(z)."""
        x: Tensor = G(z)
        return x

    def preview(self, batch: Batch, G: nn.Module) -> Float[Tensor, "rows n *shape"]:
        """Four rows of samples."""
        n = len(batch.x)
        return torch.stack(self.generate(fresh_noise(4 * n, self.latent, G), G).chunk(4))


def verdicts(D: nn.Module, x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """D(x) and D(fake): in one pass where D sees each example alone, in two where batch norm would mix them."""
    if any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in D.modules()):
        return D(x), D(fake)
    real, fooled = D(torch.cat([x, fake])).chunk(2)
    return real, fooled


def fresh_noise(n: int, d: int, G: nn.Module) -> Float[Tensor, "n d"]:
    """n samples z ~ N(0, I), on the device of G, from the step's own random numbers."""
    return torch.randn(n, d, device=device_of(G))
