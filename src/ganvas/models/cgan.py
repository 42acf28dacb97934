"""Conditional GAN.  Mirza & Osindero, Conditional Generative Adversarial Nets, arXiv:1411.1784.

    min_G max_D  E_x log s(D(x|y))  +  E_z log(1 - s(D(G(z|y)|y)))                                        (equation 2)

Both players have the class y.  G always has it as a one-hot code beside z.  With conditioning="concatenation" D
has it beside its input, as further numbers (MLP, the paper) or channels; with conditioning="projection" it compares it
with its input, D(x, y) = psi(phi(x)) + <v_y, phi(x)> (Miyato & Koyama, arXiv:1802.05637), and a convolutional G then
draws the class it is asked for more often (docs/gan-experiments.md).  G is asked for the labels of D's last batch, so
that both come from the data's own distribution (or, with --balanced, all classes equally often).
"""

from collections.abc import Set
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from ..data import Data, Dataset
from ..errors import UserError
from ..fields import Size
from ..model import Batch, Batches, Moves, Shape
from ..nn import Conditional, decoder, resolve_architecture
from ..nn.discriminator import ProjectionDiscriminator
from ._gan import ConfigurableGAN, clip_weights
from ._gan_defaults import PICTURE_DEFAULTS, picture_defaults
from ._gan_networks import finalize_network
from ._latent import Rows, validate_labels


class CGAN(ConfigurableGAN):
    """The GAN that draws the class it is asked for."""

    chosen_options: ClassVar[Set[str]] = PICTURE_DEFAULTS.keys()

    latent: Size = 100
    conditioning: Literal["auto", "concatenation", "projection"] = "auto"
    """how D gets the class: with its input, or by projection; auto concatenates in an MLP, else projects"""

    is_conditional = True

    def defaults_for(self, data: Data, given: Set[str]) -> dict[str, Any]:
        return picture_defaults(self.net, data, given)

    def validate_data(self, data: Dataset) -> None:
        super().validate_data(data)
        otherwise = f", or train {'dcgan' if data.has_images else 'gan'}"
        validate_labels(data, "cgan draws the class it is asked for", otherwise)
        if self.conditioning == "projection" and "discriminator" in self.own_networks:
            raise UserError(
                "projection needs the layers of our D: give a discriminator of your own without conditioning"
            )

    def build_networks(self, shape: Shape, shape_d: Shape, classes: int) -> tuple[nn.Module, nn.Module]:
        norm, norm_d = self.norms(shape)
        kind = self.conditioning
        if kind == "auto":
            kind = "concatenation" if resolve_architecture(self.net, shape) == "mlp" else "projection"
        inputs = (shape_d[0] + classes, *shape_d[1:]) if kind == "concatenation" else shape_d
        G = decoder(self.net, self.latent + classes, shape, self.width, self.depth, norm=norm)
        D = self.discriminator_layers(inputs, norm_d, "leaky-relu")
        G, D = finalize_network(G, shape), finalize_network(D)
        conditional_d = ProjectionDiscriminator(D, classes) if inputs == shape_d else Conditional(D, shape_d, classes)
        return Conditional(G, (self.latent,), classes), conditional_d

    def step(self, batches: Batches, global_step: int, G: nn.Module, D: nn.Module) -> Moves:
        """Algorithm 1 of arXiv:1406.2661 on equation 2: both players have the labels y of the batch."""
        for _ in range(self.n_critic):  # for k steps do
            batch = next(batches)
            y = self.condition_of(batch)
            x, fake = self.real_and_fake(G, D, batch, *y)  # m examples with their labels, m noise samples z through G
            yield self.discriminator_move(D, x, fake, y, **self.penalties(global_step))
            clip_weights(D, self.weight_clip)
        fake = self.fake(G, D, len(batch.x), *y)  # m fresh noise samples
        yield self.generator_move(G, D, x, fake, batch, global_step, *y)  # G descends its gradient

    def preview(self, batch: Batch, G: nn.Module) -> Rows:
        """Four rows of samples: a class a column, or all classes in turn where they are more than columns."""
        assert isinstance(G, Conditional)
        n = len(batch.x)
        y = torch.arange(4 * n, device=batch.x.device) % (n if G.classes <= n else 4 * n) % G.classes
        return torch.stack(G(self.noise(len(y), device=y.device), y).chunk(4))
