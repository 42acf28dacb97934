"""Generative adversarial network.  Goodfellow et al., Generative Adversarial Nets, arXiv:1406.2661.

    min_G max_D  E_x log s(D(x))  +  E_z log(1 - s(D(G(z)))),      s the logistic function: D returns logits

The step, algorithm 1, is in `_gan`: k updates of D, each on m fresh noise samples and m fresh examples, then one
update of G on m fresh noise samples.  With loss="minimax" G descends log(1 - s(D(G(z)))) as the game says; the default
is section 3's -log s(D(G(z))), which has the same fixed point and does not saturate.

The networks are multilayer perceptrons.  Those of the paper's MNIST experiment: --loss minimax --noise-distribution
uniform
--latent 100 --width 1200 --activation-d maxout --width-d 240 --dropout 0.5 --input-dropout 0.2.
"""

from typing import Annotated, Literal, final

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from ..model import STRICT, Fraction, Shape
from ..nn import Activation, Depth, Width
from ..nn.mlp import mlp_decoder, mlp_encoder
from ._gan import Adversarial, finalize_network


@final
@dataclass(frozen=True, kw_only=True, config=STRICT)
class GAN(Adversarial):
    """A generator learns to fool a discriminator, which learns not to be fooled; both are MLPs."""

    net: Literal["mlp"] = "mlp"
    """kind of networks: multilayer perceptrons; dcgan has convolutions"""
    width: Width = None
    """units of a hidden layer (400)"""
    depth: Depth = 2
    """hidden layers of G, and of D unless depth_d is given"""
    width_d: Width = None
    """units of a hidden layer of D, as many as in G unless given"""
    depth_d: Annotated[int, Field(gt=0, le=100)] | None = None
    """hidden layers of D"""
    activation: Activation = "relu"
    """of G's hidden layers"""
    activation_d: Activation | Literal["maxout"] = "leaky-relu"
    """of D's hidden layers; maxout takes the largest of five linear functions"""
    dropout: Fraction = 0.0
    """share of D's hidden units that are dropped"""
    input_dropout: Fraction = 0.0
    """share of D's inputs that are dropped"""

    def build_networks(self, shape: Shape, judged: Shape, classes: int) -> tuple[nn.Module, nn.Module]:
        width, (norm, norm_d) = self.width or 400, self.norms(shape)
        G = mlp_decoder(self.latent, shape, width, self.depth, norm=norm, activation=self.activation)
        D = mlp_encoder(
            judged, 1, self.width_d or width, self.depth_d or self.depth,
            norm=norm_d, activation=self.activation_d, dropout=self.dropout,
        )  # fmt: skip
        if self.input_dropout:
            D.insert(0, nn.Dropout(self.input_dropout))
        return finalize_network(G, shape), D
