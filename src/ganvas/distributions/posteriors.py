"""Posteriors q(z|x): diagonal, full and low-rank Gaussians, and an inverse autoregressive flow.

The last layer of an encoder is a head, which turns raw outputs into a `Posterior`, in float32 whatever the precision
of the network.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .flow import Flow, FlowHead
from .gaussian import ACTIVE, Diagonal, Draw, Full, LowRank, Posterior, exactly, noise_like, normal_terms

Family = Literal["diagonal", "full", "low-rank", "iaf"]


class Head(nn.Module):
    """The last layer of an encoder whose posterior is Gaussian: it has no weights of its own."""

    def __init__(self, of: Callable[[Tensor], Posterior]) -> None:
        super().__init__()
        self.of = of

    def forward(self, raw: Float[Tensor, "b n"]) -> Posterior:
        return self.of(raw.to(torch.promote_types(raw.dtype, torch.float32)))


def head(family: Family, d: int, rank: int, steps: int, width: int) -> tuple[int, nn.Module]:
    """How many numbers an encoder returns for d dimensions of z, and the head that makes a posterior of them.

    `rank` is that of low-rank's U; `steps` and `width` are the steps of iaf and the units of their hidden layers.
    """
    match family:
        case "diagonal":
            return Diagonal.size(d), Head(Diagonal.of)
        case "full":
            return Full.size(d), Head(Full.of)
        case "low-rank":
            return LowRank.size(d, rank), Head(partial(LowRank.of, rank=rank))
        case "iaf":
            return 3 * d, FlowHead(d, steps, width)


__all__ = [
    "ACTIVE", "Diagonal", "Draw", "Family", "Flow", "FlowHead", "Full", "Head", "LowRank", "Posterior", "exactly",
    "head", "noise_like", "normal_terms",
]  # fmt: skip
