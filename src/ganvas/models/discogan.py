"""DiscoGAN.  Kim, Cha, Kim, Lee & Kim, Learning to discover cross-domain relations, arXiv:1703.05192.

GAB: A -> B and GBA: B -> A, against discriminators DA and DB, which return logits; s is the logistic function.

    GAB, GBA  descend  -E log s(DB(GAB(a))) - E log s(DA(GBA(b)))
                       + w ( d(GBA(GAB(a)), a) + d(GAB(GBA(b)), b) )                           (equations 3 to 9)
    DA, DB    descend  -E log s(DA(a)) - E log(1 - s(DA(GBA(b)))) - E log s(DB(b)) - E log(1 - s(DB(GAB(a))))

w is `reconstruction_weight`.  That is reconstruct="both".  The paper's two other models: reconstruct="none" is a GAN
from A to B (figure 2a: GAB and DB alone), reconstruct="one" adds the way back from B, which only has to rebuild a
(figure 2b: no DA).

`feature_matching_weight` adds feature matching, which only the authors' code has, with weight 9 to the game's 1.
"""

from functools import partial, reduce
from operator import or_
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from ..errors import UserError
from ..fields import Size, Weight
from ..model import Moves, PairBatches, Shape, minimize_independent
from ..nn import encoder
from ..nn.compilation import uncompiled
from ..nn.concurrency import concurrently
from ..nn.conv import initialize
from ..nn.translators import encoder_decoder, mlp_translator
from ..objectives.adversarial import Loss, generator_loss
from ..objectives.translation import Distance, feature_matching, reconstruction_distance
from ._translator import OTHER_DOMAIN, Translator, terms_by_domain

Tensors = dict[str, Tensor]
ENTROPY: Loss = "non-saturating"


class DiscoGAN(Translator):
    """Two translators discover how the domains correspond, since each must reconstruct the other's input."""

    training_only: ClassVar[tuple[str, ...]] = ("DA", "DB")
    translators: ClassVar[dict[str, str]] = {"B": "GAB", "A": "GBA"}

    reconstruct: Literal["none", "one", "both"] = "both"
    """what is reconstructed: nothing (GAN), examples of A (GAN with reconstruction), or of both domains (DiscoGAN)"""
    reconstruction_loss: Distance = "mse"
    """distance between an example and its reconstruction"""
    reconstruction_weight: Weight = 1.0
    """weight of the reconstruction loss"""
    feature_matching_weight: Weight = 0.0
    """weight of feature matching on the discriminators' hidden layers"""
    latent: Size | None = None
    """numbers in a convolutional translator's bottleneck; small maps unless given, or 100 where those do not fit"""

    def unused_options(self, shape: tuple[Shape, Shape]) -> dict[str, str]:
        of_reconstruction = ("reconstruction_loss", "reconstruction_weight") if self.reconstruct == "none" else ()
        unused = super().unused_options(shape) | dict.fromkeys(of_reconstruction, "with reconstruct=none")
        return unused | ({} if any(map(self.is_convolutional, shape)) else {"latent": "without net=conv"})

    def networks(self, shape: tuple[Shape, Shape], classes: int = 0) -> dict[str, nn.Module]:
        a, b = shape
        nets = {"GAB": self.translator(a, b), "GBA": self.translator(b, a)}
        nets |= {"DA": self.discriminator(a), "DB": self.discriminator(b)}
        unused = {"none": ("GBA", "DA"), "one": ("DA",), "both": ()}[self.reconstruct]
        return {name: net for name, net in nets.items() if name not in unused}

    def translator(self, a: Shape, b: Shape) -> nn.Module:
        if self.is_convolutional(a):
            return self.apply_residual(encoder_decoder(a, b, self.width or 64, self.latent))
        return mlp_translator(a, b, self.width or 128, self.depth)

    def discriminator(self, shape: Shape) -> nn.Module:
        if self.is_convolutional(shape):
            return initialize(encoder("conv", shape, 1, self.width or 64, 0, norm="batch", activation="leaky-relu"))
        return encoder("mlp", shape, 1, self.width or 128, self.depth_d, activation="leaky-relu")

    def validate_batch_size(self, batch: int, shape: tuple[Shape, Shape]) -> None:
        if batch < 2 and self.is_convolutional(shape[0]):
            raise UserError(f"batch_size={batch} is too small for batch norm: give 2 or more")

    def step(self, batches: PairBatches, global_step: int, **nets: nn.Module) -> Moves:
        """Discriminators, then translators, on the same translations: nothing moves them in between."""
        batch = next(batches)
        real, device = {"A": batch.a.x, "B": batch.b.x}, batch.a.x.device
        domains = [domain for domain in real if f"D{domain}" in nets]
        critics, translators = (tuple(net for name, net in nets.items() if name[0] == kind) for kind in "DG")
        judged = concurrently(*(partial(self.critic_terms, nets, d, real) for d in domains), device=device)
        fakes, terms, logs = zip(*judged, strict=True)
        yield minimize_independent(critics, *terms)._replace(logged=reduce(or_, logs))  # equations 8 and 9
        ways = (partial(self.translator_terms, nets, d, real, fake) for d, fake in zip(domains, fakes, strict=True))
        yield minimize_independent(translators, *concurrently(*ways, device=device))  # equations 3 to 7

    def critic_terms(self, nets: dict[str, Any], domain: str, real: Tensors) -> tuple[Tensor, Tensors, Tensors]:
        """Translations to a domain (equations 1 and 2), what its discriminator then descends, and what the log sees."""
        fake, D = nets[self.translators[domain]](real[OTHER_DOMAIN[domain]]), nets[f"D{domain}"]
        return fake, *terms_by_domain(ENTROPY, domain, D(real[domain]), D(fake.detach()))

    def translator_terms(self, nets: dict[str, Any], domain: str, real: Tensors, fake: Tensor) -> Tensors:
        """What translations to a domain, and their way back, are to descend, after the discriminators' move."""
        source, D = OTHER_DOMAIN[domain], nets[f"D{domain}"]
        way_back = self.translators[source]
        *hidden, logits = layers(D, fake)
        terms = {"fool": generator_loss(ENTROPY, logits)}
        if self.feature_matching_weight:
            *hidden_real, _ = layers(D, real[domain])
            terms["features"] = self.feature_matching_weight * feature_matching(hidden_real, hidden)
        if way_back in nets and self.reconstruct != "none":
            error = reconstruction_distance(self.reconstruction_loss, real[source], nets[way_back](fake))
            terms["constancy"] = self.reconstruction_weight * error
        return terms


def layers(D: nn.Module, x: Tensor) -> list[Tensor]:
    """What a discriminator's activations return, of several all but the first, and its logits."""
    D = uncompiled(D)
    assert isinstance(D, nn.Sequential)
    outputs = []
    for layer in D:
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU):
            outputs.append(x)
    return [*(outputs[1:] or outputs), x]
