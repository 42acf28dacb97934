"""The ends of a GAN's networks, and what normalises them."""

from torch import nn

from ..distributions.tables import GumbelOutput
from ..model import Shape
from ..nn.conv import Convolution, TransposedConvolution, initialize
from ..nn.residual import ResidualBlock
from ..table_shape import TableShape


def finalize_network(net: nn.Sequential, pixels: Shape = ()) -> nn.Sequential:
    """A network with the weights it begins with; a generator of pixels, or of signals, ends with tanh, their range.

    Residual networks have their own.
    """
    is_residual = any(isinstance(m, ResidualBlock) for m in net.modules())
    if not is_residual and any(isinstance(m, Convolution | TransposedConvolution) for m in net.modules()):
        initialize(net)
    if isinstance(pixels, TableShape):
        return net.append(GumbelOutput(pixels))
    return net.append(nn.Tanh()) if len(pixels) > 1 else net


def uses_batch_norm(net: nn.Module) -> bool:
    """Whether a network's output for an example depends on the other examples of the batch."""
    return any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) for m in net.modules())
