"""Deep convolutional GAN.  Radford, Metz & Chintala, arXiv:1511.06434.

The game is the GAN's; what is new is the networks (section 3): strided convolutions instead of pooling, batch norm in
both, except after G's last layer and D's first, no hidden fully connected layers, ReLU in G with tanh at its end,
leaky ReLU of slope 0.2 in D, weights from N(0, 0.02^2), and Adam with 2e-4 and beta_1 = 0.5.  Real and fake examples
go through D in batches of their own.

The kernels are 4 x 4 with stride 2, as in the authors' later code: in a transposed convolution each output pixel then
has equally many inputs.  For a 64 x 64 image the maps of G are 4, 8, 16 and 32 wide, as in figure 1.
"""

from collections.abc import Set
from typing import Any, ClassVar, Literal

from torch import nn

from ..data import Data, Dataset
from ..errors import UserError
from ..fields import Size
from ..model import Batches, Moves, kind_of
from ..nn import Width
from ._gan import ConfigurableGAN, clip_weights
from ._gan_defaults import PICTURE_DEFAULTS, picture_defaults


class DCGAN(ConfigurableGAN):
    """The GAN with convolutional networks, for images, signals and volumes of any size."""

    ignored_options: ClassVar[tuple[str, ...]] = ("depth",)
    chosen_options: ClassVar[Set[str]] = PICTURE_DEFAULTS.keys()

    net: Literal["conv", "resize", "residual"] = "conv"
    """kind of networks: the paper's; resize, whose G enlarges its maps by interpolation and draws no checkerboard; or
    residual, with residual blocks between interpolations"""
    latent: Size = 100
    noise_distribution: Literal["normal", "uniform"] = "uniform"
    width: Width = 64
    """channels next to the image; they double as the image halves, up to eight times"""

    def defaults_for(self, data: Data, given: Set[str]) -> dict[str, Any]:
        return picture_defaults(self.net, data, given)

    def validate_data(self, data: Dataset) -> None:
        if kind_of(data.shape) == "vector":
            raise UserError(f"dcgan needs images, but {data.name} holds vectors: train gan instead")
        super().validate_data(data)

    def step(self, batches: Batches, global_step: int, G: nn.Module, D: nn.Module) -> Moves:
        """Algorithm 1 of arXiv:1406.2661, with the options' loss and penalties."""
        for _ in range(self.n_critic):  # for k steps do
            batch = next(batches)
            x, fake = self.real_and_fake(G, D, batch)  # m examples of the data, and m noise samples z, through G
            yield self.discriminator_move(D, x, fake, **self.penalties(global_step))  # D ascends its gradient
            clip_weights(D, self.weight_clip)
        fake = self.fake(G, D, len(batch.x))  # m fresh noise samples
        yield self.generator_move(G, D, x, fake, batch, global_step)  # G descends its gradient
