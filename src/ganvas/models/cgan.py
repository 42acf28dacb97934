"""Conditional GAN.  Mirza & Osindero, Conditional Generative Adversarial Nets, arXiv:1411.1784.

    min_G max_D  E_x log s(D(x|y))  +  E_z log(1 - s(D(G(z|y)|y)))                                        (equation 2)

Both players are told the class y.  G always has it as a one-hot code beside z.  With condition="concatenation" D has it
beside its input, as further numbers (MLP, the paper) or channels; with condition="projection" it compares it with
what it sees, D(x, y) = psi(phi(x)) + <v_y, phi(x)> (Miyato & Koyama, arXiv:1802.05637), and a convolutional G then
draws more often what it is asked for (docs/games.md).  G is asked for the labels of the batch that D has just seen, so
that both come from the data's own distribution (or, with --balanced, all classes equally often).
"""

from typing import Annotated, Literal, final

import torch
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..data import Collection
from ..model import STRICT, Batch, Shape
from ..nn import Labelled, chosen, decoder, encoder
from ..nn.discriminator import Projection
from ._gan import Adversarial, finished
from ._labels import check_classes

AUTO = {"mlp": "concatenation", "conv": "projection"}


@final
@dataclass(frozen=True, kw_only=True, config=STRICT)
class CGAN(Adversarial):
    """The GAN that draws the class it is asked for."""

    latent: Annotated[int, Field(gt=0, le=65536)] = 100
    """dimensions of the noise z"""
    condition: Literal["auto", "concatenation", "projection"] = "auto"
    """how D is told the class: beside its input, or compared with what it sees; auto is the first in an MLP"""

    @property
    def labelled(self) -> bool:
        return True

    def check(self, data: Collection) -> None:
        super().check(data)
        otherwise = f", or train {'dcgan' if data.are_images else 'gan'}"
        check_classes(data, "cgan draws the class it is asked for", otherwise)

    def players(self, shape: Shape, judged: Shape, classes: int) -> tuple[nn.Module, nn.Module]:
        norm, norm_d = self.norms(shape)
        kind = self.condition if self.condition != "auto" else AUTO[chosen(self.net, shape)]
        joined = kind == "concatenation"
        seen = (judged[0] + classes * joined, *judged[1:])
        G = decoder(self.net, self.latent + classes, shape, self.width, self.depth, norm=norm)
        D = encoder(self.net, seen, 1, self.width, self.depth, norm=norm_d, activation="leaky-relu")
        G, D = finished(G, shape), finished(D)
        return Labelled(G, (self.latent,), classes), Labelled(D, judged, classes) if joined else Projection(D, classes)

    def preview(self, batch: Batch, G: nn.Module) -> Float[Tensor, "rows n *shape"]:
        """Four rows of samples: a class a column, or all classes in turn where they are more than columns."""
        assert isinstance(G, Labelled)
        n = len(batch.x)
        y = torch.arange(4 * n, device=batch.x.device) % (n if G.classes <= n else 4 * n) % G.classes
        made: Tensor = G(self.fresh(len(y), G), y)
        return torch.stack(made.chunk(4))
