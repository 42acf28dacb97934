"""Ladder variational autoencoder.  Sonderby et al., Ladder Variational Autoencoders, arXiv:1602.02282.

    p(x, z)  =  p(x|z_1) p(z_1|z_2) ... p(z_L),       p(z_l|z_(l+1)) = N(mu_p, sigma_p^2),    p(z_L) = N(0, I)
    q(z|x)   =  q(z_L|x) q(z_(L-1)|z_L, x) ... q(z_1|z_2, x)

A deterministic pass upwards, d_0 = x, d_l = MLP(d_(l-1)), finds a Gaussian N(mu^_l, sigma^_l^2) of each level: what x
says of z_l.  The pass downwards is that of the generative model itself.  On its way the posterior of each level is the
product of the two Gaussians, their combination weighed by precision (section 2.2 of the paper):

    q(z_l|z_(l+1), x) = N(mu_q, sigma_q^2),     sigma_q^-2 = sigma^_l^-2 + sigma_p^-2
                                                mu_q = sigma_q^2 (mu^_l sigma^_l^-2 + mu_p sigma_p^-2)

and at the top q(z_L|x) = N(mu^_L, sigma^_L^2), so that one level alone is an ordinary VAE with a diagonal posterior.
The objective is minus the ELBO,

    min_{q, p}  E_x E_{z ~ q(z|x)} [ -log p(x|z_1)  +  sum_l KL( q(z_l|z_(l+1), x) || p(z_l|z_(l+1)) ) ]

with z_(L+1) empty and each KL in closed form.  Its weight may rise from 0 to 1 (warm-up, section 2.3), and each
dimension may have free bits, sum_j max(free_bits, E_x KL_j)  (Kingma et al., arXiv:1606.04934, equation 15).  Unlike
the paper's, the networks have no batch normalisation.

A code is the noise of all levels, epsilon_l = (z_l - mu_p) / sigma_p, side by side from z_1 to z_L: in it the prior is
N(0, I) whatever the levels say, and the KL and what a posterior's mean varies by are in units of each level's prior.
"""

from collections.abc import Callable, Iterator
from itertools import chain, pairwise
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from ..config import TrainConfig
from ..distributions.likelihoods import Likelihood, begin_transparent
from ..distributions.posteriors import DiagonalGaussian, PosteriorHead, noise_like, normal_log_prob
from ..fields import Size, Steps, Weight, split_commas
from ..model import Batch, Batches, Moves, Shape, minimize
from ..nn import Depth, Width, decoder, encoder, resolve_architecture
from ..objectives.kl import kl_between_diagonals
from ..rules import Rule
from ._latent import Codes, Examples, normal
from ._latent_diagnosis import level_rules
from ._own import copy_own_network
from ._variational import Decoder, ElboTerms, LatentStatistics, LikelihoodModel, LogProbs
from .vae import as_scalar, free_bits_kl, warmup_factor

Encoder = Callable[..., DiagonalGaussian]


class Level(NamedTuple):
    """One level of a pass downwards: p(z_l|z_(l+1)); q(z_l|z_(l+1), x), p without x; z_l = mu_q + sigma_q epsilon."""

    p: DiagonalGaussian
    q: DiagonalGaussian
    epsilon: Codes
    z: Codes

    @property
    def code(self) -> Codes:
        """The noise from which p alone makes the same z_l."""
        return (self.z - self.p.mean) / self.p.scale

    @property
    def kl(self) -> Codes:
        """KL(q(z_l|z_(l+1), x) || p(z_l|z_(l+1))) a dimension, in nats."""
        return kl_between_diagonals(*self.q, *self.p)

    @property
    def log_ratio(self) -> Codes:
        """log p(z_l|z_(l+1)) - log q(z_l|z_(l+1), x) a dimension, in nats."""
        log_p = normal_log_prob(self.code) - self.p.scale.log()
        return log_p - (normal_log_prob(self.epsilon) - self.q.scale.log())


def combine(hat: DiagonalGaussian, p: DiagonalGaussian) -> DiagonalGaussian:
    """The normalised product of two Gaussians, b x d each: precisions add up, means are weighed by them.

    Section 2.2 of the paper, in a form in which no precision, the inverse of a small square, is computed.
    """
    norm = torch.hypot(hat.scale, p.scale)
    weight = p.scale / norm
    return DiagonalGaussian(torch.lerp(p.mean, hat.mean, weight.square()), hat.scale * weight)


class BottomUp(nn.Module):
    """The pass upwards: N(mu^_l, sigma^_l^2) of all levels, side by side, in float32 whatever the networks' precision.

    Each of `nets` ends in the linear layer of its level's Gaussian; the next goes on from what comes before that layer.
    """

    def __init__(self, nets: list[nn.Sequential]) -> None:
        super().__init__()
        self.hidden: nn.ModuleList = nn.ModuleList(net[:-1] for net in nets)
        self.heads: nn.ModuleList = nn.ModuleList(nn.Sequential(net[-1], PosteriorHead()) for net in nets)

    def forward(self, x: Float[Tensor, "b *shape"]) -> DiagonalGaussian:
        gaussians: list[DiagonalGaussian] = []
        for hidden, head in zip(self.hidden, self.heads, strict=True):
            x = hidden(x)
            gaussians.append(head(x))
        return DiagonalGaussian(*(torch.cat(parts, 1) for parts in zip(*gaussians, strict=True)))


class TopDown(nn.Module):
    """The generative model: `priors` return p(z_l|z_(l+1)) for l = 1 ... L - 1, `last` returns p(x|z_1)."""

    def __init__(self, levels: tuple[int, ...], priors: list[nn.Sequential], last: nn.Sequential) -> None:
        super().__init__()
        self.levels: tuple[int, ...] = levels
        self.priors: nn.ModuleList = nn.ModuleList(priors)
        self.last: nn.Sequential = last

    def forward(self, epsilon: Codes) -> Likelihood:
        """p(x|z_1) for the z_1 that ancestral sampling makes of noise."""
        p: Likelihood = self.last(self.descend(epsilon)[0].z)
        return p

    def descend(self, epsilon: Codes, hat: DiagonalGaussian | None = None) -> list[Level]:
        """All levels, z_1 first, from noise: of the prior or, with the pass upwards, of the posterior."""
        noise = epsilon.split(self.levels, 1)
        hats = [DiagonalGaussian(*g) for g in zip(*(t.split(self.levels, 1) for t in hat), strict=True)] if hat else []
        top = len(self.levels) - 1
        levels: list[Level] = []
        for level in range(top, -1, -1):
            epsilon_l = noise[level]
            standard = DiagonalGaussian(torch.zeros_like(epsilon_l), torch.ones_like(epsilon_l))
            p = standard if level == top else self.priors[level](levels[-1].z)
            q = p if not hats else hats[level] if level == top else combine(hats[level], p)
            levels.append(Level(p, q, epsilon_l, torch.addcmul(q.mean, q.scale, epsilon_l)))
        return levels[::-1]


class LadderVAE(LikelihoodModel):
    """A VAE with a hierarchy of latent vectors, whose inference goes down the same ladder as its generation."""

    takes_step_tensor: ClassVar[bool] = True

    latents: Annotated[tuple[Size, ...], BeforeValidator(split_commas), Field(min_length=1, max_length=64)] = (32, 16)
    """dimensions of each latent vector: z_1, which the decoder sees, first"""
    net: Literal["auto", "conv", "resize", "residual", "mlp"] = "auto"
    """kind of network between x and z_1; auto is mlp for vectors, else conv; all others are MLPs"""
    width: Width = None
    """channels of the first convolution (32), of which MLPs have 8 times as many units; or units of an MLP (400)"""
    depth: Depth = 1
    """hidden layers of each MLP"""
    warmup: Steps = 0
    """steps over which the weight of the KL rises from 0 to 1"""
    free_bits: Weight = 0.0
    """KL per latent dimension that is not penalised, in nats"""

    def rules(self, config: TrainConfig) -> Iterator[Rule]:
        return chain(super().rules(config), level_rules(self, config))

    def networks(self, shape: Shape, classes: int = 0) -> dict[str, nn.Module]:
        """The passes upwards and downwards.

        An encoder of the user's own returns b x 2 sum(latents) raw numbers, means of all levels, then deviations; a
        decoder makes of z_1, b x latents[0], what one of `Variational` makes of z.
        """
        sizes, d = (self.width, self.depth), self.latents
        units = self.width or 400 if resolve_architecture(self.net, shape) == "mlp" else 8 * (self.width or 32)

        def mlp(inputs: int, level: int) -> nn.Sequential:
            return encoder("mlp", (inputs,), 2 * level, units, self.depth, activation=self.activation)

        up = [encoder(self.net, shape, 2 * d[0], *sizes, activation=self.activation)]
        for level in d[1:]:
            last_layer = up[-1][-1]
            assert isinstance(last_layer, nn.Linear)
            up.append(mlp(last_layer.in_features, level))
        priors = [mlp(above, level).append(PosteriorHead()) for level, above in pairwise(d)]
        head = self.likelihood_head(shape, self.sigma)
        mean_shape = (shape[0] * head.n_outputs, *shape[1:])
        last = decoder(self.net, d[0], mean_shape, *sizes, activation=self.activation)
        last = begin_transparent(last, shape, self.likelihood)
        up_net: nn.Module = BottomUp(up)
        if "encoder" in self.own_networks:
            why = "means, then deviations, of all levels"
            up_net = copy_own_network(self, "encoder", shape, (2 * sum(d),), why).append(PosteriorHead())
        if "decoder" in self.own_networks:
            last = copy_own_network(self, "decoder", d[:1], mean_shape, f"for {self.likelihood}")
        return {"encoder": up_net, "decoder": TopDown(d, priors, last.append(head))}

    def step(self, batches: Batches, global_step: int | Tensor, encoder: nn.Module, decoder: TopDown) -> Moves:
        nll, kl = next(self.elbo_draws(self.training_batch(batches), encoder, decoder))
        weight = as_scalar(warmup_factor(global_step, self.warmup), kl)
        yield minimize(encoder, decoder, reconstruction=nll.mean(), kl=weight * free_bits_kl(kl, self.free_bits))

    def elbo_draws(self, batch: Batch, encoder: Encoder, decoder: TopDown, **_: Any) -> Iterator[ElboTerms]:
        x = self.binarize_batch(batch.x)
        hat = encoder(x)
        while True:
            levels = decoder.descend(torch.randn_like(hat.mean), hat)
            yield decoder.last(levels[0].z).nll(x)[0], torch.cat([level.kl for level in levels], 1)
            x = self.binarize_batch(x)  # bits stay; the random numbers are drawn as always

    def log_weights(self, x: Examples, k: int, *labels: Any, encoder: Encoder, decoder: TopDown) -> LogProbs:
        hat = encoder(x)
        repeated = DiagonalGaussian(*(t.repeat(k, 1) for t in hat))
        levels = decoder.descend(noise_like(hat.mean, k).flatten(0, 1), repeated)
        log_ratio = torch.cat([level.log_ratio for level in levels], 1).sum(1)
        p: Likelihood = decoder.last(levels[0].z)
        return log_ratio.view(k, -1) - p.nll(x)

    def encode(self, x: Examples, *labels: Any, encoder: Encoder, decoder: TopDown, **_: Any) -> Codes:
        """The noise, (z_l - mu_p) / sigma_p of all levels, of the posterior's means, each given the means above it.

        `generate` goes down the same way, so it makes of this code the reconstruction from these means.
        """
        hat = encoder(x)
        return torch.cat([level.code for level in decoder.descend(torch.zeros_like(hat.mean), hat)], 1)

    def sample_posterior(self, x: Examples, *labels: Any, encoder: Encoder, decoder: TopDown, **_: Any) -> Codes:
        """The noise, as `encode` gives it, that leads to one sample z ~ q(z|x) an example."""
        hat = encoder(x)
        return torch.cat([level.code for level in decoder.descend(torch.randn_like(hat.mean), hat)], 1)

    def sample_prior(self, n: int, shape: Shape, generator: torch.Generator, **_: Any) -> Codes:
        """Standard normal noise of all levels."""
        return normal(n, sum(self.latents), generator)

    def generate(self, z: Codes, *labels: Any, decoder: Decoder, **_: Any) -> Examples:
        """E[x|z_1], by ancestral sampling of z_L ... z_1 from their noise."""
        return decoder(z).mean

    def latent_statistics(self, batch: Batch, encoder: Encoder, decoder: TopDown, **_: Any) -> LatentStatistics:
        """The codes of all levels, and not z_l: where a level has collapsed, the mean of its code alone is still."""
        hat = encoder(self.binarize_batch(batch.x))
        levels = decoder.descend(torch.randn_like(hat.mean), hat)
        means = [level.code for level in decoder.descend(torch.zeros_like(hat.mean), hat)]
        kl, codes = zip(*((level.kl, level.code) for level in levels), strict=True)
        return torch.cat(means, 1), torch.cat(kl, 1), torch.cat(codes, 1)
