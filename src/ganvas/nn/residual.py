"""Residual networks for images of any size: those of R3GAN (Huang et al., arXiv:2501.05441, section 3, config E).

Residual blocks are at each size of the maps: the image's own, with `width` channels, then half of it and so on until
height and width are below 8 pixels; channels double at each, up to eight times.  For 256 x 256 pixels and 96 channels
these are the paper's networks for FFHQ.  Between two sizes maps are resampled by bilinear interpolation, on the way
down with an antialiasing filter, so that nothing draws or overlooks a checkerboard; where channels change, a 1 x 1
convolution changes them at the smaller size.  A basis, a map b_c a channel, joins the smallest maps and a code z:

    decoder  x_c = b_c (a_c . z)           encoder  code = A s + bias,  s_c = <b_c, x_c>

Weights begin with fix-up (Zhang et al., arXiv:1901.09321, section 3): with L blocks of m = 3 layers the last layer of a
block is 0, so that each block begins as the identity, and the others have He et al.'s deviation times L^(-1/(2m - 2)).
Outside of the blocks, where no activations are, weights have the deviation that keeps a signal's.
"""

from itertools import pairwise
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from ..model import Shape
from .conv import Size, feature_map_shapes, set_memory_format
from .mlp import Activation, Norm, norm_activation

BLOCKS = 2
"""residual blocks at each size"""
EXPANSION = 2
"""channels in a block for each outside"""
GROUP_SIZE = 16
"""least channels of a group of the 3 x 3 convolutions"""
GAIN = sqrt(2 / (1 + 0.2**2))
"""what makes up for the part of a signal that leaky ReLU takes (He et al., arXiv:1502.01852); ReLU takes 2% more"""


class ResidualBlock(nn.Module):
    """x + f(x): 1 x 1 convolution to twice the channels, 3 x 3 in groups, 1 x 1 back; activations between them.

    Normalisation, if any, is before the activations.
    """

    def __init__(self, channels: int, norm: Norm, activation: Activation) -> None:
        super().__init__()
        inner, bias = EXPANSION * channels, norm == "none"
        self.first: nn.Sequential = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=bias),
            *norm_activation(norm, activation, inner, nn.BatchNorm2d),
            nn.Conv2d(inner, inner, 3, padding=1, groups=n_groups(inner), bias=bias),
            *norm_activation(norm, activation, inner, nn.BatchNorm2d),
        )
        self.last: nn.Conv2d = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return torch.add(x, self.last(self.first(x)))


class Resample(nn.Module):
    """Maps at half or twice the height and width, by bilinear interpolation between the centres of pixels.

    Each axis that differs is filtered by (1, 3, 3, 1): upwards that is the interpolation itself, downwards it removes
    what the smaller map cannot show.  At borders only pixels that are there count.  Computed are convolutions, in a
    twelfth of the time that `torch.nn.functional.interpolate` takes downwards, whose gradients are the same every time.
    """

    kernel: Tensor

    def __init__(self, small: Shape, large: Shape, *, up: bool) -> None:
        super().__init__()
        h, w = (n != m for n, m in zip(small[1:], large[1:], strict=True))
        rows, columns = ([0.125, 0.375, 0.375, 0.125] if halved else [1.0] for halved in (h, w))
        self.register_buffer("kernel", torch.tensor([[row * column for column in columns] for row in rows]))
        self.stride: Size = (1 + h, 1 + w)
        self.padding: Size = (int(h), int(w))
        self.remainder: Size | None = (large[1] % (1 + h), large[2] % (1 + w)) if up else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        return self.filter(x) / self.filter(torch.ones_like(x[:1, :1]))

    def filter(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """The sum of pixels by the kernel."""
        c = x.shape[1]
        kernel = self.kernel.expand(c, 1, -1, -1)
        if self.remainder is None:
            return conv2d(x, kernel, None, self.stride, self.padding, groups=c)
        return conv_transpose2d(x, kernel, None, self.stride, self.padding, self.remainder, c)


class Basis(nn.Module):
    """Learned maps, each times its own linear function of a code: (b, d) -> (b, c, h, w)."""

    def __init__(self, dim: int, shape: Shape) -> None:
        super().__init__()
        self.linear: nn.Linear = nn.Linear(dim, shape[0], bias=False)
        self.maps: nn.Parameter = nn.Parameter(nn.init.normal_(torch.empty(shape)))

    def forward(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b c h w"]:
        scales: Tensor = self.linear(z)
        return self.maps * scales[:, :, None, None]


def residual_encoder(
    shape: Shape, out: int, width: int, *, norm: Norm = "none", activation: Activation = "relu"
) -> nn.Sequential:
    """(b, c, h, w) -> (b, out); the last layer is linear."""
    maps = stage_shapes(shape, width)
    c, h, w = maps[-1]
    layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 1)]
    for large, small in pairwise(maps):
        layers += residual_blocks(large[0], norm, activation)
        layers += [Resample(small, large, up=False), *channel_layers(large[0], small[0])]
    layers += residual_blocks(c, norm, activation)
    layers += [nn.Conv2d(c, c, (h, w), groups=c, bias=False), nn.Flatten(), nn.Linear(c, out)]
    return fix_up(nn.Sequential(*layers))


def residual_decoder(
    dim: int, shape: Shape, width: int, *, norm: Norm = "none", activation: Activation = "relu"
) -> nn.Sequential:
    """(b, dim) -> (b, c, h, w): the mirror image of `residual_encoder`."""
    maps = stage_shapes(shape, width)[::-1]
    layers: list[nn.Module] = [Basis(dim, maps[0]), *residual_blocks(maps[0][0], norm, activation)]
    for small, large in pairwise(maps):
        layers += [*channel_layers(small[0], large[0]), Resample(small, large, up=True)]
        layers += residual_blocks(large[0], norm, activation)
    return fix_up(nn.Sequential(*layers, nn.Conv2d(width, shape[0], 1)))


def stage_shapes(shape: Shape, width: int) -> list[Shape]:
    """The shapes of the maps in blocks, from the image's size downwards."""
    sizes = [(h, w) for _, h, w in feature_map_shapes(shape, width)]
    return [(width * min(2**i, 8), h, w) for i, (h, w) in enumerate(sizes)]


def residual_blocks(channels: int, norm: Norm, activation: Activation) -> list[nn.Module]:
    """The blocks of a size."""
    return [ResidualBlock(channels, norm, activation) for _ in range(BLOCKS)]


def channel_layers(inputs: int, outputs: int) -> list[nn.Module]:
    """What changes the number of channels, if it does."""
    return [nn.Conv2d(inputs, outputs, 1, bias=False)] if inputs != outputs else []


def n_groups(channels: int) -> int:
    """The most groups of as many channels each, but `GROUP_SIZE` at least where there are so many."""
    return next(g for g in range(max(1, channels // GROUP_SIZE), 0, -1) if channels % g == 0)


@torch.no_grad()
def fix_up(net: nn.Sequential) -> nn.Sequential:
    """The network with the weights it begins with, in channels last."""
    blocks = [m for m in net if isinstance(m, ResidualBlock)]
    inner = {layer for block in blocks for layer in block.first}
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            gain = GAIN * len(blocks) ** -0.25 if layer in inner else 1.0
            nn.init.normal_(layer.weight, 0.0, gain / sqrt(layer.weight[0].numel()))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for block in blocks:
        nn.init.zeros_(block.last.weight)
    return set_memory_format(net, torch.channels_last)
