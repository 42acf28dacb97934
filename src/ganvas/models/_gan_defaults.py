"""What GANs for images do where nobody says how: good pictures of some thousand examples, in minutes.

A generator that enlarges its maps by interpolation, all of whose norms see the noise (arXiv:1810.01365), and a
discriminator without normalisation, with a further convolution for fine detail, both small, since on a processor the
number of steps counts most; the relativistic loss (arXiv:2501.05441), R1 on every 16th batch (arXiv:1912.04958),
large steps of Adam that shrink to 0 over the second half, and averages of weights over five hundred steps.  Where
examples are few, D sees them shifted; where coloured ones are very few, their colours are changed too.  For figures
beside those of others see docs/models/dcgan.md.
"""

from collections.abc import Set
from typing import Any

import torch

from ..data import Data, Dataset
from ._defaults import FEW_EXAMPLES, fit_schedule

PICTURE_DEFAULTS: dict[str, Any] = {
    "net": "resize", "width": 32, "fine_convolutions": 1, "latent": 64, "noise_distribution": "normal",
    "norm": "modulated", "norm_d": "none", "loss": "relativistic", "r1": 0.2, "penalty_interval": 16, "lr": 2e-3,
    "betas": (0.5, 0.99), "augment": ("shift",), "batch_size": 32,
    "steps": 10000, "ema_decay": 0.998, "lr_decay": 0.5,
}  # fmt: skip
VERY_FEW_EXAMPLES = 2000
"""coloured examples below which D learns them by heart within minutes, unless their colours change"""
SLOPE = {"gp", "r1", "r2", "weight_clip", "spectral_norm", "norm_d"}
"""options that hold D's slope: where one is given, R1 is not chosen as well"""
REPLACEMENTS = {"penalty_interval": SLOPE, "r1": {"gp", "weight_clip", "spectral_norm"}}
"""see `Model.replacements`"""


def picture_defaults(net: str, data: Data, given: Set[str]) -> dict[str, Any]:
    """`PICTURE_DEFAULTS` for options that are not given; colours change too where very few examples have them."""
    changes = {"augment": ("shift", "color")} if len(data) < VERY_FEW_EXAMPLES and has_colours(data) else {}
    return image_defaults(net, data, given, PICTURE_DEFAULTS | changes)


def image_defaults(net: str, data: Data, given: Set[str], values: dict[str, Any]) -> dict[str, Any]:
    """Those of the values for images that fit the data, for options that are not given.

    None where `net` is given, since they go with other networks.
    """
    if not data.has_images or ("net" in given and net != "auto"):
        return {}
    unused = {"r1", "penalty_interval"} if given & SLOPE else set[str]()
    unused |= set() if len(data) < FEW_EXAMPLES else {"augment"}
    return fit_schedule({name: value for name, value in values.items() if name not in unused}, given)


def has_colours(data: Data) -> bool:
    """Whether examples are bytes of red, green and blue, not the channels of a measurement."""
    examples = data.in_memory
    return isinstance(examples, Dataset) and examples.x.dtype == torch.uint8 and examples.shape[0] in (3, 4)
