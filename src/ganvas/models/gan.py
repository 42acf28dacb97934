"""Generative adversarial network.  Goodfellow et al., Generative Adversarial Nets, arXiv:1406.2661.

    min_G max_D  E_x log s(D(x))  +  E_z log(1 - s(D(G(z)))),      s the logistic function: D returns logits

The step is algorithm 1: k updates of D, each on m fresh noise samples and m fresh examples, then one update of G on m
fresh noise samples.  With loss="minimax" G descends log(1 - s(D(G(z)))) as the game says; the default is section 3's
-log s(D(G(z))), which has the same fixed point and does not saturate.

The networks are multilayer perceptrons.  Those of the paper's MNIST experiment: --loss minimax --noise-distribution
uniform --latent 100 --width 1200 --activation-d maxout --width-d 240 --dropout 0.5 --input-dropout 0.2.
"""

from math import prod
from typing import ClassVar, Literal

from torch import nn

from ..fields import Fraction
from ..model import Batches, Moves, Shape
from ..nn import Depth, Width, decoder
from ..nn.mlp import Activation, AnyActivation, mlp
from ._gan import ConfigurableGAN, clip_weights
from ._gan_networks import finalize_network


class GAN(ConfigurableGAN):
    """A generator learns to fool a discriminator, which learns not to be fooled; both are MLPs."""

    ignored_options: ClassVar[tuple[str, ...]] = ("fine_convolutions",)
    net: Literal["mlp"] = "mlp"
    width: Width = None
    """units of a hidden layer (400)"""
    depth: Depth = 2
    """hidden layers of G, and of D unless depth_d is given"""
    width_d: Width = None
    """units of a hidden layer of D, as many as in G unless given"""
    depth_d: Depth | None = None
    """hidden layers of D"""
    activation: Activation = "relu"
    """activation of G's hidden layers"""
    activation_d: AnyActivation = "leaky-relu"
    """activation of D's hidden layers; maxout takes the largest of five linear functions"""
    dropout: Fraction = 0.0
    """dropout rate of D's hidden units"""
    input_dropout: Fraction = 0.0
    """dropout rate of D's inputs"""

    def build_networks(self, shape: Shape, shape_d: Shape, classes: int) -> tuple[nn.Module, nn.Module]:
        width, (norm, norm_d) = self.width or 400, self.norms(shape)
        G = decoder("mlp", self.latent, shape, width, self.depth, norm=norm, activation=self.activation)
        sizes = [prod(shape_d), *[self.width_d or width] * (self.depth_d or self.depth), 1]
        D = nn.Sequential(nn.Flatten(), *mlp(sizes, norm=norm_d, activation=self.activation_d, dropout=self.dropout))
        if self.input_dropout:
            D.insert(0, nn.Dropout(self.input_dropout))
        return finalize_network(G, shape), D

    def step(self, batches: Batches, global_step: int, G: nn.Module, D: nn.Module) -> Moves:
        """Algorithm 1 of arXiv:1406.2661, with the options' loss and penalties."""
        for _ in range(self.n_critic):  # for k steps do
            batch = next(batches)
            x, fake = self.real_and_fake(G, D, batch)  # m examples of the data, and m noise samples z, through G
            yield self.discriminator_move(D, x, fake, **self.penalties(global_step))  # D ascends its gradient
            clip_weights(D, self.weight_clip)
        fake = self.fake(G, D, len(batch.x))  # m fresh noise samples
        yield self.generator_move(G, D, x, fake, batch, global_step)  # G descends its gradient
