"""Deep convolutional GAN.  Radford, Metz & Chintala, arXiv:1511.06434.

The game is the GAN's; what is new is the networks (section 3): strided convolutions instead of pooling, batch norm in
both, except after G's last layer and D's first, no hidden fully connected layers, ReLU in G with tanh at its end,
leaky ReLU of slope 0.2 in D, weights from N(0, 0.02^2), and Adam with 2e-4 and beta_1 = 0.5.  Real and fake examples
go through D in batches of their own.

The kernels are 4 x 4 with stride 2, as in the authors' later code: in a transposed convolution each output pixel then
has equally many inputs.  For a 64 x 64 image the maps of G are 4, 8, 16 and 32 wide, as in figure 1.
"""

from typing import Annotated, Literal, final

from pydantic import Field
from pydantic.dataclasses import dataclass

from ..data import Dataset
from ..errors import UserError
from ..model import STRICT
from ..nn import Width
from ._gan import Adversarial


@final
@dataclass(frozen=True, kw_only=True, config=STRICT)
class DCGAN(Adversarial):
    """The GAN with convolutional networks, for images of any size."""

    ignored_options = ("depth",)

    net: Literal["conv"] = "conv"
    """kind of networks: convolutional; gan has multilayer perceptrons"""
    latent: Annotated[int, Field(gt=0, le=65536)] = 100
    """dimensions of the noise z"""
    noise_distribution: Literal["normal", "uniform"] = "uniform"
    """distribution of z: N(0, I), or uniform on [-1, 1]"""
    width: Width = 64
    """channels next to the image; they double as the image halves, up to eight times"""

    def validate_data(self, data: Dataset) -> None:
        if not data.has_images:
            raise UserError(f"dcgan needs images, but {data.name} holds vectors: train gan instead")
        super().validate_data(data)
