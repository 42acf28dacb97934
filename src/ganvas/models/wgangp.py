"""Wasserstein GAN with gradient penalty.  Gulrajani et al., Improved Training of Wasserstein GANs, arXiv:1704.00028.

    min_G max_D  E_x D(x)  -  E_z D(G(z))  -  gp E_u ( |grad D(u)| - 1 )^2                              (equation 3)

u lies uniformly on the segment between a real and a fake example, its own in every pair.  Algorithm 1, with its
n_critic = 5, gp = 10 and Adam with 1e-4, beta_1 = 0 and beta_2 = 0.9.  The critic has no batch norm, under which its
gradient at an example would mean nothing, but layer norm (section 4, "no critic batch normalization").
"""

from collections.abc import Hashable
from typing import ClassVar

from torch import nn

from ..data import Dataset
from ..errors import UserError
from ..fields import Count, Fraction, Positive, Weight
from ..model import Batches, Moves, minimize
from ..objectives.adversarial import generator_loss
from ._gan import Adversarial
from .wgan import n_critic_steps


class WGANGP(Adversarial):
    """The GAN whose critic estimates the earth mover's distance; its gradient is drawn to norm 1."""

    fixed_options: ClassVar[dict[str, object]] = Adversarial.fixed_options | {"loss": "wasserstein"}

    n_critic: Count = 5
    """updates of the critic per update of G"""
    initial_critic_steps: Count = 1
    """updates of the critic in each of the first 25 steps and in every 500th, if more than n_critic"""
    gp: Weight = 10.0
    """weight of the gradient penalty, the paper's lambda, which pulls the norm of the critic's gradient to 1"""
    lr: Positive = 1e-4
    betas: tuple[Fraction, Fraction] = (0.0, 0.9)

    def step_key(self, global_step: int, batch_size: int, dataset_size: int) -> Hashable | None:
        return n_critic_steps(self.n_critic, self.initial_critic_steps, global_step)

    def validate_data(self, data: Dataset) -> None:
        super().validate_data(data)
        if not self.gp:
            raise UserError("wgangp bounds its critic by gp: give one, e.g. gp=10, or train wgan")

    def step(self, batches: Batches, global_step: int, G: nn.Module, D: nn.Module) -> Moves:
        """Algorithm 1."""
        for _ in range(n_critic_steps(self.n_critic, self.initial_critic_steps, global_step)):  # line 2
            batch = next(batches)
            x, fake = self.real_and_fake(G, D, batch)  # lines 4 and 5: x ~ P_r, z ~ p(z), G(z)
            yield self.discriminator_move(D, x, fake, gp=self.gp)  # lines 6 to 9: equation 3
        logits = D(self.fake(G, D, len(batch.x)))  # line 11
        yield minimize(G, fool=generator_loss("wasserstein", logits))  # line 12
