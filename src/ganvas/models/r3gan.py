"""R3GAN: the regularised relativistic GAN.  Huang et al., The GAN is dead; long live the GAN!, arXiv:2501.05441.

    D descends  E softplus(D(G(z)) - D(x))  +  r1 E |grad D(x)|^2 / 2  +  r2 E |grad D(G(z))|^2 / 2
    G descends  E softplus(D(x) - D(G(z)))                                                     (equation 2, section 2)

Each real example is compared with a fake: G wins only by being as likely as the data everywhere, which leaves no
minimum in which modes are missing, and the two zero-centred penalties make the game converge locally.  With that loss
the tricks go: no normalisation anywhere, no momentum (beta_1 = 0), one update of D an update of G.

With net=residual the networks are the paper's (`nn.residual`), with net=conv DCGAN's without batch norm, leaky ReLU in
both players and weights of He et al.  For vectors they are MLPs; D sees random Fourier features of its input as well,
without which it finds all modes of a mixture but hardly how narrow they are.

During the burn-in the weights of the penalties, the learning rate, beta_2 and the half-life of the averages change:

    value(t) = last + (first - last) (1 + cos(pi t / burn_in)) / 2                   (the authors' code, config E)
"""

from collections.abc import Hashable, Set
from math import cos, pi
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from ..data import Data
from ..fields import Count, Fraction, Steps, Weight
from ..model import Batches, Moves, Schedule, Shape, kind_of, minimize
from ..nn import Depth, decoder
from ..nn.mlp import Activation, DecoderNorm, FourierFeatures, Norm
from ..objectives.adversarial import generator_loss
from ._defaults import fit_schedule
from ._gan import Adversarial
from ._gan_defaults import image_defaults
from ._gan_networks import finalize_network

SCALE = 3.0
"""deviation of the Fourier features' frequencies, in radians a standard deviation of the data"""
MIXTURE_DEFAULTS: dict[str, Any] = {
    "latent": 2, "width": 128, "lr": 3e-3, "betas": (0.0, 0.9), "batch_size": 256, "steps": 7000, "ema_decay": 0.99,
    "lr_decay": 0.8,
}  # fmt: skip
"""for vectors of two or three numbers: all modes of mixtures within minutes (docs/models/r3gan.md)"""
IMAGE_DEFAULTS: dict[str, Any] = {
    "net": "residual", "width": 8, "penalty_interval": 16, "lr": 1e-3, "augment": ("shift",),
    "batch_size": 16, "steps": 10000, "ema_decay": 0.998, "lr_decay": 0.5,
}  # fmt: skip
"""for images: the paper's networks, but narrow, and penalties at few steps, for a processor (docs/models/r3gan.md)"""
FIRST_BETA_2, LAST_LR_FACTOR, LAST_PENALTY_FACTOR = 0.9, 0.25, 0.1
"""beta_2 at the beginning of the burn-in, and what is left of learning rate and penalties at its end"""


class R3GAN(Adversarial):
    """The GAN of 2025: a relativistic loss and two gradient penalties, and no tricks."""

    fixed_options: ClassVar[dict[str, object]] = Adversarial.fixed_options | {"loss": "relativistic"}
    schedule_option: ClassVar[str] = "burn_in"
    chosen_options: ClassVar[Set[str]] = MIXTURE_DEFAULTS.keys() | IMAGE_DEFAULTS.keys()

    depth: Depth = 3
    fourier_features: Annotated[int, Field(ge=0, le=65536)] = 64
    """random Fourier features that D sees of a vector, besides the vector"""
    norm: Literal["auto"] | DecoderNorm = "none"
    norm_d: Literal["auto"] | Norm = "none"
    """normalisation in D; auto is layer with convolutions, none in an MLP"""
    r1: Weight = 0.1
    """weight of half the squared gradient of D on real examples"""
    r2: Weight = 0.1
    """weight of half the squared gradient of D on fake examples"""
    penalty_interval: Count = 1
    """compute the penalties every so many steps, with as many times the weight (arXiv:1912.04958)"""
    burn_in: Steps = 0
    """steps in which, by a cosine, r1 and r2 fall to a tenth and lr to a quarter, and the half-life of the averaged
    weights rises from 0 and the second of betas from 0.9 to what they are, as in the paper; 0 for never"""
    betas: tuple[Fraction, Fraction] = (0.0, 0.99)

    def schedule(self, global_step: int) -> Schedule:
        if not self.burn_in:
            return Schedule()
        left = (1 + cos(pi * min(1.0, global_step / self.burn_in))) / 2
        last_beta_2 = self.betas[1]
        return Schedule(
            lr_factor=LAST_LR_FACTOR + (1 - LAST_LR_FACTOR) * left,
            beta_2=last_beta_2 + (min(FIRST_BETA_2, last_beta_2) - last_beta_2) * left,
            ema_share=1 - left,
            penalty_factor=LAST_PENALTY_FACTOR + (1 - LAST_PENALTY_FACTOR) * left,
        )

    def penalties(self, global_step: int) -> dict[str, float]:
        factor = self.schedule(global_step).penalty_factor
        return {name: factor * weight for name, weight in super().penalties(global_step).items()}

    def defaults_for(self, data: Data, given: Set[str]) -> dict[str, Any]:
        if data.shape in ((2,), (3,)):
            return fit_schedule(MIXTURE_DEFAULTS, given)
        return image_defaults(self.net, data, given, IMAGE_DEFAULTS)

    def step_key(self, global_step: int, batch_size: int, dataset_size: int) -> Hashable | None:
        return None if global_step < self.burn_in else tuple(self.penalties(global_step))

    def unused_options(self, shape: Shape) -> dict[str, str]:
        features = {} if len(shape) == 1 else {"fourier_features": f"on {kind_of(shape)}s"}
        return super().unused_options(shape) | features

    def build_networks(self, shape: Shape, shape_d: Shape, classes: int) -> tuple[nn.Module, nn.Module]:
        norm, norm_d = self.norms(shape)
        features, vectors = self.fourier_features, len(shape) == 1
        kind: Activation = "relu" if vectors else "leaky-relu"  # of which MLPs learn narrow modes much worse
        inputs = (shape_d[0] + 2 * features,) if vectors else shape_d
        G = decoder(self.net, self.latent, shape, self.width, self.depth, norm=norm, activation=kind)
        D = self.discriminator_layers(inputs, norm_d, kind)
        if vectors:
            D = nn.Sequential(nn.Flatten(), FourierFeatures(shape_d[0], features, SCALE), *D)
        return finalize_network(G, shape), finalize_network(D)

    def step(self, batches: Batches, global_step: int, G: nn.Module, D: nn.Module) -> Moves:
        """One update of each player on equation 2, with both penalties in D's where they are due."""
        batch = next(batches)
        x, fake = self.real_and_fake(G, D, batch)
        yield self.discriminator_move(D, x, fake, **self.penalties(global_step))  # equation 2, R1 and R2
        fake = self.fake(G, D, len(batch.x))
        with torch.no_grad():
            real_logits = D(x)
        yield minimize(G, fool=generator_loss("relativistic", D(fake), real_logits))  # equation 2
