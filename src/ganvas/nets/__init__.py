"""Networks: functions that return plain modules, for examples of any shape."""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from ..errors import UserError
from ..model import Shape
from .conv import conv_decoder, conv_encoder, initialize
from .mlp import mlp_decoder, mlp_encoder

Net = Literal["auto", "conv", "mlp"]
Width = Annotated[int, Field(gt=0, le=65536)] | None
Depth = Annotated[int, Field(gt=0, le=100)]


def encoder(
    net: Net, shape: Shape, out: int, width: Width, depth: int, *, norm: bool = False, leak: float = 0.0
) -> nn.Sequential:
    """A network (b, *shape) -> (b, out), convolutional or an MLP of `depth` hidden layers.

    `width` None is 32 channels in the first convolution, 400 units in a hidden layer.  `norm` adds batch
    normalisation; `leak` is the slope of the rectifiers below zero.  Raises UserError for conv on vectors.
    """
    if chosen(net, shape) == "mlp":
        return mlp_encoder(shape, out, width or 400, depth, norm=norm, leak=leak)
    return conv_encoder(shape, out, width or 32, norm=norm, leak=leak)


def decoder(
    net: Net, inputs: int, shape: Shape, width: Width, depth: int, *, norm: bool = False, leak: float = 0.0
) -> nn.Sequential:
    """The mirror image of `encoder`: (b, inputs) -> (b, *shape), its outputs unbounded."""
    if chosen(net, shape) == "mlp":
        return mlp_decoder(inputs, shape, width or 400, depth, norm=norm, leak=leak)
    return conv_decoder(inputs, shape, width or 32, norm=norm, leak=leak)


def chosen(net: Net, shape: Shape) -> Net:
    """What "auto" means for examples of this shape: convolutions for images, an MLP for vectors."""
    if net == "conv" and len(shape) != 3:
        raise UserError(f"net=conv needs images, but the data are vectors of {shape[0]} numbers: use net=mlp")
    if net == "auto":
        return "conv" if len(shape) == 3 else "mlp"
    return net


__all__ = ["Depth", "Net", "Width", "chosen", "decoder", "encoder", "initialize"]
