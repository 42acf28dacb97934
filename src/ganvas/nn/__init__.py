"""Networks: functions that return plain modules, for examples of any shape."""

from math import prod
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ..errors import UserError
from ..fields import Size
from ..model import Shape, kind_of
from .conv import conv_decoder, conv_encoder, resize_decoder
from .mlp import Activation, DecoderNorm, Norm, mlp
from .residual import residual_decoder, residual_encoder

Net = Literal["auto", "conv", "resize", "residual", "mlp", "spatial"]
Width = Size | None
Depth = Annotated[int, Field(gt=0, le=100)]


def encoder(
    net: Net,
    shape: Shape,
    out: int,
    width: Width,
    depth: int,
    *,
    norm: Norm = "none",
    activation: Activation = "relu",
    fine_convolutions: int = 0,
) -> nn.Sequential:
    """A network (b, *shape) -> (b, out), convolutional, residual or an MLP of `depth` hidden layers.

    `width` None means 32 channels in the first convolution, or 400 units in a hidden layer; only convolutional
    networks have `fine_convolutions`.  Raises UserError for convolutions on vectors, and for networks of images alone
    on others.
    """
    hidden, kind = [width or 400] * depth, resolve_architecture(net, shape)
    if kind == "mlp":
        return nn.Sequential(nn.Flatten(), *mlp([prod(shape), *hidden, out], norm=norm, activation=activation))
    if kind == "residual":
        return residual_encoder(shape, out, width or 32, norm=norm, activation=activation)
    return conv_encoder(
        shape, out, width or 32, norm=norm, activation=activation, spatial=kind == "spatial",
        fine_convolutions=fine_convolutions,
    )  # fmt: skip


def decoder(
    net: Net,
    dim: int,
    shape: Shape,
    width: Width,
    depth: int,
    *,
    norm: DecoderNorm = "none",
    activation: Activation = "relu",
) -> nn.Sequential:
    """The mirror image of `encoder`: (b, dim) -> (b, *shape), its outputs unbounded.

    With "resize" it enlarges maps by interpolation, where "conv" has transposed convolutions; encoders are the same.
    Raises UserError for a norm that other networks do not have.
    """
    hidden, kind = [width or 400] * depth, resolve_architecture(net, shape)
    if kind == "resize":
        return resize_decoder(dim, shape, width or 32, norm=norm, activation=activation)
    if norm == "modulated":
        raise UserError(f"norm=modulated needs net=resize, not {kind}: give both, or norm=batch")
    if kind == "mlp":
        return mlp([dim, *hidden, prod(shape)], norm=norm, activation=activation).append(nn.Unflatten(1, shape))
    if kind == "residual":
        return residual_decoder(dim, shape, width or 32, norm=norm, activation=activation)
    return conv_decoder(dim, shape, width or 32, norm=norm, activation=activation, spatial=kind == "spatial")


def resolve_architecture(net: Net, shape: Shape) -> Net:
    """What "auto" means for examples of this shape: an MLP for vectors, convolutions for all others."""
    kind = kind_of(shape)
    if net in ("conv", "resize", "residual", "spatial") and kind == "vector":
        raise UserError(f"net={net} needs images, but the data are vectors of {shape[0]} numbers: use net=mlp")
    if net in ("resize", "residual") and kind != "image":
        raise UserError(f"net={net} needs images, but the data are {kind}s: use net=conv")
    return net if net != "auto" else "mlp" if kind == "vector" else "conv"


class Conditional(nn.Module):
    """A network that sees its input, reshaped to `shape`, together with a one-hot label."""

    def __init__(self, net: nn.Module, shape: Shape, classes: int) -> None:
        super().__init__()
        self.net: nn.Module = net
        self.shape: Shape = shape
        self.classes: int = classes

    def forward(self, x: Float[Tensor, "b *shape"], y: Int64[Tensor, " b"]) -> object:
        inputs = x.reshape(x.shape[0], *self.shape)  # not len(x), which torch.export would make a constant
        label = one_hot(y, self.classes).to(x.dtype)[(..., *[None] * (inputs.ndim - 2))]  # further channels, or numbers
        inputs = torch.cat([inputs, label.expand(-1, -1, *inputs.shape[2:])], 1)
        return self.net(inputs.flatten(1) if x.ndim == 2 else inputs)
