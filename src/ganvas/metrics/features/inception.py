"""The InceptionV3 of published Frechet distances and scores: TensorFlow's of 2015-12-05, 2,048 features, 1,008 logits.

Szegedy et al., arXiv:1512.00567, as in the graph that the FID was defined with (Heusel et al., arXiv:1706.08500), whose
average pooling does not count padding, and which pools by maxima in its last block.  Preprocessing is the graph's own:
TensorFlow 1's bilinear resize to 299 x 299, (pixels - 128) / 128.  Scores are of logits without bias, as those of
Salimans et al., arXiv:1606.03498, were.

Tests verify parameters' names and shapes, outputs' sizes, poolings, and the resize; not, without weights, all numbers.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ...data.dataset import convert_channels
from .base import FeatureSpace
from .published import PublishedWeights

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION = PublishedWeights(
    "inception-v3-fid",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    (INCEPTION_FILE, "pt_inception-2015-12-05-6726825d.pth"),
    remedy=f"ganvas features --download inception-v3-fid (96 MB), or GANVAS_INCEPTION=/path/to/{INCEPTION_FILE}",
    env_variable="GANVAS_INCEPTION",
    mirrors=(
        f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    ),
)
IMAGE_SIDE = 299
Kernel = int | tuple[int, int]
Chains = dict[str, list[tuple[int, *tuple[Kernel, ...]]]]
"""by name: of each step of a chain its maps and its kernel, or several side by side"""


def convolution(a: int, b: int, kernel: Kernel, stride: int = 1, has_padding: bool = True) -> nn.Sequential:
    """A convolution with batch normalisation and rectifier, under the published names."""
    h, w = (kernel, kernel) if isinstance(kernel, int) else kernel
    conv = nn.Conv2d(a, b, (h, w), stride, (h // 2, w // 2) if has_padding else 0, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(b, 1e-3), relu=nn.ReLU()))


class Mixed(nn.Module):
    """Chains of convolutions side by side, and a pool, whose maps are joined.

    A chain of several is called NAME_1, NAME_2, ...; with a stride of 2 its last convolution has that and no padding.
    """

    def __init__(self, a: int, chains: Chains, pool: nn.Module, pool_channels: int = 0, stride: int = 1) -> None:
        super().__init__()
        self.chains: list[list[list[str]]] = []
        for chain_name, steps in chains.items():
            maps, chain = a, []
            for i, (b, *kernels) in enumerate(steps, 1):
                name, halves = chain_name if len(steps) == 1 else f"{chain_name}_{i}", stride == 2 and i == len(steps)
                layers = [name] if len(kernels) == 1 else [f"{name}a", f"{name}b"]
                for layer, kernel in zip(layers, kernels, strict=True):
                    self.add_module(layer, convolution(maps, b, kernel, stride if halves else 1, not halves))
                chain.append(layers)
                maps = b * len(kernels)
            self.chains.append(chain)
        self.pool = pool
        self.branch_pool: nn.Module = convolution(a, pool_channels, 1) if pool_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for chain in self.chains:
            y = x
            for layers in chain:
                y = torch.cat([self.get_submodule(layer)(y) for layer in layers], 1)
            outputs.append(y)
        return torch.cat([*outputs, self.branch_pool(self.pool(x))], 1)


def average_pool() -> nn.Module:
    """TensorFlow's pooling, which does not count padding."""
    return nn.AvgPool2d(3, 1, 1, count_include_pad=False)


def inception_a(a: int, pool_channels: int) -> Mixed:
    """At 35 x 35."""
    return Mixed(a, {
        "branch1x1": [(64, 1)], "branch5x5": [(48, 1), (64, 5)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
    }, average_pool(), pool_channels)  # fmt: skip


def inception_c(c: int) -> Mixed:
    """At 17 x 17, with kernels of 1 x 7 and 7 x 1."""
    row, column = (1, 7), (7, 1)
    return Mixed(768, {
        "branch1x1": [(192, 1)], "branch7x7": [(c, 1), (c, row), (192, column)],
        "branch7x7dbl": [(c, 1), (c, column), (c, row), (c, column), (192, row)],
    }, average_pool(), 192)  # fmt: skip


def inception_e(a: int, pool: nn.Module) -> Mixed:
    """At 8 x 8, with 1 x 3 and 3 x 1 side by side."""
    split = (384, (1, 3), (3, 1))
    chains: Chains = {
        "branch1x1": [(320, 1)], "branch3x3": [(384, 1), split], "branch3x3dbl": [(448, 1), (384, 3), split],
    }  # fmt: skip
    return Mixed(a, chains, pool, 192)


def inception_v3() -> nn.Sequential:
    """(b, 3, 299, 299) -> (b, 1008) logits, with the published names of parameters."""
    down_6: Chains = {"branch3x3": [(384, 3)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3)]}
    down_7: Chains = {
        "branch3x3": [(192, 1), (320, 3)], "branch7x7x3": [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)],
    }  # fmt: skip
    return nn.Sequential(OrderedDict(
        Conv2d_1a_3x3=convolution(3, 32, 3, 2, has_padding=False),
        Conv2d_2a_3x3=convolution(32, 32, 3, has_padding=False), Conv2d_2b_3x3=convolution(32, 64, 3),
        maxpool1=nn.MaxPool2d(3, 2), Conv2d_3b_1x1=convolution(64, 80, 1),
        Conv2d_4a_3x3=convolution(80, 192, 3, has_padding=False), maxpool2=nn.MaxPool2d(3, 2),
        Mixed_5b=inception_a(192, 32), Mixed_5c=inception_a(256, 64), Mixed_5d=inception_a(288, 64),
        Mixed_6a=Mixed(288, down_6, nn.MaxPool2d(3, 2), stride=2), Mixed_6b=inception_c(128),
        Mixed_6c=inception_c(160), Mixed_6d=inception_c(160), Mixed_6e=inception_c(192),
        Mixed_7a=Mixed(768, down_7, nn.MaxPool2d(3, 2), stride=2),
        Mixed_7b=inception_e(1280, average_pool()), Mixed_7c=inception_e(2048, nn.MaxPool2d(3, 1, 1)),
        avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(2048, 1008),
    ))  # fmt: skip


def resize_tf1(x: Tensor, side: int = IMAGE_SIDE) -> Tensor:
    """Images resized as TensorFlow 1 does it: bilinear, pixel i at i * (old side / new side), without antialiasing."""
    for axis in (3, 2):
        n = x.shape[axis]
        step = torch.tensor(n / side, dtype=torch.float32)
        positions = torch.arange(side, dtype=torch.float32, device=x.device) * step
        low = positions.long().clamp_max(n - 1)
        a, b = (x.index_select(axis, index) for index in (low, (low + 1).clamp_max(n - 1)))
        x = a + (b - a) * (positions - low).view(-1, *[1] * (3 - axis))
    return x


def inception_features(device: torch.device) -> FeatureSpace:
    """The pooled features; UserError where the weights are not there."""
    net = inception_v3()
    net.load_state_dict(INCEPTION.load())
    logit_weight = net.to(device).eval().requires_grad_(False).get_parameter("fc.weight")
    resize = f"resized to {IMAGE_SIDE} x {IMAGE_SIDE} (TensorFlow 1's bilinear), (pixels - 128) / 128"
    protocol = f"RGB (grey three times, alpha on white), {resize}, the 2,048 pooled features; logits without bias"
    return FeatureSpace(
        INCEPTION.name, 2048, protocol, lambda x: net[:-1]((resize_tf1(convert_channels(x, 3).float()) - 128) / 128),
        INCEPTION.digest[:8], max_batch_size=25, device=device, head=lambda x: linear(x, logit_weight),
    )  # fmt: skip
