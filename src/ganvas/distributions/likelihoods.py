"""Likelihoods p(x|z): the last layer of a decoder is a head, which turns its outputs into a distribution of x.

Every distribution gives `nll(x)`, the reconstruction loss L(x, g(z)), in nats, and `mean`, the picture to look at.  A
head computes in float32 whatever the precision of the network.
"""

from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from ..data import Dataset
from ..data.dataset import chunks
from ..data.scaling import premultiply
from ..errors import UserError
from ..model import Shape
from ..objectives import reconstruction
from ..ranks import mean_over_ranks

LikelihoodName = Literal["gaussian", "bernoulli", "continuous-bernoulli", "discretized-logistic", "squared-error"]
Sigma = float | Literal["learned", "optimal"]
UNBOUNDED_LIKELIHOODS: tuple[LikelihoodName, ...] = ("gaussian", "squared-error")
"""likelihoods of numbers in any units"""


@runtime_checkable
class Likelihood(Protocol):
    """p(x|z) for n = k b codes, k for each of b examples: the first sample of all b, then the second."""

    @property
    def mean(self) -> Float[Tensor, "n *shape"]:
        """E[x|z], in the data's own units."""

    def nll(self, x: Float[Tensor, "b *shape"]) -> Float[Tensor, "k b"]:
        """-log p(x|z), in nats, summed over dimensions."""


def align(x: Float[Tensor, "b *shape"], y: Float[Tensor, "n *shape"]) -> tuple[Tensor, Tensor]:
    """Examples as b x D and outputs as k x b x D."""
    return x.flatten(1), y.flatten(1).unflatten(0, (-1, len(x)))


class Bernoulli(NamedTuple):
    """Independent bits."""

    logits: Float[Tensor, "n *shape"]

    @property
    def mean(self) -> Float[Tensor, "n *shape"]:
        return self.logits.sigmoid()

    def nll(self, x: Float[Tensor, "b *shape"]) -> Float[Tensor, "k b"]:
        return reconstruction.bernoulli_nll(*align(x, self.logits))


class ContinuousBernoulli(NamedTuple):
    """Independent numbers in [0, 1] (arXiv:1907.06845)."""

    logits: Float[Tensor, "n *shape"]

    @property
    def mean(self) -> Float[Tensor, "n *shape"]:
        """1 / (1 - e^-l) - 1 / l, about 1/2 + l / 12 near l = 0."""
        near_zero = self.logits.abs() < 0.03
        safe_logits = torch.where(near_zero, 1.0, self.logits)
        return torch.where(near_zero, 0.5 + self.logits / 12, 1 / -torch.expm1(-safe_logits) - 1 / safe_logits)

    def nll(self, x: Float[Tensor, "b *shape"]) -> Float[Tensor, "k b"]:
        return reconstruction.continuous_bernoulli_nll(*align(x, self.logits))


class DiscretizedLogistic(NamedTuple):
    """Independent levels of pixels: exact probabilities of bytes, comparable in bits per dimension."""

    location: Float[Tensor, "n *shape"]
    log_scale: Float[Tensor, "n *shape"]

    @property
    def mean(self) -> Float[Tensor, "n *shape"]:
        """That of the levels, 0 to 1, to within a tenth of one: the tails beyond 0 and 255 lie on these two.

        sum_j (1 - F((j - 1/2) / 255)) / 255 over the levels j, F the logistic function with this location and scale s,
        as the integral s (softplus(location / s) - softplus((location - 1) / s)).
        """
        scale = self.log_scale.exp()
        above, below = self.location / scale, (self.location - 1) / scale
        return (scale * (softplus(above) - softplus(below))).clamp(0, 1)

    def nll(self, x: Float[Tensor, "b *shape"]) -> Float[Tensor, "k b"]:
        return reconstruction.discretized_logistic_nll(*align(x, self.location), align(x, self.log_scale)[1])


class Gaussian(NamedTuple):
    """N(mean, sigma^2 I), one sigma for all dimensions."""

    mean: Float[Tensor, "n *shape"]
    sigma: float | Float[Tensor, ""]

    def nll(self, x: Float[Tensor, "b *shape"]) -> Float[Tensor, "k b"]:
        return reconstruction.gaussian_nll(*align(x, self.mean), self.sigma)


class OptimalGaussian(NamedTuple):
    """N(mean, sigma^2 I) in training, sigma^2 the batch's mean square error, whose running mean the head keeps.

    Rybkin et al., Simple and Effective VAE Training with Calibrated Decoders, arXiv:2006.13202.
    """

    mean: Float[Tensor, "n *shape"]
    running_variance: Float[Tensor, ""]

    def nll(self, x: Float[Tensor, "b *shape"]) -> Float[Tensor, "k b"]:
        flat, mean = align(x, self.mean)
        variance = mean_over_ranks((flat - mean).square().mean()).clamp_min(1e-8)
        with torch.no_grad():
            self.running_variance.mul_(0.95).add_(variance.to(self.running_variance.dtype), alpha=0.05)
        return reconstruction.gaussian_nll(flat, mean, variance.sqrt())


class SquaredError(NamedTuple):
    """|x - g(z)|^2 as it stands: -log N(x; g(z), I / 2) but for D/2 log pi, so a loss, and no log-likelihood."""

    mean: Float[Tensor, "n *shape"]

    def nll(self, x: Float[Tensor, "b *shape"]) -> Float[Tensor, "k b"]:
        return reconstruction.squared_error(*align(x, self.mean))


class LikelihoodHead(nn.Module):
    """The last layer of a decoder, for pixels in [0, 1] if the data are bounded; `sigma` is the gaussian's."""

    variance: Tensor
    log_sigma: nn.Parameter

    def __init__(self, name: LikelihoodName, is_bounded: bool = True, sigma: Sigma | None = None) -> None:
        super().__init__()
        self.name: LikelihoodName = name
        self.is_bounded: bool = is_bounded
        self.sigma: Sigma = sigma or 0.4
        self.n_outputs: int = 2 if name == "discretized-logistic" else 1
        """numbers that the decoder returns for each of x"""
        if name == "gaussian" and sigma == "learned":
            self.log_sigma = nn.Parameter(torch.tensor(-1.0))
        elif name == "gaussian" and sigma == "optimal":
            self.register_buffer("variance", torch.tensor(1.0))

    def forward(self, y: Float[Tensor, "n *shape"]) -> Likelihood:
        y = y.float() if y.itemsize < 4 else y
        match self.name:
            case "bernoulli":
                return Bernoulli(y)
            case "continuous-bernoulli":
                return ContinuousBernoulli(y)
            case "discretized-logistic":  # an untrained decoder is in the middle of the levels, with a scale of 0.1
                location, log_scale = y.chunk(2, dim=1)
                return DiscretizedLogistic(location + 0.5, (log_scale - 2.3).clamp(-7, 7))
        mean = y.sigmoid() if self.is_bounded else y
        if self.name == "squared-error":  # a loss to descend; what is measured is the Gaussian that it belongs to
            return SquaredError(mean) if self.training else Gaussian(mean, 0.5**0.5)
        if self.sigma == "learned":
            return Gaussian(mean, self.log_sigma.clamp(-9, 9).exp())
        if self.sigma == "optimal":
            return OptimalGaussian(mean, self.variance) if self.training else Gaussian(mean, self.variance.sqrt())
        return Gaussian(mean, float(self.sigma))


def begin_transparent(net: nn.Sequential, shape: Shape, name: LikelihoodName = "gaussian") -> nn.Sequential:
    """The decoder; for images with alpha and a squared error, its last bias makes all pixels begin at 0.1, not 0.5.

    Most numbers of sprites and icons are 0.  From 0.5 the first steps of Adam take all outputs to where the sigmoid is
    flat: samples are then empty for hundreds of steps, whatever sigma, beta or the learning rate's warm-up.
    """
    if len(shape) == 3 and shape[0] == 4 and name in UNBOUNDED_LIKELIHOODS:
        *_, bias = net.parameters()
        nn.init.constant_(bias, -2.2)
    return net


def validate_data_range(name: LikelihoodName, data: Dataset, is_binarized: bool) -> None:
    """UserError, with what to do, where the range of the data does not fit the likelihood."""
    if data.is_deep:
        if name in ("bernoulli", "discretized-logistic") or is_binarized:
            what = f"{data.name} has numbers of {data.source_dtype}, which are neither bits nor 256 levels"
            raise UserError(f"{what}: use likelihood=gaussian, or round them by bits=8")
        return
    low, high, max_value = data.x.min().item(), data.x.max().item(), 255 if data.has_images else 1
    data_range = f"{data.name} has {low:g} to {high:g}"
    if name == "discretized-logistic" and not data.has_images:
        raise UserError(f"likelihood={name} is for pixels with 256 levels, but {data.name} holds vectors: use gaussian")
    if name in ("bernoulli", "continuous-bernoulli") and not 0 <= low <= high <= max_value:
        raise UserError(f"likelihood={name} needs numbers from 0 to 1, but {data_range}: use gaussian, or scale them")
    if is_binarized and name != "bernoulli":
        raise UserError(f"binarize makes bits, which likelihood={name} does not describe: use likelihood=bernoulli")
    white = 255 if data.x.dtype == torch.uint8 else 1
    bits = (((x == 0) | (x == white)).all() for x in map(premultiply, chunks(data.x)))
    if name == "bernoulli" and not is_binarized and not all(bits):
        raise UserError(
            f"likelihood=bernoulli describes bits, but {data.name} has values between black and white: "
            "add binarize=dynamic (or static), or use continuous-bernoulli or gaussian"
        )
