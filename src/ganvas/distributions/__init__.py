"""Posteriors q(z|x), likelihoods p(x|z), and priors fitted to codes."""

from functools import partial
from typing import Literal

from torch import nn

from .flow import IAFHead
from .posteriors import DiagonalGaussian, FullGaussian, LowRankGaussian, PosteriorHead

Family = Literal["diagonal", "full", "low-rank", "iaf"]


def posterior_head(family: Family, d: int, rank: int, steps: int, width: int) -> tuple[int, nn.Module]:
    """How many numbers an encoder returns for d dimensions of z, and the head that makes a posterior of them.

    `rank` is that of low-rank's U; `steps` and `width` are the steps of iaf and the units of their hidden layers.
    """
    match family:
        case "diagonal":
            return 2 * d, PosteriorHead(DiagonalGaussian.from_raw)
        case "full":
            return d + d * (d + 1) // 2, PosteriorHead(FullGaussian.from_raw)
        case "low-rank":
            return d * (2 + rank), PosteriorHead(partial(LowRankGaussian.from_raw, rank=rank))
        case "iaf":
            return 3 * d, IAFHead(d, steps, width)
