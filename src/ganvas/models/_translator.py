"""What translators between two unpaired data sets, the domains A and B, have in common.

A network a direction, and a critic a domain.  Pixels are in [-1, 1]; vectors are in units of their domain, mean
0 and deviation 1, and so are errors.
"""

from math import nan
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad

from ..config import TrainConfig
from ..data import DomainPair
from ..errors import UserError
from ..fields import Fraction, Positive
from ..model import Model, PairBatch, Shape, kind_of, model_name
from ..nn import Depth, Width, encoder, resolve_architecture
from ..nn.augment import random_crop, random_flip
from ..nn.translators import PatchCritic, ResidualTranslator, ResnetTranslator, mlp_translator
from ..objectives.adversarial import Loss, confidence, discriminator_terms
from ..objectives.translation import absolute_error
from ..table_shape import TableShape
from ._latent import Examples, Network
from ._own import format_shape
from ._statistics import chroma, sample_statistics
from ._translator_diagnosis import FAINT, translator_rules

TermsAndLog = tuple[dict[str, Tensor], dict[str, Tensor]]
OTHER_DOMAIN = {"A": "B", "B": "A"}
SQUARES: Loss = "least-squares"
HALVINGS = {16: 1, 34: 2, 70: 3}


class Translator(Model[DomainPair, PairBatch, tuple[Shape, Shape]]):
    """Networks that translate between two domains, learnt from unpaired examples of each."""

    rules = translator_rules
    n_domains: ClassVar[int] = 2
    ignored_options: ClassVar[tuple[str, ...]] = ("keep", "patience")
    monitor_batch_size: ClassVar[int] = 16
    logged_statistics: ClassVar[tuple[str, ...]] = ("accuracy_A", "logit_gap_A", "accuracy_B", "logit_gap_B")
    translators: ClassVar[dict[str, str]] = {"B": "G", "A": "F"}
    """the names of its translators, by the domains to which they translate"""
    critic_loss: ClassVar[Loss] = "non-saturating"
    """what its critics descend"""

    net: Literal["auto", "conv", "mlp"] = "auto"
    """kind of networks; auto is mlp for vectors, else conv"""
    width: Width = None
    """channels next to the image (64), or units of a hidden layer (128)"""
    depth: Depth = 2
    """hidden layers of an MLP translator"""
    depth_d: Depth = 4
    """hidden layers of an MLP critic"""
    residual: bool = False
    """translators add a correction to their input, which begins at 0; for images of one shape (arXiv:1711.07064)"""
    lr: Positive = 2e-4
    betas: tuple[Fraction, Fraction] = (0.5, 0.999)

    def validate_data(self, data: DomainPair) -> None:
        for shape in data.shape:
            resolve_architecture(self.net, shape)
            if isinstance(shape, TableShape):
                raise UserError(f"{model_name(self)} translates no tables: train vae or ctgan on one")
        a, b = data.shape
        if self.residual and not (a == b and self.is_convolutional(a)):
            raise UserError(
                "residual adds a correction to an image, so it needs net=conv and images of one shape in both domains, "
                f"but examples are {format_shape(a)} and {format_shape(b)}: leave it out"
            )

    def unused_options(self, shape: tuple[Shape, Shape]) -> dict[str, str]:
        is_mlp = not all(map(self.is_convolutional, shape))
        return {} if is_mlp else dict.fromkeys(("depth", "depth_d"), "without net=mlp")

    def is_convolutional(self, shape: Shape) -> bool:
        return resolve_architecture(self.net, shape) == "conv"

    def apply_residual(self, net: nn.Module) -> nn.Module:
        """A translator of images, as it is or, with `residual`, as what is added to its input."""
        return ResidualTranslator(net) if self.residual else net

    def has_fixed_size(self, shape: Shape) -> bool:
        return True

    def directions(self, **networks: Any) -> tuple[str, ...]:
        return tuple(domain for domain, name in self.translators.items() if name in networks)

    def translate(self, x: Examples, to: str, **networks: Network) -> Tensor:
        """G(x), or F(y)."""
        if to not in (directions := self.directions(**networks)):
            raise UserError(f"this {model_name(self)} translates to {' and '.join(directions)}, not to {to!r}")
        return networks[self.translators[to]](x)

    def preview(self, batch: PairBatch, **networks: Any) -> Float[Tensor, "rows n *shape"]:
        """Rows of x, G(x), F(G(x)), then of y, F(y), G(F(y)): each as far as the model goes."""
        rows, directions = [], self.directions(**networks)
        for domain, x in (("A", batch.a.x), ("B", batch.b.x)):
            rows.append(x)
            for to in (OTHER_DOMAIN[domain], domain):
                if to not in directions:
                    break
                rows.append(self.translate(rows[-1], to, **networks))
        return stack_rows(rows)

    def monitor(self, batch: PairBatch, **networks: Any) -> dict[str, Tensor]:
        """How round trips from each domain, and translations from it, stand; errors are means of absolute values.

        `cycle_error_A` is the error of F(G(x)), and `noisy_cycle_error_A` that of F(G(x) + faint noise).
        `input_change_A` is how far G moves its input, as a share of what separates examples of the two domains, where
        they have the same shape.  `diversity_A`, `detail_A` and `detail_real_A` are of translations from A, beside
        examples of both domains.  `chroma_A` says how colourful A's images are.
        """
        directions, examples = self.directions(**networks), {"A": batch.a.x, "B": batch.b.x}
        statistics = {f"chroma_{domain}": chroma(x) for domain, x in examples.items() if x.ndim == 4}
        for to in directions:
            source = OTHER_DOMAIN[to]
            x, y, fake = examples[source], examples[to], self.translate(examples[source], to, **networks)
            of_source = sample_statistics(fake, y, x)
            if source in directions:
                noisy = fake + FAINT * torch.randn_like(fake)
                for name, part in (("cycle_error", fake), ("noisy_cycle_error", noisy)):
                    of_source[name] = absolute_error(x, self.translate(part, source, **networks))
            if x.shape[1:] == y.shape[1:] and (distance := absolute_error(x, y)) > 0:  # else there is no share of it
                of_source["input_change"] = absolute_error(x, fake) / distance
            statistics |= {f"{name}_{source}": value for name, value in of_source.items()}
        return statistics


class PatchTranslator(Translator):
    """A translator with the networks of CycleGAN's paper, arXiv:1703.10593: residual ones, and critics of patches."""

    critic_loss: ClassVar[Loss] = SQUARES
    default_training: ClassVar[TrainConfig] = TrainConfig(batch_size=1, lr_decay=0.5)

    blocks: Depth | None = None
    """residual blocks of a translator; 9 for images of 256 pixels and more, else 6, unless given"""
    patch_size: Literal[16, 34, 70] | None = None
    """pixels of a patch that critics judge; 70 for images of 128 pixels and more, 34 from 64, else 16, unless given"""
    enlarge: Annotated[float, Field(ge=1, le=2)] = 286 / 256
    """factor by which images are enlarged, then cropped back at a random place; 1 leaves them as they are"""
    flip: bool = True
    """mirror images at random"""

    def unused_options(self, shape: tuple[Shape, Shape]) -> dict[str, str]:
        is_conv, has_images = any(map(self.is_convolutional, shape)), any(len(part) == 3 for part in shape)
        of_conv = {} if is_conv else dict.fromkeys(("blocks", "patch_size"), "without net=conv")
        of_images = {} if has_images else dict.fromkeys(("enlarge", "flip"), f"on {kind_of(shape[0])}s")
        return super().unused_options(shape) | of_conv | of_images

    def has_fixed_size(self, shape: Shape) -> bool:
        return not self.is_convolutional(shape)

    def translator(self, a: Shape, b: Shape) -> nn.Module:
        if self.is_convolutional(a):
            blocks = self.blocks or (9 if min(b[1:]) >= 256 else 6)  # appendix 7.2
            return self.apply_residual(ResnetTranslator(a, b, self.width or 64, blocks))
        return mlp_translator(a, b, self.width or 128, self.depth)

    def critic(self, shape: Shape) -> nn.Module:
        if not self.is_convolutional(shape):
            return encoder("mlp", shape, 1, self.width or 128, self.depth_d, activation="leaky-relu")
        side = min(shape[1:])  # patches of smaller images are about half of them at most
        halvings = HALVINGS[self.patch_size or (70 if side >= 128 else 34 if side >= 64 else 16)]
        return PatchCritic(shape, self.width or 64, halvings)

    def random_view(self, x: Tensor) -> Tensor:
        """Examples as training sees them: images enlarged, cropped and mirrored at random."""
        x = random_crop(x, self.enlarge) if x.ndim == 4 else x
        return random_flip(x) if self.flip and x.ndim == 4 else x


def critic_terms(D: nn.Module, domain: str, real: Tensor, fake: Tensor) -> TermsAndLog:
    """A critic's part of the game in squares, and what the log sees, from one pass over examples and translations."""
    logits, fake_logits = D(torch.cat([real, fake])).split([len(real), len(fake)])
    return terms_by_domain(SQUARES, domain, logits, fake_logits)


def stack_rows(rows: list[Tensor]) -> Float[Tensor, "rows n *shape"]:
    """Rows of examples in one shape: grey becomes colour, what is smaller gets a white margin.

    Vectors get zeros, signals what is no number, so that nothing is drawn there.
    """
    sizes = tuple(max(sizes) for sizes in zip(*(row.shape[1:] for row in rows), strict=True))
    if (kind := kind_of(sizes)) != "image":
        missing = ([m - n for m, n in zip(sizes, row.shape[1:], strict=True)] for row in rows)
        paddings = ([p for n in reversed(each) for p in (0, n)] for each in missing)
        value = {"vector": 0.0, "signal": nan, "volume": 1.0}[kind]
        return torch.stack([pad(row, padding, value=value) for row, padding in zip(rows, paddings, strict=True)])
    channels, h, w = sizes
    padded = []
    for row in rows:
        x = row.expand(-1, min(channels, 3), -1, -1) if row.shape[1] == 1 else row
        opaque = x.new_ones(len(x), channels - x.shape[1], *x.shape[2:])
        padded.append(pad(torch.cat([x, opaque], 1), (0, w - x.shape[3], 0, h - x.shape[2]), value=1.0))
    return torch.stack(padded)


def terms_by_domain(loss: Loss, domain: str, real: Tensor, fake: Tensor) -> TermsAndLog:
    """The terms that the critic of a domain descends, from its logits; its accuracy, and the gap of its logits."""
    terms = {f"{name}_{domain}": term for name, term in discriminator_terms(loss, real, fake).items()}
    accuracy_real, accuracy_fake, gap = confidence(real.detach(), fake.detach(), loss).values()
    return terms, {f"accuracy_{domain}": (accuracy_real + accuracy_fake) / 2, f"logit_gap_{domain}": gap}
