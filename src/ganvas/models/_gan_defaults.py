"""What GANs for images do where nobody says how: good pictures of some thousand examples, in minutes.

A generator that enlarges its maps by interpolation, and a discriminator without normalisation, both small, since on a
processor the number of steps counts most; the relativistic loss (arXiv:2501.05441), R1 on every 16th batch
(arXiv:1912.04958), large steps of Adam that shrink to 0 over the second half, and averages of weights over a thousand
steps.  Where examples are few, D sees them shifted, and mirrored if mirror images are like examples.
`benchmarks/pictures.py` measures all that beside the papers' values (docs/models/dcgan.md).
"""

from collections.abc import Set
from typing import Any

from ..data import Dataset
from ..data.mirror import has_mirror_images
from ..nn.augment import Augmentation

PICTURE_DEFAULTS: dict[str, Any] = {
    "net": "resize", "width": 32, "latent": 64, "noise_distribution": "normal", "norm_d": "none",
    "loss": "relativistic", "r1": 0.2, "penalty_interval": 16, "lr": 2e-3, "betas": (0.5, 0.99), "augment": (),
    "batch_size": 32, "steps": 10000, "ema_decay": 0.998, "lr_decay": 0.5,
}  # fmt: skip
GAME = {
    "net", "norm", "norm_d", "loss", "gp", "r1", "r2", "penalty_interval", "weight_clip", "spectral_norm", "n_critic",
}  # fmt: skip
"""options of which one that is given leaves all as the paper has them"""
FEW = 20000
"""examples below which D sees them changed"""


def picture_defaults(data: Dataset, given: Set[str]) -> dict[str, Any]:
    """Values for images, for options that are not given; none where anything of the networks or the loss is."""
    if not data.has_images or given & GAME:
        return {}
    values = PICTURE_DEFAULTS | {"augment": augmentations(data)}
    if "epochs" in given:  # it says how long to train
        del values["steps"]
    return values


def augmentations(data: Dataset) -> tuple[Augmentation, ...]:
    """How D sees examples: as they are where they are many."""
    if len(data) >= FEW:
        return ()
    return ("flip", "shift") if has_mirror_images(data.in_memory.x) else ("shift",)
