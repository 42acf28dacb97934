"""Which modes of a mixture samples come from."""

from functools import partial
from math import inf, log
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.builtin import MIXTURES
from ..errors import UserError
from .metric import Comparison, Entries, Number, Score, Terms, metric

NUMBERS = {
    "modes_captured": Number(higher_is_better=True), "high_quality": Number(higher_is_better=True, high=1.0),
    "reverse_kl": Number(higher_is_better=False),
}  # fmt: skip
Points = Float[Tensor, "_ _"]
MIN_OWN_SHARE = 0.9
"""share of a mixture's own points that lie within three deviations of a centre, at least: in the plane 0.989"""


class ModeCoverage(NamedTuple):
    """How well samples cover a mixture."""

    captured: int
    """modes from which at least one sample of high quality comes"""
    high_quality: float
    """share of the samples that are of high quality"""
    reverse_kl: float
    """KL divergence of the modes' shares from equal ones, in nats"""


def mode_coverage(samples: Points, centres: Points, sigma: float, max_sigmas: float = 3.0) -> ModeCoverage:
    """How well samples cover a mixture of k equally likely Gaussians with these centres and this deviation.

    Samples are n x d, centres k x d.  A sample is of high quality if its Euclidean distance to the nearest centre, its
    mode, is less than `max_sigmas` sigma; a mode with such a sample is captured.  The reverse KL is sum_i p_i log(k
    p_i), p_i the share of mode i among the samples of high quality, as in the authors' code; infinite without any.
    Source: Lin et al., PacGAN, arXiv:1712.04086, section 4.1.  n samples of the mixture itself capture all modes with
    a reverse KL of about (k - 1) / (2 n), and in two dimensions 98.9% of them lie within 3 sigma.
    """
    nearest, is_high_quality = assign_modes(samples, centres, sigma, max_sigmas)
    counts = nearest[is_high_quality].bincount()
    if not is_high_quality.any():
        return ModeCoverage(0, 0.0, inf)
    p = counts[counts > 0].double() / counts.sum()
    reverse_kl = (p * p.log()).sum().item() + log(len(centres))
    return ModeCoverage(len(p), is_high_quality.double().mean().item(), max(0.0, reverse_kl))


def assign_modes(samples: Points, centres: Points, sigma: float, max_sigmas: float = 3.0) -> tuple[Tensor, Tensor]:
    """The mode of each sample, and whether it is of high quality; UserError where sizes do not fit."""
    if samples.shape[1] != centres.shape[1] or min(len(samples), len(centres)) == 0:
        shapes = f"{tuple(samples.shape)} samples and {tuple(centres.shape)} centres"
        raise UserError(f"{shapes}: give some of each, of as many numbers")
    nearest = (samples.double().cpu()[:, None] - centres.double().cpu()).square().sum(2).min(1)
    return nearest.indices, nearest.values.sqrt() < max_sigmas * sigma


def mode_scores(samples: Points, centres: Points, sigma: float, n_real: int) -> dict[str, Score]:
    """Modes captured, share of high quality and reverse KL; the `n_real` held-out examples have no influence."""
    coverage = mode_coverage(samples, centres, sigma)

    def influence(name: str) -> Terms:
        n, (mode, is_high_quality) = len(samples), assign_modes(samples, centres, sigma)
        counts = mode[is_high_quality].bincount(minlength=len(centres)).double()
        total = max(1.0, counts.sum().item())
        is_only_sample = is_high_quality & (counts[mode] == 1)  # without it, a mode less
        log_ratio = (counts / total * len(centres))[mode].clamp_min(1e-300).log()
        kl_terms = (log_ratio - coverage.reverse_kl) * is_high_quality * (n / total)
        terms = dict(zip(NUMBERS, (is_only_sample * (n - 1.0), is_high_quality, kl_terms), strict=True))
        return torch.zeros(n_real), terms[name]

    return {name: Score(float(x), partial(influence, name)) for name, x in zip(NUMBERS, coverage, strict=True)}


@metric("modes", NUMBERS, needs="vectors", on_features=False, rank=11)
def compute(c: Comparison) -> Entries:
    """The numbers of samples of a mixture, whose centres are known by its name; UserError where it is none known."""
    held_out, known = c.real.data, MIXTURES.get(c.real.data.name)
    if known is None or held_out.shape != known.centres.shape[1:]:
        raise UserError(f"modes are known of {' and '.join(MIXTURES)} only, and these are {held_out.name}")
    centres = torch.from_numpy(known.centres)
    if mode_coverage(held_out.x, centres, known.sigma).high_quality < MIN_OWN_SHARE:
        raise UserError(f"{held_out.name} is named like a mixture, but its points are not that one's: rename it")
    scores = mode_scores(c.fake.data.x, centres, known.sigma, len(c.real.data))
    return iter([*scores.items(), ("modes", len(centres))])
