"""CycleGAN.  Zhu, Park, Isola & Efros, Unpaired image-to-image translation, arXiv:1703.10593.

G: X -> Y and F: Y -> X, against critics DX and DY.  G and F descend (equation 3, with section 4's squares)

    E (DY(G(x)) - 1)^2 + E (DX(F(y)) - 1)^2  +  cycle (E |F(G(x)) - x| + E |G(F(y)) - y|)
                                             +  identity (E |F(x) - x| + E |G(y) - y|)            (section 5.2)

and DY and DX half of  E (DY(y) - 1)^2 + E DY(G(x))^2,  E (DX(x) - 1)^2 + E DX(F(y))^2, in which the translations are
drawn from a pool of past ones.  X is domain A, Y is domain B.

G translates x and repeats y in one pass, as F does the other way: four passes of translators a step, where the
authors' code makes six.  Instance norm sees each image alone, so the results are the same.
"""

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ..data import DomainPair
from ..errors import UserError
from ..fields import Weight
from ..model import Moves, PairBatches, Shape, minimize_independent
from ..nn.concurrency import concurrently
from ..nn.discriminator import CriticWithPool
from ..objectives.adversarial import generator_loss
from ..objectives.translation import absolute_error
from ._own import format_shape
from ._translator import SQUARES, PatchTranslator, critic_terms

TranslationAndTerms = tuple[Tensor, dict[str, Tensor]]


class CycleGAN(PatchTranslator):
    """Two translators learn to undo each other, and patch critics learn to tell translations from examples."""

    training_only: ClassVar[tuple[str, ...]] = ("DX", "DY")

    cycle_weight: Weight = 10.0
    """weight of the cycle-consistency loss"""
    identity_weight: Weight | None = None
    """weight of the identity loss; unless given, half of cycle_weight where both domains have one shape, else 0"""
    pool_size: Annotated[int, Field(ge=0, le=100_000)] = 50
    """past translations that each critic sees again; 0 for none"""

    def validate_data(self, data: DomainPair) -> None:
        super().validate_data(data)
        a, b = data.shape
        if self.identity_weight and a != b:
            shapes = f"{format_shape(a)} and {format_shape(b)}"
            raise UserError(
                f"identity_weight={self.identity_weight:g} asks translators to repeat examples of the other domain, "
                f"but those have other shapes, {shapes}: leave it out, or make them the same with size and channels"
            )

    def networks(self, shape: tuple[Shape, Shape], classes: int = 0) -> dict[str, nn.Module]:
        x, y = shape
        critics = {"DX": x, "DY": y}
        return {"G": self.translator(x, y), "F": self.translator(y, x)} | {
            name: CriticWithPool(self.critic(domain), domain, self.pool_size) for name, domain in critics.items()
        }

    def step(self, batches: PairBatches, global_step: int, G: nn.Module, F: nn.Module, DX: Any, DY: Any) -> Moves:
        """The authors' order: both translators, then both critics on translations from their pools."""
        x, y = (self.random_view(batch.x) for batch in next(batches))
        (fake_y, forward), (fake_x, backward) = concurrently(
            lambda: self.translator_terms(G, F, DY, x, y),  # equation 3: G, judged by DY, and F back to x
            lambda: self.translator_terms(F, G, DX, y, x),  # equation 3: F, judged by DX, and G back to y
            device=x.device,
        )
        yield minimize_independent((G, F), forward, backward)
        past_x, past_y = DX.past(fake_x.detach()), DY.past(fake_y.detach())  # section 4: past translations
        (of_x, logged_x), (of_y, logged_y) = concurrently(
            lambda: critic_terms(DX, "A", x, past_x), lambda: critic_terms(DY, "B", y, past_y), device=x.device
        )
        yield minimize_independent((DX, DY), of_x, of_y)._replace(logged=logged_x | logged_y)  # equation 1, squared

    def translator_terms(self, G: nn.Module, F: nn.Module, DY: nn.Module, x: Tensor, y: Tensor) -> TranslationAndTerms:
        """G(x), and the half of equation 3 in which G translates and F returns; G repeats y in the same pass."""
        default = self.cycle_weight / 2 if x.shape[1:] == y.shape[1:] else 0.0
        identity_weight = default if self.identity_weight is None else self.identity_weight
        fake, same = G(torch.cat([x, y])).split([len(x), len(y)]) if identity_weight else (G(x), None)
        terms = {"fool": 2 * generator_loss(SQUARES, DY(fake)), "cycle": self.cycle_weight * absolute_error(x, F(fake))}
        if same is not None:
            terms["identity"] = identity_weight * absolute_error(y, same)
        return fake, terms
