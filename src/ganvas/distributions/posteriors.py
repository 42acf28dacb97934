"""Posteriors q(z|x), made from the raw outputs of an encoder: Gaussians N(mu, Sigma), and a flow.

All share one protocol; densities and divergences are in nats.  A standard deviation is a softplus with a floor, so that
neither its logarithm nor its inverse overflows.  The flow is the inverse autoregressive flow of Kingma et al., Improved
Variational Inference with IAF, arXiv:1606.04934:

    z_0 = mu + sigma * epsilon,      z_t = g_t * z_(t-1) + (1 - g_t) * m_t,      (m_t, s_t) = MADE_t(z_(t-1), h),

g_t = 1 / (1 + e^-s_t).  (m_t, s_t) at dimension j depend on the dimensions before j alone, so that the Jacobian is
triangular and log q(z|x) = log q(z_0|x) - sum_t sum_j log g_tj (section 4, algorithm 1).  The order of the
dimensions is reversed after each step.
"""

from collections.abc import Callable
from functools import partial
from math import log, pi
from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, logsigmoid, pad, softplus

from ..objectives.kl import kl_diagonal, kl_full, kl_low_rank

Family = Literal["diagonal", "full", "low-rank", "iaf"]
ACTIVE_THRESHOLD = 0.01
"""above which a latent dimension counts as used: variance of the posterior's mean (arXiv:1509.00519), or nats of KL"""
MIN_SCALE = 1e-4
"""smallest standard deviation, in units of the prior's"""
MAX_FACTOR = 10.0
"""largest entry of a low-rank factor, in units of the prior's standard deviation: no posterior needs to be as wide"""
UNIT_SCALE_BIAS = 0.5413248546129181
"""softplus(UNIT_SCALE_BIAS) = 1: an untrained head starts near the prior's own scale"""
GATE_BIAS = 1.5
"""added to s_t: an untrained step keeps four fifths of its input"""
LOG_2PI = log(2 * pi)


class PosteriorSamples(NamedTuple):
    """Samples of a posterior, and their log-density in terms that sum to it, one a dimension."""

    z: Float[Tensor, "k b d"]
    log_q: Float[Tensor, "k b d"]


@runtime_checkable
class Posterior(Protocol):
    """A distribution q(z|x) for each of b examples."""

    @property
    def mean(self) -> Float[Tensor, "b d"]:
        """The mean of q(z|x)."""

    def sample(self, k: int = 1) -> PosteriorSamples:
        """k reparameterised samples an example."""

    def log_prob(self, z: Float[Tensor, "k b d"]) -> Float[Tensor, "k b"]:
        """log q(z|x), in nats."""

    def kl(self, samples: PosteriorSamples) -> Float[Tensor, "b d"]:
        """KL(q || N(0, I)) in nats, in d terms that sum to it; exact, or estimated from the samples."""


def posterior_head(family: Family, d: int, rank: int, steps: int, width: int) -> tuple[int, nn.Module]:
    """How many numbers an encoder returns for d dimensions of z, and the head that makes a posterior of them.

    `rank` is that of low-rank's U; `steps` and `width` are the steps of iaf and the units of their hidden layers.
    """
    match family:
        case "diagonal":
            return 2 * d, PosteriorHead()
        case "full":
            return d + d * (d + 1) // 2, PosteriorHead(FullGaussian.from_raw)
        case "low-rank":
            return d * (2 + rank), PosteriorHead(partial(LowRankGaussian.from_raw, rank=rank))
        case "iaf":
            return 3 * d, PosteriorHead(IAF.from_raw, *(MADE(d, d, width) for _ in range(steps)))


class DiagonalGaussian(NamedTuple):
    """N(mu, diag(sigma^2)).  Kingma & Welling, arXiv:1312.6114, section 3."""

    mean: Float[Tensor, "b d"]
    scale: Float[Tensor, "b d"]

    @classmethod
    def from_raw(cls, raw: Float[Tensor, "b n"]) -> "DiagonalGaussian":
        """The posterior for the raw outputs of an encoder, n = 2 d."""
        mean, scale = raw.chunk(2, dim=1)
        return cls(mean, positive_scale(scale))

    def sample(self, k: int = 1) -> PosteriorSamples:
        """z = mu + sigma * epsilon: the reparameterised sample (section 2.4)."""
        epsilon = noise_like(self.mean, k)
        z = torch.addcmul(self.mean, self.scale, epsilon)
        return PosteriorSamples(z, normal_log_prob(epsilon) - self.scale.log())

    def log_prob(self, z: Float[Tensor, "k b d"]) -> Float[Tensor, "k b"]:
        return (normal_log_prob((z - self.mean) / self.scale) - self.scale.log()).sum(2)

    def kl(self, samples: PosteriorSamples) -> Float[Tensor, "b d"]:
        return kl_diagonal(self.mean, self.scale)


class PosteriorHead(nn.Module):
    """The last layer of an encoder: it computes in float32, and has no weights but those of a flow's `steps`."""

    def __init__(self, build: Callable[..., Posterior] = DiagonalGaussian.from_raw, *steps: nn.Module) -> None:
        super().__init__()
        self.build: Callable[..., Posterior] = build
        if steps:
            self.steps: nn.ModuleList = nn.ModuleList(steps)

    def forward(self, raw: Float[Tensor, "b n"]) -> Posterior:
        return self.build(raw.float() if raw.itemsize < 4 else raw, *self.children())


class FullGaussian(NamedTuple):
    """N(mu, L L^T), with L the Cholesky factor of the covariance."""

    mean: Float[Tensor, "b d"]
    scale_tril: Float[Tensor, "b d d"]

    @classmethod
    def from_raw(cls, raw: Float[Tensor, "b n"]) -> "FullGaussian":
        """The posterior for the raw outputs of an encoder, n = d + d (d + 1) / 2."""
        d = int(((9 + 8 * raw.shape[1]) ** 0.5 - 3) / 2 + 0.5)  # the root of n = d + d (d + 1) / 2
        mean, diagonal, lower = raw.split([d, d, d * (d - 1) // 2], dim=1)
        row, column = torch.tril_indices(d, d, -1, device=raw.device)
        # out of place: the factor is differentiated through both of its parts; / d: untrained, it is nearly diagonal
        index = (torch.arange(len(raw), device=raw.device)[:, None], row, column)
        return cls(mean, positive_scale(diagonal).diag_embed().index_put(index, lower / d))

    def sample(self, k: int = 1) -> PosteriorSamples:
        """z = mu + L epsilon."""
        epsilon = noise_like(self.mean, k)
        with disable_autocast(epsilon):
            z = self.mean + torch.einsum("bij,kbj->kbi", self.scale_tril, epsilon)
        return PosteriorSamples(z, normal_log_prob(epsilon) - self.log_diagonal())

    def log_prob(self, z: Float[Tensor, "k b d"]) -> Float[Tensor, "k b"]:
        offset = (z - self.mean).permute(1, 2, 0)
        epsilon = torch.linalg.solve_triangular(self.scale_tril, offset, upper=False).permute(2, 0, 1)
        return (normal_log_prob(epsilon) - self.log_diagonal()).sum(2)

    def kl(self, samples: PosteriorSamples) -> Float[Tensor, "b d"]:
        return kl_full(self.mean, self.scale_tril)

    def log_diagonal(self) -> Float[Tensor, "b d"]:
        """log L_jj, whose sum is half of log det Sigma."""
        return self.scale_tril.diagonal(dim1=1, dim2=2).log()


class LowRankGaussian(NamedTuple):
    """N(mu, diag(sigma^2) + U U^T): a covariance for latent spaces too large for a full one."""

    mean: Float[Tensor, "b d"]
    scale: Float[Tensor, "b d"]
    factor: Float[Tensor, "b d r"]

    @classmethod
    def from_raw(cls, raw: Float[Tensor, "b n"], rank: int) -> "LowRankGaussian":
        """The posterior for the raw outputs of an encoder, n = d (2 + rank)."""
        d = raw.shape[1] // (2 + rank)
        mean, scale, factor = raw.split([d, d, d * rank], dim=1)
        # the columns of U one by one, each laid out as mu is; / d^(1/2): an untrained posterior is nearly diagonal
        columns = (factor / d**0.5).clamp(-MAX_FACTOR, MAX_FACTOR).unflatten(1, (rank, d))
        return cls(mean, positive_scale(scale), columns.mT)

    def sample(self, k: int = 1) -> PosteriorSamples:
        """z = mu + sigma * epsilon + U eta, with epsilon in d and eta in r dimensions."""
        epsilon, eta = noise_like(self.mean, k), noise_like(self.factor[:, 0], k)
        with disable_autocast(epsilon):
            z = torch.addcmul(self.mean, self.scale, epsilon) + torch.einsum("bdr,kbr->kbd", self.factor, eta)
        return PosteriorSamples(z, self.log_prob_terms(z))

    def log_prob(self, z: Float[Tensor, "k b d"]) -> Float[Tensor, "k b"]:
        return self.log_prob_terms(z).sum(2)

    def log_prob_terms(self, z: Float[Tensor, "k b d"]) -> Float[Tensor, "k b d"]:
        """log q(z|x) in d terms.

        With w = (z - mu) / sigma and A = U / sigma, the squared Mahalanobis distance is the least value over eta of
        |w - A eta|^2 + |eta|^2, a least-squares problem.  Unlike Woodbury's difference of two numbers, this sum loses
        no digits where sigma is small.
        """
        a, q, r = self.qr_factors()
        with disable_autocast(z):
            w = (z - self.mean) / self.scale
            projected = torch.einsum("bdr,kbd->brk", q[:, : z.shape[2]], w)
            eta = torch.linalg.solve_triangular(r, projected, upper=True).permute(2, 0, 1)
            residual = w - torch.einsum("bdr,kbr->kbd", a, eta)
        shared_term = 0.5 * eta.square().sum(2) + log_abs_det(r)
        return torch.sub(normal_log_prob(residual) - self.scale.log(), shared_term[:, :, None] / z.shape[2])

    def qr_factors(self) -> tuple[Float[Tensor, "b d r"], Float[Tensor, "b d+r r"], Float[Tensor, "b r r"]]:
        """A = U / sigma, and the QR factors of A above I: R^T R = I + A^T A, with the determinant of I + A A^T."""
        a = self.factor / self.scale[:, :, None]
        identity = torch.eye(a.shape[2], dtype=a.dtype, device=a.device).expand(len(a), -1, -1)
        return a, *torch.linalg.qr(torch.cat([a, identity], 1))

    def kl(self, samples: PosteriorSamples) -> Float[Tensor, "b d"]:
        log_det = 2 * (self.scale.log().sum(1) + log_abs_det(self.qr_factors()[2]))
        return kl_low_rank(self.mean, self.scale, self.factor, log_det)


class MaskedLinear(nn.Linear):
    """A linear layer without the weights where its mask, at first all ones, is 0."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("mask", torch.ones(outputs, inputs), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    """Two hidden layers; output j depends on the inputs before j and on h (Germain et al., arXiv:1502.03509).

    `degrees` are how many inputs each hidden unit may see, 0 to d - 1: those of degree 0 see h alone, and without them
    the first output would see nothing.
    """

    optional_state: ClassVar[tuple[str, ...]] = ("degrees",)
    """what older weights files lack"""
    degrees: Tensor

    def __init__(self, d: int, context: int, width: int) -> None:
        super().__init__()
        self.register_buffer("degrees", torch.arange(width) % d)
        self.first: MaskedLinear = MaskedLinear(d, width)
        self.context: nn.Linear = nn.Linear(context, width, bias=False)
        self.second: MaskedLinear = MaskedLinear(width, width)
        self.last: MaskedLinear = MaskedLinear(width, 2 * d)
        self.set_masks()
        self.register_load_state_dict_pre_hook(lambda _, state, at, *__: state.setdefault(
            f"{at}degrees", torch.arange(width) % max(1, d - 1) + 1  # of weights that were written without them
        ))  # fmt: skip
        self.register_load_state_dict_post_hook(lambda module, _: module.set_masks())

    def set_masks(self) -> None:
        """Set the layers' masks, which follow from the degrees."""
        hidden, z = self.degrees, torch.arange(1, self.first.in_features + 1, device=self.degrees.device)
        degrees = (self.first, hidden, z), (self.second, hidden, hidden), (self.last, (z - 1).repeat(2), hidden)
        for layer, outputs, inputs in degrees:
            layer.mask.copy_(outputs[:, None] >= inputs)

    def forward(self, z: Float[Tensor, "*n d"], h: Float[Tensor, "*#n c"]) -> tuple[Tensor, Tensor]:
        hidden = (self.first(z) + self.context(h)).relu()
        m, s = self.last(self.second(hidden).relu()).chunk(2, dim=-1)
        return m, s + GATE_BIAS


class IAF(NamedTuple):
    """The posterior that the steps make of N(mu, diag(sigma^2))."""

    base_mean: Float[Tensor, "b d"]
    base_scale: Float[Tensor, "b d"]
    context: Float[Tensor, "b c"]
    steps: nn.ModuleList

    @classmethod
    def from_raw(cls, raw: Float[Tensor, "b n"], steps: nn.ModuleList) -> "IAF":
        """The posterior for the raw outputs of an encoder, n = 3 d: h has as many numbers as z."""
        mean, scale, context = raw.chunk(3, dim=1)
        return cls(mean, positive_scale(scale), context, steps)

    @property
    def mean(self) -> Float[Tensor, "b d"]:
        """Where the flow takes mu: a flow has no mean in closed form."""
        with disable_autocast(self.base_mean):
            return self.transform(self.base_mean[None])[0][0]

    def sample(self, k: int = 1) -> PosteriorSamples:
        """Algorithm 1."""
        epsilon = noise_like(self.base_mean, k)
        with disable_autocast(epsilon):
            z, log_det = self.transform(torch.addcmul(self.base_mean, self.base_scale, epsilon))
        base = normal_log_prob(epsilon) - self.base_scale.log()
        return PosteriorSamples(z, (base.flip(2) if len(self.steps) % 2 else base) - log_det)

    def transform(self, z: Float[Tensor, "k b d"]) -> tuple[Float[Tensor, "k b d"], Float[Tensor, "k b d"]]:
        """z_T, and the logarithms of all gates in the dimensions where they end."""
        log_det = torch.zeros_like(z)
        for step in self.steps:
            m, s = step(z, self.context)
            gate = s.sigmoid()
            z = (gate * z + (1 - gate) * m).flip(2)
            log_det = (log_det + logsigmoid(s)).flip(2)
        return z, log_det

    def log_prob(self, z: Float[Tensor, "k b d"]) -> Float[Tensor, "k b"]:
        """log q(z|x) of any z: each step is inverted dimension by dimension, in d passes."""
        d, log_det = z.shape[2], z.new_zeros(z.shape[:2])
        with disable_autocast(z):
            for step in reversed(self.steps):
                output, z = z.flip(2), torch.zeros_like(z)
                for j in range(d):
                    m, s = step(z, self.context)
                    gate = s[..., j].sigmoid()
                    z_j = (output[..., j] - (1 - gate) * m[..., j]) / gate
                    z = z + pad(z_j[..., None], (j, d - 1 - j))
                log_det = log_det + logsigmoid(step(z, self.context)[1]).sum(2)
            base = normal_log_prob((z - self.base_mean) / self.base_scale) - self.base_scale.log()
        return base.sum(2) - log_det

    def kl(self, samples: PosteriorSamples) -> Float[Tensor, "b d"]:
        """The mean over the samples of log q(z|x) - log p(z), an unbiased estimate."""
        return (samples.log_q - normal_log_prob(samples.z)).mean(0)


def positive_scale(raw: Tensor) -> Tensor:
    """The standard deviation for a raw output: 1 for 0."""
    return softplus(raw + UNIT_SCALE_BIAS) + MIN_SCALE


def log_abs_det(r: Float[Tensor, "b r r"]) -> Float[Tensor, " b"]:
    """log |det R| of a triangular matrix."""
    return r.diagonal(dim1=1, dim2=2).abs().log().sum(1)


def disable_autocast(t: Tensor) -> torch.autocast:
    """A context without autocast: matrix products in it keep the precision of their factors."""
    return torch.autocast(t.device.type, enabled=False)


def noise_like(mean: Float[Tensor, "b d"], k: int) -> Float[Tensor, "k b d"]:
    """Standard normal noise, k times."""
    return torch.randn(k, *mean.shape, dtype=mean.dtype, device=mean.device)


def normal_log_prob(z: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """log N(z_j; 0, 1), in nats."""
    return -0.5 * (z.square() + LOG_2PI)


def detach(q: Posterior) -> Posterior:
    """The same Gaussian, whose parameters pass no gradient on; a flow has weights besides, so there is none of it."""
    assert isinstance(q, DiagonalGaussian | FullGaussian | LowRankGaussian)
    return type(q)(*(t.detach() for t in q))
