"""What translators between two unpaired collections, the domains A and B, have in common.

Two networks, one a direction, and a critic a domain.  Pixels are in [-1, 1]; vectors are in units of their domain, mean
0 and deviation 1, and so are errors.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from ..data import DOMAINS, DomainPair
from ..errors import UserError
from ..fields import Fraction, Positive
from ..model import Model, PairBatch, Shape, model_name
from ..nn import Depth, Width, resolve_architecture
from ..nn.concurrency import concurrently
from ..nn.translators import ResidualTranslator
from ..objectives import Loss, absolute_error, discriminator_terms
from ..rules import Rule
from ._gan import confidence
from ._statistics import sample_statistics
from ._translator_rules import FAINT, translator_rules

T = TypeVar("T")


class Translator(Model[DomainPair, PairBatch, tuple[Shape, Shape]]):
    """Two networks that translate between two domains, learnt from unpaired examples of each."""

    n_domains = 2
    ignored_options = ("keep", "patience")
    monitor_batch_size = 16
    logged_statistics = ("accuracy_A", "gap_A", "accuracy_B", "gap_B")
    translators: ClassVar[tuple[str, str]] = ("G", "F")
    """names of the networks from A to B and from B to A"""
    critic_loss: ClassVar[Loss] = "non-saturating"
    """what its critics descend"""

    net: Literal["auto", "conv", "mlp"] = "auto"
    """kind of networks; auto is conv for images, mlp for vectors"""
    width: Width = None
    """channels next to the image (64), or units of a hidden layer (128)"""
    depth: Depth = 2
    """hidden layers of an MLP that translates"""
    depth_d: Depth = 4
    """hidden layers of an MLP that judges"""
    residual: bool = False
    """translators add a correction to their input, which begins at 0; for images of one shape (arXiv:1711.07064)"""
    lr: Positive = 2e-4
    """Adam's learning rate"""
    betas: tuple[Fraction, Fraction] = (0.5, 0.999)
    """Adam's decay rates"""

    def validate_data(self, data: DomainPair) -> None:
        for shape in data.shape:
            resolve_architecture(self.net, shape)
        a, b = data.shape
        if self.residual and not (a == b and self.is_convolutional(a)):
            raise UserError(
                "residual adds a correction to an image, so it needs net=conv and images of one shape in both domains, "
                f"but examples are {' and '.join('x'.join(map(str, shape)) for shape in data.shape)}: leave it out"
            )

    def is_convolutional(self, shape: Shape) -> bool:
        """Whether its networks for examples of this shape are convolutional."""
        return resolve_architecture(self.net, shape) == "conv"

    def apply_residual(self, net: nn.Module) -> nn.Module:
        """A translator of images, as it is or, with `residual`, as what is added to its input."""
        return ResidualTranslator(net) if self.residual else net

    def has_fixed_size(self, shape: Shape) -> bool:
        """Whether its network for images of this shape takes no other size."""
        return True

    def directions(self, **networks: Any) -> tuple[str, ...]:
        """The domains to which it translates."""
        return tuple(domain for domain, name in zip("BA", self.translators, strict=True) if name in networks)

    def translate(self, x: Float[Tensor, "n *shape"], to: str, **networks: Any) -> Tensor:
        """G(x), or F(y)."""
        if to not in self.directions(**networks):
            raise UserError(
                f"this {model_name(self)} translates to {' and '.join(self.directions(**networks))}, not to {to!r}"
            )
        made: Tensor = networks[self.translators["BA".index(to)]](x)
        return made

    def preview(self, batch: PairBatch, **networks: Any) -> Float[Tensor, "rows n *shape"]:
        """Rows of x, G(x), F(G(x)), then of y, F(y), G(F(y)): each as far as the model goes."""
        rows = []
        for home, x in zip(DOMAINS, (batch.a.x, batch.b.x), strict=True):
            chain, end = [x], home
            while len(chain) < 3 and other_domain(end) in self.directions(**networks):
                end = other_domain(end)
                chain.append(self.translate(chain[-1], end, **networks))
            rows += chain
        return alike(rows)

    def monitor(self, batch: PairBatch, **networks: Any) -> dict[str, Tensor]:
        """How round trips from each domain, and translations from it, stand; errors are means of absolute values.

        `cycle_A` is the error of F(G(x)), and `noisy_A` that of F(G(x) + faint noise); `moved_A` is how far G moves its
        input, as a share of what separates examples of the two domains, where they have the same shape.  `diversity_A`,
        `detail_A` and `detail_real_A` are of translations from A, beside examples of both domains.
        """
        found: dict[str, Tensor] = {}
        for home, x, y in (("A", batch.a.x, batch.b.x), ("B", batch.b.x, batch.a.x)):
            if other_domain(home) not in self.directions(**networks):
                continue
            made = self.translate(x, other_domain(home), **networks)
            found |= {f"{name}_{home}": value for name, value in sample_statistics(made, y, x).items()}
            if home in self.directions(**networks):
                found |= self.round_trip(x, made, home, **networks)
            if x.shape[1:] == y.shape[1:] and (apart := absolute_error(x, y)) > 0:  # else there is no share of it
                found[f"moved_{home}"] = absolute_error(x, made) / apart
        return found

    def rules(self) -> Iterator[Rule]:
        return translator_rules(self)

    def round_trip(self, x: Tensor, made: Tensor, home: str, **networks: Any) -> dict[str, Tensor]:
        """Errors of the way home from translations, as they are and with faint noise."""
        faint = FAINT * torch.randn_like(made)
        return {
            f"{name}_{home}": absolute_error(x, self.translate(seen, home, **networks))
            for name, seen in (("cycle", made), ("noisy", made + faint))
        }


def other_domain(domain: str) -> str:
    return "B" if domain == "A" else "A"


def alike(rows: list[Tensor]) -> Float[Tensor, "rows n *shape"]:
    """Rows of examples of one shape: grey becomes colour, what is smaller gets a white margin, vectors zeros."""
    sizes = [max(sizes) for sizes in zip(*(row.shape[1:] for row in rows), strict=True)]
    if len(sizes) == 1:
        return torch.stack([pad(row, (0, sizes[0] - row.shape[1])) for row in rows])
    channels, h, w = sizes
    fitted = []
    for row in rows:
        x = row.expand(-1, min(channels, 3), -1, -1) if row.shape[1] == 1 else row
        opaque = x.new_ones(len(x), channels - x.shape[1], *x.shape[2:])
        fitted.append(pad(torch.cat([x, opaque], 1), (0, w - x.shape[3], 0, h - x.shape[2]), value=1.0))
    return torch.stack(fitted)


def terms_by_domain(loss: Loss, domain: str, real: Tensor, fake: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The terms that the critic of a domain descends, from its verdicts, and how sure it is, for the log.

    That is the share of its verdicts that are right, and their gap.
    """
    terms = {f"{name}_{domain}": term for name, term in discriminator_terms(loss, real, fake).items()}
    found = confidence(real.detach(), fake.detach(), loss)
    accuracy = (found["accuracy_real"] + found["accuracy_fake"]) / 2
    return terms, {f"accuracy_{domain}": accuracy, f"gap_{domain}": found["gap"]}


def in_each_domain(domains: Iterable[str], function: Callable[[str], T], device: torch.device) -> dict[str, T]:
    """What a function of a domain returns, by domain: what concerns one needs no result of the other."""
    domains = list(domains)
    return dict(zip(domains, concurrently(*(partial(function, d) for d in domains), device=device), strict=True))
