"""Networks: functions that return plain modules, for examples of any shape."""

from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ..errors import UserError
from ..fields import Size
from ..model import Shape
from .conv import conv_decoder, conv_encoder, map_size
from .mlp import Activation, Norm, mlp_decoder, mlp_encoder

Net = Literal["auto", "conv", "mlp", "spatial"]
Width = Size | None
Depth = Annotated[int, Field(gt=0, le=100)]


def encoder(
    net: Net, shape: Shape, out: int, width: Width, depth: int, *, norm: Norm = "none", activation: Activation = "relu"
) -> nn.Sequential:
    """A network (b, *shape) -> (b, out), convolutional or an MLP of `depth` hidden layers.

    `width` None means 32 channels in the first convolution, or 400 units in a hidden layer.  Raises UserError for
    convolutions on vectors.
    """
    kind = resolve_architecture(net, shape)
    if kind == "mlp":
        return mlp_encoder(shape, out, width or 400, depth, norm=norm, activation=activation)
    return conv_encoder(shape, out, width or 32, norm=norm, activation=activation, spatial=kind == "spatial")


def decoder(
    net: Net, dim: int, shape: Shape, width: Width, depth: int, *, norm: Norm = "none", activation: Activation = "relu"
) -> nn.Sequential:
    """The mirror image of `encoder`: (b, dim) -> (b, *shape), its outputs unbounded."""
    kind = resolve_architecture(net, shape)
    if kind == "mlp":
        return mlp_decoder(dim, shape, width or 400, depth, norm=norm, activation=activation)
    return conv_decoder(dim, shape, width or 32, norm=norm, activation=activation, spatial=kind == "spatial")


def resolve_architecture(net: Net, shape: Shape) -> Net:
    """What "auto" means for examples of this shape: convolutions for images, an MLP for vectors."""
    if net in ("conv", "spatial") and len(shape) != 3:
        raise UserError(f"net={net} needs images, but the data are vectors of {shape[0]} numbers: use net=mlp")
    return net if net != "auto" else "conv" if len(shape) == 3 else "mlp"


def code_shape(net: Net, latent: int, shape: Shape) -> Shape:
    """Shape of a code for examples of `shape`: (latent,), or with net=spatial a map, (latent, height, width)."""
    return (latent, *map_size(shape)) if resolve_architecture(net, shape) == "spatial" else (latent,)


class Conditional(nn.Module):
    """A network that sees its input, reshaped to `shape`, together with a one-hot label."""

    def __init__(self, net: nn.Module, shape: Shape, classes: int) -> None:
        super().__init__()
        self.net: nn.Module = net
        self.shape: Shape = shape
        self.classes: int = classes

    def forward(self, x: Float[Tensor, "b *shape"], y: Int64[Tensor, " b"]) -> object:
        # x.shape[0], not len(x), which torch.export would make a constant
        inputs = concat_labels(x.reshape(x.shape[0], *self.shape), y, self.classes)
        return self.net(inputs.flatten(1) if x.ndim == 2 else inputs)


def concat_labels(x: Float[Tensor, "b *shape"], y: Int64[Tensor, " b"], classes: int) -> Tensor:
    """x with the one-hot label as further channels (images), or further numbers (vectors)."""
    label = one_hot(y, classes).to(x.dtype)
    if x.ndim == 2:
        return torch.cat([x, label], 1)
    return torch.cat([x, label[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)
