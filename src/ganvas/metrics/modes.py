"""Which modes of a mixture samples come from."""

from math import inf, log
from typing import NamedTuple

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..errors import UserError


class ModeCoverage(NamedTuple):
    """What `modes` counts."""

    captured: int
    """modes from which at least one sample of high quality comes"""
    high_quality: float
    """share of the samples that are of high quality"""
    reverse_kl: float
    """KL divergence of the modes' shares from equal ones, in nats"""


def mode_coverage(
    samples: Float[Tensor, "n d"], centres: Float[Tensor, "k e"], sigma: float, max_sigmas: float = 3.0
) -> ModeCoverage:
    """How well samples cover a mixture of k equally likely Gaussians with these centres and this deviation.

    A sample is of high quality if its Euclidean distance to the nearest centre, its mode, is less than `within` sigma,
    and a mode is captured if it is that of at least one such sample.  The reverse KL is sum_k p_k log(k p_k), p_k the
    share of mode k among the samples of high quality, as in the authors' code; it is infinite where there are none.
    Source: Lin et al., PacGAN, arXiv:1712.04086, section 4.1.  n samples of the mixture itself capture all modes with
    a reverse KL of about (k - 1) / (2 n), and in two dimensions 98.9% of them lie within 3 sigma.
    """
    nearest, is_high_quality = assign_modes(samples, centres, sigma, max_sigmas)
    counts = nearest[is_high_quality].bincount(minlength=len(centres))
    if not is_high_quality.any():
        return ModeCoverage(0, 0.0, inf)
    p = counts[counts > 0].double() / counts.sum()
    reverse_kl = (p * p.log()).sum().item() + log(len(centres))
    return ModeCoverage(int((counts > 0).sum()), is_high_quality.double().mean().item(), max(0.0, reverse_kl))


def assign_modes(
    samples: Float[Tensor, "n d"], centres: Float[Tensor, "k e"], sigma: float, max_sigmas: float = 3.0
) -> tuple[Int64[Tensor, " n"], Bool[Tensor, " n"]]:
    """The mode of each sample, and whether it is of high quality; UserError where sizes do not fit."""
    if samples.shape[1] != centres.shape[1] or min(len(samples), len(centres)) == 0:
        raise UserError(
            f"{tuple(samples.shape)} samples and {tuple(centres.shape)} centres: give some of each, of as many numbers"
        )
    differences = samples.double().cpu()[:, None] - centres.double().cpu()
    nearest = differences.square().sum(2).min(1)
    return nearest.indices, nearest.values.sqrt() < max_sigmas * sigma
