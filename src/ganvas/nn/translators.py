"""Networks from examples of one domain, A, to those of another, B, and critics of patches.

Domains may have different channels and sizes.  Networks of images end with tanh.
"""

from itertools import pairwise
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from ..model import Shape
from .conv import conv_decoder, conv_encoder, feature_map_sizes, initialize, layer_widths
from .cpu import InstanceNorm, OutputConv2d
from .mlp import mlp

SMALL_IMAGE_SIZE = 64
"""pixels of height and width up to which residual blocks are faster with channels first"""
DEFAULT_LATENT = 100
"""numbers in the bottleneck where two ladders of maps do not meet"""


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))): a block of Johnson et al., arXiv:1603.08155, with instance norm.

    On the CPU its maps are in the order of its weights, see `resnet`.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        first = (nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=False), InstanceNorm(width))
        second = (nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=False), InstanceNorm(width))
        self.body = nn.Sequential(*first, nn.ReLU(inplace=True), *second)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        x = x.contiguous() if x.device.type == "cpu" and next(self.parameters()).is_contiguous() else x
        y: Tensor = x + self.body(x)
        return y


class ResnetTranslator(nn.Module):
    """CycleGAN's translator, arXiv:1703.10593, appendix 7.2: c7s1-64, d128, d256, R256 ..., u128, u64, c7s1-3.

    It takes images of any size.  Where the domains' sizes differ, the image is first resized as much as the domains
    are; where height or width is no multiple of 4, its edge is repeated, and what is added cropped at the end.
    """

    def __init__(self, a: Shape, b: Shape, width: int, blocks: int) -> None:
        super().__init__()
        self.scale = (b[1] / a[1], b[2] / a[2])
        down = [(width, 2 * width), (2 * width, 4 * width)]
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), *conv_norm_activation(nn.Conv2d(a[0], width, 7, bias=False))]
        for narrow, wide in down:
            layers += conv_norm_activation(nn.Conv2d(narrow, wide, 3, 2, 1, bias=False))
        layers += [ResidualBlock(4 * width) for _ in range(blocks)]
        for narrow, wide in reversed(down):
            layers += conv_norm_activation(nn.ConvTranspose2d(wide, narrow, 3, 2, 1, output_padding=1, bias=False))
        self.body = nn.Sequential(*layers, nn.ReflectionPad2d(3), OutputConv2d(width, b[0], 7), nn.Tanh())

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        h, w = (max(1, round(n * factor)) for n, factor in zip(x.shape[2:], self.scale, strict=True))
        if (h, w) != x.shape[2:]:
            x = interpolate(x, (h, w), mode="bilinear", antialias=True, align_corners=False)
        y: Tensor = self.body(pad_to_multiple(x, 4, 8))
        return y[:, :, :h, :w]


class PatchCritic(nn.Module):
    """CycleGAN's critic, a PatchGAN: one verdict for each of many patches that overlap.

    C64, C128, ... with `halvings` strided convolutions, then one of stride 1 and the verdicts; patches are 70 pixels
    wide with three halvings, 34 with two, 16 with one.  Isola et al., arXiv:1611.07004, appendix 6.1.2.
    """

    def __init__(self, shape: Shape, width: int, halvings: int) -> None:
        super().__init__()
        self.min_size = 4 * 2**halvings
        widths = [width * min(2**i, 8) for i in range(halvings + 1)]
        layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for i, (a, b) in enumerate(pairwise(widths), 1):
            layers += conv_norm_activation(
                nn.Conv2d(a, b, 4, 2 if i < halvings else 1, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)
            )
        self.body = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 rows columns"]:
        logits: Tensor = self.body(pad_to_multiple(x, 1, self.min_size))
        return logits


def conv_norm_activation(conv: nn.Conv2d | nn.ConvTranspose2d, activation: nn.Module | None = None) -> list[nn.Module]:
    """A convolution, whose bias the norm would undo, with instance norm and an activation, ReLU unless given."""
    return [conv, InstanceNorm(conv.out_channels), activation or nn.ReLU(inplace=True)]


def pad_to_multiple(x: Float[Tensor, "b c h w"], multiple: int, min_size: int) -> Float[Tensor, "b c h2 w2"]:
    """Images whose height and width are at least `least`, and multiples: the last row and column are repeated."""
    h, w = (max(-(-n // multiple) * multiple, min_size) for n in x.shape[2:])
    padding = (0, w - x.shape[3], 0, h - x.shape[2])
    return pad(x, padding, mode="replicate") if any(padding) else x


def default_blocks(shape: Shape) -> int:
    """Residual blocks: 9 for images of 256 pixels and more, else 6 (arXiv:1703.10593, appendix 7.2)."""
    return 9 if min(shape[1:]) >= 256 else 6


def default_halvings(shape: Shape) -> int:
    """Halvings of a critic of patches, which then are about half of a small image at most: 3 from 128 pixels on."""
    return 3 if min(shape[1:]) >= 128 else 2 if min(shape[1:]) >= 64 else 1


def resnet_translator(a: Shape, b: Shape, width: int, blocks: int) -> nn.Module:
    """A `ResnetTranslator` with the weights that it begins with.

    In the residual blocks of small images maps are small and weights many, so there both are channels first: with
    channels last PyTorch copies the gradients of weights from one order to the other, a seventh of a step with one
    image of 32 pixels.
    """
    net = channels_last(initialize(ResnetTranslator(a, b, width, blocks)))
    if max(b[1:]) <= SMALL_IMAGE_SIZE:
        for p in (p for module in net.modules() if isinstance(module, ResidualBlock) for p in module.parameters()):
            p.data = p.data.contiguous()
    return net


def patch_critic(shape: Shape, width: int, halvings: int) -> nn.Module:
    """`PatchCritic` with the weights that they begin with."""
    return channels_last(initialize(PatchCritic(shape, width, halvings)))


def channels_last(net: Any) -> nn.Module:
    """The network with weights, and so maps, in the order in which large convolutions are fastest."""
    last: nn.Module = net.to(memory_format=torch.channels_last)
    return last


def encoder_decoder(a: Shape, b: Shape, width: int, latent: int | None) -> nn.Module:
    """DiscoGAN's translator: strided convolutions down, and up again, with batch norm (arXiv:1703.05192, section 3.2).

    Between the two are maps, those at the end of a `ladder` of halvings, as with the paper's four layers, or, as with
    its five, `latent` numbers.  Domains whose maps differ in shape have numbers in any case, 100 unless given.
    """
    down = conv_encoder(a, latent or DEFAULT_LATENT, width, norm="batch", activation="leaky-relu")
    up = conv_decoder(latent or DEFAULT_LATENT, b, width, norm="batch")
    if latent is None and bottleneck_shape(a, width) == bottleneck_shape(b, width):
        return initialize(
            nn.Sequential(*list(down)[:-2], *list(up)[4:], nn.Tanh())
        )  # without the linear layers and their norm
    bottleneck = (nn.BatchNorm1d(latent or DEFAULT_LATENT), nn.LeakyReLU(0.2, inplace=True))
    return initialize(nn.Sequential(*down, *bottleneck, *up, nn.Tanh()))


def bottleneck_shape(shape: Shape, width: int) -> Shape:
    """Shape of the smallest maps of a ladder of convolutions."""
    sizes = feature_map_sizes((shape[1], shape[2]))
    return (layer_widths(width, len(sizes) - 1)[-1], *sizes[-1])


class ResidualTranslator(nn.Module):
    """x + net(x), held in [-1, 1]: a translator of images that only has to find what the other domain has different.

    The global skip connection of DeblurGAN, arXiv:1711.07064: learns faster, and generalises better.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y: Tensor = (x + self.net(x)).clamp(-1, 1)
        return y


def residual(net: nn.Module) -> nn.Module:
    """A network of images without its tanh, as a correction of its input; that begins at 0, so G(x) = x."""
    body = net.body if isinstance(net, ResnetTranslator) else net
    assert isinstance(body, nn.Sequential)
    *_, last, tanh = body
    assert isinstance(last, nn.Conv2d | nn.ConvTranspose2d)
    assert isinstance(tanh, nn.Tanh)
    nn.init.zeros_(last.weight)
    body[-1] = nn.Identity()
    return ResidualTranslator(net)


def mlp_translator(a: Shape, b: Shape, width: int, depth: int) -> nn.Sequential:
    """A multilayer perceptron from examples of A to those of B: of DiscoGAN's toy, with two hidden layers."""
    last: list[nn.Module] = [nn.Unflatten(1, b), nn.Tanh()] if len(b) > 1 else []
    return nn.Sequential(nn.Flatten(), *mlp([prod(a), *[width] * depth, prod(b)]), *last)


def mlp_critic(shape: Shape, width: int, depth: int) -> nn.Sequential:
    """A multilayer perceptron from examples of a domain to a logit."""
    return nn.Sequential(nn.Flatten(), *mlp([prod(shape), *[width] * depth, 1], activation="leaky-relu"))
