"""How much alike samples are: MS-SSIM of pairs of them."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..data.scaling import composite_backgrounds
from ..randomness import make_generator
from .fidelity import ms_ssim, n_scales
from .metric import Comparison, Entry, Metric, Score

N_PAIRS = 1000
"""pairs of examples, at most"""


def mean_similarity(x: Tensor, seed: int) -> float:
    """Mean MS-SSIM of pairs of different images: higher than that of real pairs where samples are too much alike."""
    generator = make_generator(torch.device("cpu"), seed, "pairs")
    first = torch.randint(len(x), (min(N_PAIRS, len(x)),), generator=generator)
    second = (first + torch.randint(1, len(x), first.shape, generator=generator)) % len(x)  # never itself
    a, b = (composite_backgrounds(x[index]).float() / 255 for index in (first, second))
    return ms_ssim(a, b).mean().item()


def compute(c: Comparison) -> Iterator[tuple[str, Entry]]:
    """The similarity of pairs of samples."""
    yield "ms_ssim", Score(mean_similarity(c.fake.data.x, c.seed))
    yield "ms_ssim_scales", n_scales(c.fake.data.shape)


MS_SSIM = Metric("ms-ssim", {}, compute, needs="images", on_features=False, rank=9)
