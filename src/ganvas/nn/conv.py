"""Strided convolutional networks for images, signals and volumes of any size, like DCGAN's (arXiv:1511.06434).

Each layer halves the axes that still have 8 pixels or more (16 where the code is a map; kernel 4, stride 2) and leaves
the others as they are (kernel 3, stride 1): along an axis of n it has floor(n / 2), or n.  A decoder goes through the
same sizes upwards, so it returns exactly the size that it was built for, even or odd, along each of one to three axes.

Weights for images, and so all maps, are in channels last, in which a DCGAN's step takes a tenth less time, and none
takes longer.
"""

from itertools import pairwise
from math import prod
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv_transpose2d

from ..model import Shape
from .mlp import ACTIVATIONS, Activation, DecoderNorm, Norm, norm_activation
from .modulation import ModulatedBatchNorm, ModulatedSequential

Size = tuple[int, ...]
Net = TypeVar("Net", bound=nn.Module)
CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORMS: dict[int, Any] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
"""layers by the number of axes behind the channels: of signals 1, of images 2, of volumes 3"""
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
TransposedConvolution = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


def feature_map_shapes(shape: Shape, width: int, min_size: int = 8) -> list[Shape]:
    """What an example becomes, layer by layer: at least one, until all its axes are below `min_size`.

    The first layer has `width` channels; they double as the example halves, up to eight times as many.
    """
    maps = [shape]
    while len(maps) == 1 or max(maps[-1][1:]) >= min_size:
        size = (n // 2 if n >= min_size else n for n in maps[-1][1:])
        maps.append((width * min(2 ** (len(maps) - 1), 8), *size))
    return maps


def conv_encoder(
    shape: Shape,
    out: int,
    width: int,
    *,
    norm: Norm = "none",
    activation: Activation = "relu",
    spatial: bool = False,
    fine_convolutions: int = 0,
) -> nn.Sequential:
    """(b, c, *size) -> (b, out): convolutions of width, 2 width, 4 width, 8 width ... channels, then a linear layer.

    The first is followed by so many `fine_convolutions`, kernel 3 and stride 1.  Normalisation, if any, comes after
    every convolution but the first.  With `spatial`, sizes are halved until all are below 16, and a last convolution
    returns the `out` numbers as maps, flattened.
    """
    maps, n = feature_map_shapes(shape, width, 16 if spatial else 8), len(shape) - 1
    layers: list[nn.Module] = []
    for i, (large, small) in enumerate(pairwise(maps)):
        norm_here: Norm = norm if i > 0 else "none"
        layers.append(CONVOLUTIONS[n](large[0], small[0], *geometry(large, small), 1, bias=norm_here == "none"))
        layers += norm_activation(norm_here, activation, small[0], BATCH_NORMS[n])
        for _ in range(fine_convolutions if i == 0 else 0):
            layers.append(CONVOLUTIONS[n](small[0], small[0], 3, padding=1, bias=norm == "none"))
            layers += norm_activation(norm, activation, small[0], BATCH_NORMS[n])
    c, *size = maps[-1]
    if spatial:
        last: list[nn.Module] = [CONVOLUTIONS[n](c, out // prod(size), 3, padding=1), nn.Flatten()]
    else:
        last = [nn.Flatten(), nn.Linear(c * prod(size), out)]
    return set_memory_format(nn.Sequential(*layers, *last), torch.channels_last)


def conv_decoder(
    dim: int, shape: Shape, width: int, *, norm: Norm = "none", activation: Activation = "relu", spatial: bool = False
) -> nn.Sequential:
    """(b, dim) -> (b, c, *size): the mirror image of `conv_encoder`, normalised after all layers but the last."""
    maps, n = feature_map_shapes(shape, width, 16 if spatial else 8)[::-1], len(shape) - 1
    c, *size = maps[0]
    use_bias = norm == "none"
    if spatial:
        d = dim // prod(size)
        layers: list[nn.Module] = [nn.Unflatten(1, (d, *size)), CONVOLUTIONS[n](d, c, 3, padding=1, bias=use_bias)]
    else:
        layers = [nn.Linear(dim, c * prod(size), bias=use_bias), nn.Unflatten(1, (c, *size))]
    for i, (small, large) in enumerate(pairwise(maps), 1):
        layers += norm_activation(norm, activation, small[0], BATCH_NORMS[n])
        kernel, stride = geometry(large, small)
        remainder = tuple(m % s for m, s in zip(large[1:], stride, strict=True))
        bias = i == len(maps) - 1 or use_bias
        layers.append(TRANSPOSED[n](small[0], large[0], kernel, stride, 1, remainder, bias=bias))
    return set_memory_format(nn.Sequential(*layers), torch.channels_last)


def resize_decoder(
    dim: int, shape: Shape, width: int, *, norm: DecoderNorm = "none", activation: Activation = "relu"
) -> nn.Sequential:
    """(b, dim) -> (b, c, h, w): through the sizes of `conv_decoder`, with `ResizeConv2d` in place of its layers.

    A last convolution makes the image of maps as large, half as many as `width`.  The norm "modulated" is batch norm
    whose gains and shifts are functions of the input: see modulation.py.
    """
    maps, last = feature_map_shapes(shape, width)[::-1], max(width // 2, 1)
    c, h, w = maps[0]
    layers: list[nn.Module] = [nn.Linear(dim, c * h * w), nn.Unflatten(1, (c, h, w))]
    for small, large in pairwise([*maps[:-1], (last, *shape[1:])]):
        layers.append(ResizeConv2d(small, large, bias=norm == "none"))
        if norm == "modulated":
            layers += [ModulatedBatchNorm(large[0], dim), ACTIVATIONS[activation]()]
        else:
            layers += norm_activation(norm, activation, large[0], nn.BatchNorm2d)
    layers.append(nn.Conv2d(last, shape[0], 3, padding=1))
    sequential = ModulatedSequential if norm == "modulated" else nn.Sequential
    return set_memory_format(sequential(*layers), torch.channels_last)


class ResizeConv2d(nn.Conv2d):
    """Nearest-neighbour interpolation to twice the height and width, then a convolution with a 3 x 3 kernel.

    It draws no checkerboard, as transposed convolutions do (Odena, Dumoulin & Olah, Deconvolution and Checkerboard
    Artifacts, Distill 2016).  Computed is the transposed convolution that is the same: its kernel has each element of
    the other's on 2 x 2 pixels, summed, so it takes 4 / 9 of the operations.  It is in channels last, so that the maps
    are too: G then takes a quarter less time.  An axis of `small` that is as long in `large` is not interpolated; of an
    odd one the last pixel has fewer inputs.
    """

    def __init__(self, small: Shape, large: Shape, *, bias: bool) -> None:
        super().__init__(small[0], large[0], 3, bias=bias)
        h, w = (2 if n != m else 1 for n, m in zip(small[1:], large[1:], strict=True))
        self.scale: Size = (h, w)
        self.remainder: Size = (large[1] % h, large[2] % w)

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h2 w2"]:
        kernel = self.weight.flip(2, 3).permute(1, 2, 3, 0).contiguous().permute(0, 3, 1, 2)  # as vmap can do it too
        h, w = self.scale
        sums = avg_pool2d(kernel, self.scale, stride=1, padding=(h - 1, w - 1), divisor_override=1)
        return conv_transpose2d(x, sums, self.bias, self.scale, 1, self.remainder)


def geometry(large: Shape, small: Shape) -> tuple[Size, Size]:
    """Kernel and stride between two maps, padded by 1: along an axis 4 and 2 where it is halved, else 3 and 1."""
    is_halved = [m != n for m, n in zip(large[1:], small[1:], strict=True)]
    return tuple(3 + h for h in is_halved), tuple(1 + h for h in is_halved)


def initialize(net: nn.Module) -> nn.Module:
    """Weights from N(0, 0.02^2), batch-norm gains from N(1, 0.02^2), biases 0: DCGAN, section 4.

    Without batch norm, which would rescale them, weights that small make signals vanish: there they have the deviation
    that keeps a signal's size through rectifiers, (2 / inputs of a unit)^(1/2) (He et al., arXiv:1502.01852).
    """
    set_memory_format(net, torch.contiguous_format)  # the order in which random numbers fill a tensor
    axes = next(m.weight.ndim - 2 for m in net.modules() if isinstance(m, Convolution | TransposedConvolution))
    norms = (BATCH_NORMS[axes], nn.GroupNorm, nn.InstanceNorm2d)
    has_norm = any(isinstance(m, norms) for m in net.modules())
    for m in net.modules():
        if isinstance(m, Convolution | TransposedConvolution | nn.Linear):
            inputs: float = m.weight[0].numel()
            if isinstance(m, TransposedConvolution):  # each output pixel is reached from kernel / stride^2 places
                inputs = m.weight[:, 0].numel() / prod(m.stride)
            nn.init.normal_(m.weight, 0.0, 0.02 if has_norm else (2 / inputs) ** 0.5)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, BATCH_NORMS[axes]):
            nn.init.normal_(m.weight, 1.0, 0.02)
    return set_memory_format(net, torch.channels_last)


def set_memory_format(net: Net, order: torch.memory_format) -> Net:
    """The network, with its weights in this order of memory, which those of signals and volumes do not have."""
    anything: Any = net  # PyTorch's stubs lack the argument
    if not any(isinstance(m, nn.Conv3d | nn.ConvTranspose3d) for m in net.modules()):
        anything.to(memory_format=order)
    return net
