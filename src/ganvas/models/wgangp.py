"""Wasserstein GAN with gradient penalty.  Gulrajani et al., Improved Training of Wasserstein GANs, arXiv:1704.00028.

    min_G max_D  E_x D(x)  -  E_z D(G(z))  -  gp E_u ( |grad D(u)| - 1 )^2                              (equation 3)

u lies uniformly on the segment between a real and a fake example, its own in every pair.  Algorithm 1, with its
n_critic = 5, gp = 10 and Adam with 1e-4, beta_1 = 0 and beta_2 = 0.9.  The critic has no batch norm, under which its
gradient at an example would mean nothing, but layer norm (section 4, "no critic batch normalization").
"""

from typing import Annotated, final

from pydantic import Field
from pydantic.dataclasses import dataclass

from ..model import STRICT, Fraction
from ..objectives import Loss
from ._gan import Adversarial, Positive, Weight


@final
@dataclass(frozen=True, kw_only=True, config=STRICT)
class WGANGP(Adversarial):
    """The GAN whose critic estimates the earth mover's distance; its gradient is drawn to norm 1."""

    loss: Loss = "wasserstein"
    """what the two players descend"""
    n_critic: Annotated[int, Field(gt=0)] = 5
    """updates of the critic per update of G: the paper's n_critic"""
    gp: Weight = 10.0
    """weight of the gradient penalty, which draws the norm of the critic's gradient to 1"""
    lr: Positive = 1e-4
    """Adam's learning rate"""
    betas: tuple[Fraction, Fraction] = (0.0, 0.9)
    """Adam's decay rates"""
