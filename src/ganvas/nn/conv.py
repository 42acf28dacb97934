"""Strided convolutional networks for images of any size, in the manner of DCGAN (arXiv:1511.06434).

Each layer halves the axes that still have 8 pixels or more (16 where the code is a map; kernel 4, stride 2) and leaves
the others as they are (kernel 3, stride 1).  A decoder goes through the same sizes upwards, so it returns exactly the
height and width that it was built for, even or odd, square or not.
"""

from itertools import pairwise
from math import prod

from torch import nn

from ..model import Shape
from .mlp import Activation, Norm, norm_activation

Size = tuple[int, int]


def feature_map_sizes(shape: Shape, min_size: int = 8) -> list[Size]:
    """The sizes that an image goes through: at least one layer, until both axes are below `min_size`."""
    sizes = [(shape[1], shape[2])]
    while len(sizes) == 1 or max(sizes[-1]) >= min_size:
        h, w = sizes[-1]
        sizes.append((h // 2 if h >= min_size else h, w // 2 if w >= min_size else w))
    return sizes


def conv_encoder(
    shape: Shape, out: int, width: int, *, norm: Norm = "none", activation: Activation = "relu", spatial: bool = False
) -> nn.Sequential:
    """(b, c, h, w) -> (b, out): convolutions of width, 2 width, 4 width, 8 width ... channels, then a linear layer.

    Normalisation, if any, comes after every convolution but the first.  With `spatial`, sizes are halved until both
    are below 16, and a last convolution returns the `out` numbers as maps, flattened.
    """
    sizes = feature_map_sizes(shape, 16 if spatial else 8)
    widths = [shape[0], *layer_widths(width, len(sizes) - 1)]
    layers: list[nn.Module] = []
    for i, ((a, b), (large, small)) in enumerate(zip(pairwise(widths), pairwise(sizes), strict=True)):
        norm_here: Norm = norm if i > 0 else "none"
        layers.append(nn.Conv2d(a, b, *geometry(large, small), bias=norm_here == "none"))
        layers += norm_activation(norm_here, activation, b, nn.BatchNorm2d)
    h, w = sizes[-1]
    if spatial:
        return nn.Sequential(*layers, nn.Conv2d(widths[-1], out // (h * w), 3, padding=1), nn.Flatten())
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * h * w, out))


def conv_decoder(
    dim: int, shape: Shape, width: int, *, norm: Norm = "none", activation: Activation = "relu", spatial: bool = False
) -> nn.Sequential:
    """(b, dim) -> (b, c, h, w): the mirror image of `conv_encoder`, its outputs unbounded.

    Normalisation, if any, comes after every layer but the last.
    """
    sizes = feature_map_sizes(shape, 16 if spatial else 8)[::-1]
    widths = [*layer_widths(width, len(sizes) - 1)[::-1], shape[0]]
    h, w = sizes[0]
    use_bias = norm == "none"
    if spatial:
        c = dim // (h * w)
        layers: list[nn.Module] = [nn.Unflatten(1, (c, h, w)), nn.Conv2d(c, widths[0], 3, padding=1, bias=use_bias)]
    else:
        layers = [nn.Linear(dim, widths[0] * h * w, bias=use_bias), nn.Unflatten(1, (widths[0], h, w))]
    for i, ((a, b), (small, large)) in enumerate(zip(pairwise(widths), pairwise(sizes), strict=True)):
        layers += norm_activation(norm, activation, a, nn.BatchNorm2d)
        output_padding = (large[0] % 2 if large[0] != small[0] else 0, large[1] % 2 if large[1] != small[1] else 0)
        bias = i == len(sizes) - 2 or use_bias
        layers.append(nn.ConvTranspose2d(a, b, *geometry(large, small), output_padding=output_padding, bias=bias))
    return nn.Sequential(*layers)


def layer_widths(width: int, layers: int) -> list[int]:
    """Channels of each layer: they double as the image halves, up to eight times the first."""
    return [width * min(2**i, 8) for i in range(layers)]


def geometry(large: Size, small: Size) -> tuple[Size, Size, Size]:
    """Kernel, stride and padding between two sizes: along an axis 4, 2 and 1 where it is halved, else 3, 1 and 1."""
    h, w = large[0] != small[0], large[1] != small[1]
    return (3 + h, 3 + w), (1 + h, 1 + w), (1, 1)


def initialize(net: nn.Module) -> nn.Module:
    """Weights from N(0, 0.02^2), batch-norm gains from N(1, 0.02^2), biases 0: DCGAN, section 4.

    Without batch norm, which would rescale them, weights that small make signals vanish: there they have the deviation
    that keeps a signal's size through rectifiers, (2 / inputs of a unit)^(1/2) (He et al., arXiv:1502.01852).
    """
    has_norm = any(isinstance(m, nn.BatchNorm2d | nn.GroupNorm | nn.InstanceNorm2d) for m in net.modules())
    for m in net.modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            inputs: float = m.weight[0].numel()
            if isinstance(m, nn.ConvTranspose2d):  # each output pixel is reached from kernel / stride^2 places
                inputs = m.weight[:, 0].numel() / prod(m.stride)
            nn.init.normal_(m.weight, 0.0, 0.02 if has_norm else (2 / inputs) ** 0.5)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.weight, 1.0, 0.02)
    return net
