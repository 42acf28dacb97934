"""DiscoGAN.  Kim, Cha, Kim, Lee & Kim, Learning to discover cross-domain relations, arXiv:1703.05192.

GAB: A -> B and GBA: B -> A, against discriminators DA and DB, which return logits; s is the logistic function.

    GAB, GBA  descend  -E log s(DB(GAB(a))) - E log s(DA(GBA(b)))
                       + constancy ( d(GBA(GAB(a)), a) + d(GAB(GBA(b)), b) )                   (equations 3 to 9)
    DA, DB    descend  -E log s(DA(a)) - E log(1 - s(DA(GBA(b)))) - E log s(DB(b)) - E log(1 - s(DB(GAB(a))))

That is recon="both".  The paper's two other models: recon="none" is a GAN from A to B (figure 2a: GAB and DB alone),
recon="one" adds the way back from B, which only has to rebuild a (figure 2b: no DA).

`features` adds feature matching, which the paper has not, but its authors' code has, with weight 9 to the game's 1.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any, Literal, TypeVar, final

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..errors import UserError
from ..model import STRICT, Move, PairBatch, Shape, side_by_side
from ..nn.concurrency import abreast
from ..nn.conv import conv_encoder, initialize
from ..nn.translators import bottlenecked, judge, perceptron
from ..objectives import Distance, Loss, distance, feature_matching, generator_loss
from ._gan import Weight
from ._translator import Translator, judgement, other

T = TypeVar("T")
ENTROPY: Loss = "non-saturating"


@final
@dataclass(frozen=True, kw_only=True, config=STRICT)
class DiscoGAN(Translator):
    """Two translators discover how the domains correspond, since each must rebuild what the other was given."""

    scaffolding = ("DA", "DB")
    translators = ("GAB", "GBA")

    recon: Literal["none", "one", "both"] = "both"
    """what is rebuilt: nothing (a GAN), examples of A (a GAN with reconstruction), or of both domains (DiscoGAN)"""
    distance: Distance = "mse"
    """between an example and its reconstruction"""
    constancy: Weight = 1.0
    """weight of the reconstruction loss"""
    features: Weight = 0.0
    """weight of feature matching on the discriminators' hidden layers"""
    latent: Annotated[int, Field(gt=0, le=65536)] | None = None
    """numbers in a convolutional translator's bottleneck; small maps unless given, or 100 where those do not fit"""

    def networks(self, shape: tuple[Shape, Shape], classes: int = 0) -> dict[str, nn.Module]:
        a, b = shape
        nets = {"GAB": self.translator(a, b), "GBA": self.translator(b, a),
                "DA": self.discriminator(a), "DB": self.discriminator(b)}  # fmt: skip
        unused = {"none": ("GBA", "DA"), "one": ("DA",), "both": ()}[self.recon]
        return {name: net for name, net in nets.items() if name not in unused}

    def translator(self, a: Shape, b: Shape) -> nn.Module:
        if self.convolves(a):
            return self.corrected(bottlenecked(a, b, self.width or 64, self.latent))
        return perceptron(a, b, self.width or 128, self.depth)

    def discriminator(self, shape: Shape) -> nn.Module:
        if self.convolves(shape):
            return initialize(conv_encoder(shape, 1, self.width or 64, norm="batch", activation="leaky-relu"))
        return judge(shape, self.width or 128, self.depth_d)

    def check_batch(self, batch: int, shape: tuple[Shape, Shape]) -> None:
        if batch < 2 and self.convolves(shape[0]):
            raise UserError(f"batch={batch} is too small for batch norm: give 2 or more")

    def step(self, batches: Iterator[PairBatch], done: int, **nets: nn.Module) -> Iterator[Move]:
        """Discriminators, then translators, whose translations serve both turns: nothing moves them in between.

        What concerns one domain needs no result of the other: each has its own cores.
        """
        batch = next(batches)
        real = {"A": batch.a.x, "B": batch.b.x}
        judged = [domain for domain in real if f"D{domain}" in nets]

        def each(work: Callable[..., T], *others: Any) -> list[T]:
            works = [partial(work, domain, real, *others) for domain in judged]
            return abreast(*works, device=batch.a.x.device)

        made = dict(zip(judged, each(partial(translated, nets)), strict=True))
        found = each(partial(verdicts, nets), made)
        critics, translators = (tuple(net for name, net in nets.items() if name[0] == kind) for kind in "DG")
        seen = found[0][1] | found[-1][1]
        yield side_by_side(critics, *(terms for terms, _ in found))._replace(seen=seen)
        yield side_by_side(translators, *each(self.goals, made, nets))

    def goals(
        self, domain: str, real: dict[str, Tensor], made: dict[str, Tensor], nets: dict[str, Any]
    ) -> dict[str, Tensor]:
        """What translations to a domain, and their way back, are to descend, after the discriminators' turn."""
        fake, home = made[domain], other(domain)
        *hidden, logits = layers(nets[f"D{domain}"], fake)
        terms = {"fool": generator_loss(ENTROPY, logits)}
        if self.features:
            *of_real, _ = layers(nets[f"D{domain}"], real[domain])
            terms["features"] = self.features * feature_matching(of_real, hidden)
        if to(home) in nets and self.recon != "none":
            terms["constancy"] = self.constancy * distance(self.distance, real[home], nets[to(home)](fake))
        return terms


def translated(nets: dict[str, Any], domain: str, real: dict[str, Tensor]) -> Tensor:
    """Translations to a domain."""
    made: Tensor = nets[to(domain)](real[other(domain)])
    return made


def verdicts(
    nets: dict[str, Any], domain: str, real: dict[str, Tensor], made: dict[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The terms of a domain's discriminator, and what the log sees."""
    D = nets[f"D{domain}"]
    return judgement(ENTROPY, domain, D(real[domain]), D(made[domain].detach()))


def to(domain: str) -> str:
    """Name of the translator to this domain."""
    return f"G{other(domain)}{domain}"


def layers(D: nn.Module, x: Tensor) -> list[Tensor]:
    """What a discriminator's activations return, of several all but the first, and its logits."""
    assert isinstance(D, nn.Sequential)
    found = []
    for layer in D:
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU):
            found.append(x)
    return [*(found[1:] or found), x]
