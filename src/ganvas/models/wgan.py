"""Wasserstein GAN.  Arjovsky, Chintala & Bottou, arXiv:1701.07875.

    min_G max_D  E_x D(x)  -  E_z D(G(z))      over critics D of bounded slope                     (equations 2 and 3)

The maximum is the earth mover's distance W(P_x, P_G), times the bound.  Algorithm 1: k critic updates, each followed by
w <- clip(w, -c, c), then one update of G; RMSprop, since momentum makes the critic's training unstable (section 4).
As in the authors' code the critic has 100 updates in each of the first 25 steps and in every 500th, so that the
estimate that G follows, and the log shows, is near the maximum.
"""

from collections.abc import Hashable
from typing import ClassVar

from torch import nn
from torch.optim import Optimizer

from ..data import Dataset
from ..errors import UserError
from ..fields import Count, Fraction, Positive
from ..model import Batches, Moves, minimize
from ..objectives.adversarial import generator_loss
from ..optimizers import RMSprop
from ._gan import Adversarial, clip_weights

WARMUP_STEPS, WARMUP_INTERVAL = 25, 500
"""steps at the beginning, and the interval later, with more updates of a critic"""


def n_critic_steps(n_critic: int, initial: int, global_step: int) -> int:
    """Updates of a critic in the step after so many others; more at intervals, as in the code of WGAN's authors."""
    return max(n_critic, initial) if global_step < WARMUP_STEPS or global_step % WARMUP_INTERVAL == 0 else n_critic


class WGAN(Adversarial):
    """The GAN whose critic estimates the earth mover's distance; its weights are clipped."""

    fixed_options: ClassVar[dict[str, object]] = Adversarial.fixed_options | {"loss": "wasserstein"}

    n_critic: Count = 5
    """updates of the critic per update of G"""
    initial_critic_steps: Count = 100
    """updates of the critic in each of the first 25 steps and in every 500th, if more than n_critic"""
    weight_clip: Positive | None = 0.01
    """c: clip every weight of the critic to [-c, c] after each of its updates"""
    lr: Positive = 5e-5
    """RMSprop's learning rate"""
    betas: tuple[Fraction, Fraction] = (0.0, 0.99)
    """RMSprop's decay rates: it has no momentum, so the first is 0"""

    def step(self, batches: Batches, global_step: int, G: nn.Module, D: nn.Module) -> Moves:
        """Algorithm 1."""
        for _ in range(n_critic_steps(self.n_critic, self.initial_critic_steps, global_step)):  # line 2
            batch = next(batches)
            x, fake = self.real_and_fake(G, D, batch)  # lines 3 and 4: m examples of P_r, m samples of p(z) through G
            yield self.discriminator_move(D, x, fake)  # lines 5 and 6: ascend E f(x) - E f(g(z))
            clip_weights(D, self.weight_clip)  # line 7
        logits = D(self.fake(G, D, len(batch.x)))  # line 9
        yield minimize(G, fool=generator_loss("wasserstein", logits))  # lines 10 and 11: descend -E f(g(z))

    def step_key(self, global_step: int, batch_size: int, dataset_size: int) -> Hashable | None:
        return n_critic_steps(self.n_critic, self.initial_critic_steps, global_step)

    def validate_data(self, data: Dataset) -> None:
        super().validate_data(data)
        if self.weight_clip is None:
            raise UserError("wgan bounds its critic by weight_clip: give one, e.g. weight_clip=0.01, or train wgangp")
        if self.betas[0] != 0:
            raise UserError(f"betas={self.betas[0]:g},{self.betas[1]:g}: RMSprop has no momentum: give 0 first")

    def optimizer(self, *networks: nn.Module) -> Optimizer:
        """RMSprop, as in the paper: section 4."""
        parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
        return RMSprop(parameters, lr=self.lr, alpha=self.betas[1], eps=self.eps, foreach=True)
