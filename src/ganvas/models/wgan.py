"""Wasserstein GAN.  Arjovsky, Chintala & Bottou, arXiv:1701.07875.

    min_G max_D  E_x D(x)  -  E_z D(G(z))      over critics D of bounded slope                     (equations 2 and 3)

The maximum is the earth mover's distance W(P_x, P_G), times the bound.  Algorithm 1: k critic updates, each followed by
w <- clip(w, -c, c), then one update of G; RMSprop, since momentum makes the critic's training unstable (section 4).
As in the authors' code the critic has 100 updates in each of the first 25 steps and in every 500th, so that the
estimate that G follows, and the log shows, is near the maximum.
"""

from typing import Annotated, final

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn
from torch.optim import Optimizer, RMSprop

from ..data import Dataset
from ..errors import UserError
from ..model import STRICT, Fraction
from ..objectives import Loss
from ._gan import Adversarial, Positive


@final
@dataclass(frozen=True, kw_only=True, config=STRICT)
class WGAN(Adversarial):
    """The GAN whose critic estimates the earth mover's distance; its weights are clipped."""

    loss: Loss = "wasserstein"
    """what the two players descend"""
    n_critic: Annotated[int, Field(gt=0)] = 5
    """updates of the critic per update of G: the paper's n_critic"""
    initial_critic_steps: Annotated[int, Field(gt=0)] = 100
    """updates of the critic in each of the first 25 steps and in every 500th, if more than k"""
    weight_clip: Annotated[float, Field(gt=0)] | None = 0.01
    """bound on every weight of the critic, kept after each of its updates"""
    lr: Positive = 5e-5
    """RMSprop's learning rate"""
    lr_d: Positive | None = None
    """RMSprop's learning rate for the critic, the same unless given"""
    betas: tuple[Fraction, Fraction] = (0.0, 0.99)
    """RMSprop's decay rates: it has no momentum, so the first is 0"""

    def validate_data(self, data: Dataset) -> None:
        super().validate_data(data)
        if self.betas[0] != 0:
            raise UserError(f"betas={self.betas[0]:g},{self.betas[1]:g}: RMSprop has no momentum: give 0 first")

    def optimizer(self, *networks: nn.Module) -> Optimizer:
        """RMSprop, as in the paper: section 4."""
        return RMSprop(
            [p for network in networks for p in network.parameters()], lr=self.lr, alpha=self.betas[1], foreach=True
        )
