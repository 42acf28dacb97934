"""Networks from examples of one domain, A, to those of another, B, and critics; domains may differ in shape."""

from itertools import pairwise
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from ..model import Shape
from . import encoder
from .conv import (
    CONVOLUTIONS,
    TRANSPOSED,
    Convolution,
    TransposedConvolution,
    conv_decoder,
    conv_encoder,
    feature_map_shapes,
    initialize,
    set_memory_format,
)
from .cpu import InstanceNorm, OutputConv2d

SMALL_IMAGE_SIZE = 64
"""largest height and width at which residual blocks are faster with channels first"""
REFLECTIONS: dict[int, Any] = {1: nn.ReflectionPad1d, 2: nn.ReflectionPad2d, 3: nn.ReflectionPad3d}
INTERPOLATIONS: dict[int, dict[str, Any]] = {
    1: {"mode": "linear"}, 2: {"mode": "bilinear", "antialias": True}, 3: {"mode": "trilinear"},
}  # fmt: skip
"""padding, and how examples are resized, by the number of axes behind the channels"""
DEFAULT_LATENT = 100
"""numbers in the bottleneck where the smallest maps of two domains differ in shape"""


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))): a block of Johnson et al., arXiv:1603.08155, with instance norm."""

    def __init__(self, width: int, axes: int) -> None:
        super().__init__()
        convs = [CONVOLUTIONS[axes](width, width, 3, bias=False) for _ in range(2)]
        first, second = ((REFLECTIONS[axes](1), conv, InstanceNorm(width)) for conv in convs)
        self.body: nn.Sequential = nn.Sequential(*first, nn.ReLU(inplace=True), *second)

    def forward(self, x: Float[Tensor, "b c *size"]) -> Float[Tensor, "b c *size"]:
        # on the CPU maps have the memory order of the weights, see `ResnetTranslator`
        x = x.contiguous() if x.device.type == "cpu" and next(self.parameters()).is_contiguous() else x
        return torch.add(x, self.body(x))


class ResnetTranslator(nn.Module):
    """CycleGAN's translator, arXiv:1703.10593, appendix 7.2: c7s1-64, d128, d256, R256 ..., u128, u64, c7s1-3.

    It takes images, signals or volumes of any size.  Where the domains' sizes differ, it first resizes the example by
    their ratio; where an axis is no multiple of 4, it repeats the edge, and crops the result.

    In the residual blocks of small images maps are small and weights many, so both are channels first there: with
    channels last PyTorch copies the gradients of weights from one order to the other, which takes a seventh of a step
    with one image of 32 pixels.
    """

    def __init__(self, a: Shape, b: Shape, width: int, blocks: int) -> None:
        super().__init__()
        self.scale: tuple[float, ...] = tuple(m / n for m, n in zip(b[1:], a[1:], strict=True))
        axes, down = len(self.scale), [(width, 2 * width), (2 * width, 4 * width)]
        conv, padding = CONVOLUTIONS[axes], REFLECTIONS[axes]
        layers: list[nn.Module] = [padding(3), *conv_norm_activation(conv(a[0], width, 7, bias=False))]
        for narrow, wide in down:
            layers += conv_norm_activation(conv(narrow, wide, 3, 2, 1, bias=False))
        layers += [ResidualBlock(4 * width, axes) for _ in range(blocks)]
        for narrow, wide in reversed(down):
            layers += conv_norm_activation(TRANSPOSED[axes](wide, narrow, 3, 2, 1, output_padding=1, bias=False))
        last = OutputConv2d if axes == 2 else conv
        layers += [padding(3), last(width, b[0], 7), nn.Tanh()]
        self.body: nn.Sequential = nn.Sequential(*layers)
        initialize(self)
        for block in self.body:
            if isinstance(block, ResidualBlock) and max(b[1:]) <= SMALL_IMAGE_SIZE:
                set_memory_format(block, torch.contiguous_format)

    def forward(self, x: Float[Tensor, "b c *size"]) -> Float[Tensor, "b c2 *size2"]:
        y: Tensor = self.body(pad_to_multiple(x := self.resize(x), 4, 8))
        for axis, n in enumerate(x.shape[2:], 2):
            y = y.narrow(axis, 0, n)
        return y

    def resize(self, x: Float[Tensor, "b c *size"]) -> Float[Tensor, "b c *size2"]:
        """Examples of A in the size of their translations."""
        size = [max(1, round(n * factor)) for n, factor in zip(x.shape[2:], self.scale, strict=True)]
        return x if size == [*x.shape[2:]] else interpolate(x, size, **INTERPOLATIONS[len(size)])


class PatchCritic(nn.Module):
    """CycleGAN's critic, a PatchGAN: one logit for each of many patches that overlap.

    C64, C128, ... with `halvings` strided convolutions, then one of stride 1 and the logits; patches are 70 pixels
    wide with three halvings, 34 with two, 16 with one.  Isola et al., arXiv:1611.07004, appendix 6.1.2.
    """

    def __init__(self, shape: Shape, width: int, halvings: int) -> None:
        super().__init__()
        self.min_size: int = 4 * 2**halvings
        widths, convolution = [width * min(2**i, 8) for i in range(halvings + 1)], CONVOLUTIONS[len(shape) - 1]
        layers: list[nn.Module] = [convolution(shape[0], width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for i, (a, b) in enumerate(pairwise(widths), 1):
            conv = convolution(a, b, 4, 2 if i < halvings else 1, 1, bias=False)
            layers += conv_norm_activation(conv, nn.LeakyReLU(0.2, inplace=True))
        self.body: nn.Sequential = nn.Sequential(*layers, convolution(widths[-1], 1, 4, 1, 1))
        initialize(self)

    def forward(self, x: Float[Tensor, "b c *size"]) -> Float[Tensor, "b 1 *patches"]:
        logits: Tensor = self.body(pad_to_multiple(x, 1, self.min_size))
        return logits


def conv_norm_activation(
    conv: Convolution | TransposedConvolution, activation: nn.Module | None = None
) -> list[nn.Module]:
    """A convolution, whose bias the norm would undo, with instance norm and an activation, ReLU unless given."""
    return [conv, InstanceNorm(conv.out_channels), activation or nn.ReLU(inplace=True)]


def pad_to_multiple(x: Float[Tensor, "b c *size"], multiple: int, min_size: int) -> Float[Tensor, "b c *size2"]:
    """Examples whose axes are at least `min_size` long, and multiples: the last row and column are repeated."""
    size = [max(-(-n // multiple) * multiple, min_size) for n in x.shape[2:]]
    padding = [p for m, n in zip(reversed(size), reversed(x.shape[2:]), strict=True) for p in (0, m - n)]
    if any(padding) and torch.compiler.is_compiling():  # PyTorch 2.13 compiles no derivative of `pad` in channels last
        for axis, m in enumerate(size, 2):
            x = x.index_select(axis, torch.arange(m, device=x.device).clamp(max=x.shape[axis] - 1))
        return x
    return pad(x, padding, mode="replicate") if any(padding) else x


def encoder_decoder(a: Shape, b: Shape, width: int, latent: int | None) -> nn.Module:
    """DiscoGAN's translator: strided convolutions down, and up again, with batch norm (arXiv:1703.05192, section 3.2).

    Between the two are the smallest maps, as with the paper's four layers, or `latent` numbers, as with its five.
    Domains whose smallest maps differ in shape have numbers in any case, 100 unless given.
    """
    d = latent or DEFAULT_LATENT
    down = conv_encoder(a, d, width, norm="batch", activation="leaky-relu")
    up = conv_decoder(d, b, width, norm="batch")
    layers = [*down, nn.BatchNorm1d(d), nn.LeakyReLU(0.2, inplace=True), *up]
    if latent is None and feature_map_shapes(a, width)[-1] == feature_map_shapes(b, width)[-1]:
        layers = [*list(down)[:-2], *list(up)[4:]]  # without the linear layers and their norm
    return initialize(nn.Sequential(*layers, nn.Tanh()))


class ResidualTranslator(nn.Module):
    """x + net(x), clamped to [-1, 1]: a translator of images that only has to learn the difference of the domains.

    It removes the net's tanh and sets its last weights to 0, so that G(x) = x at first.  The global skip connection of
    DeblurGAN, arXiv:1711.07064: learns faster, and generalises better.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        body = net.body if isinstance(net, ResnetTranslator) else net
        assert isinstance(body, nn.Sequential)
        last = body[-2]
        assert isinstance(last, Convolution | TransposedConvolution)
        nn.init.zeros_(last.weight)
        body[-1] = nn.Identity()
        self.net = net

    def forward(self, x: Float[Tensor, "b c *size"]) -> Float[Tensor, "b c *size"]:
        return torch.add(x, self.net(x)).clamp(-1, 1)


def mlp_translator(a: Shape, b: Shape, width: int, depth: int) -> nn.Sequential:
    """A multilayer perceptron from examples of A to those of B: DiscoGAN's toy model has two hidden layers."""
    net = encoder("mlp", a, prod(b), width, depth)
    return net.extend([nn.Unflatten(1, b), nn.Tanh()]) if len(b) > 1 else net
