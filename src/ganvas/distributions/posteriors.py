"""Posteriors q(z|x): diagonal, full and low-rank Gaussians, and an inverse autoregressive flow.

The last layer of an encoder is a head, which turns raw outputs into a `Posterior`, in float32 whatever the precision
of the network.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from ..objectives.precision import at_least_float32
from .flow import IAF, IAFHead
from .gaussian import (
    ACTIVE_THRESHOLD,
    DiagonalGaussian,
    FullGaussian,
    LowRankGaussian,
    Posterior,
    PosteriorSamples,
    detach,
    disable_autocast,
    noise_like,
    normal_log_prob,
)

Family = Literal["diagonal", "full", "low-rank", "iaf"]


class PosteriorHead(nn.Module):
    """The last layer of an encoder whose posterior is Gaussian: it has no weights of its own."""

    def __init__(self, build_posterior: Callable[[Tensor], Posterior]) -> None:
        super().__init__()
        self.build_posterior = build_posterior

    def forward(self, raw: Float[Tensor, "b n"]) -> Posterior:
        return self.build_posterior(at_least_float32(raw))


def posterior_head(family: Family, d: int, rank: int, steps: int, width: int) -> tuple[int, nn.Module]:
    """How many numbers an encoder returns for d dimensions of z, and the head that makes a posterior of them.

    `rank` is that of low-rank's U; `steps` and `width` are the steps of iaf and the units of their hidden layers.
    """
    match family:
        case "diagonal":
            return DiagonalGaussian.n_outputs(d), PosteriorHead(DiagonalGaussian.from_raw)
        case "full":
            return FullGaussian.n_outputs(d), PosteriorHead(FullGaussian.from_raw)
        case "low-rank":
            return LowRankGaussian.n_outputs(d, rank), PosteriorHead(partial(LowRankGaussian.from_raw, rank=rank))
        case "iaf":
            return 3 * d, IAFHead(d, steps, width)


__all__ = [
    "ACTIVE_THRESHOLD",
    "IAF",
    "DiagonalGaussian",
    "Family",
    "FullGaussian",
    "IAFHead",
    "LowRankGaussian",
    "Posterior",
    "PosteriorHead",
    "PosteriorSamples",
    "detach",
    "disable_autocast",
    "noise_like",
    "normal_log_prob",
    "posterior_head",
]  # fmt: skip
