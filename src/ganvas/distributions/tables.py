"""p(x|z) of a table's rows: columns are independent given z.

    log p(x|z) = sum over columns of  log p(entry | z)  +  [an interval] log p(position | z)

An entry has a probability (softmax).  A position u in [0, 1] has the density of a logistic distribution that is cut off
at 0 and 1; its scale s is the column's own and learnt, its location m the decoder's:

    p(u) = f((u - m) / s) / (s (F((1 - m) / s) - F(-m / s))),      F the logistic function, f its derivative

With a large s that is uniform, as positions are over all rows; with a small one a value is known to a part of an
interval.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from ..table_shape import TableShape

LOG_SCALES = (-2.0, 3.0)
"""of positions: a finer one would let a few real columns take all of the code, since densities have no bound"""


class Columns(NamedTuple):
    """The distribution of n rows of this shape, by the decoder's outputs."""

    shape: TableShape
    y: Float[Tensor, "n d"]
    log_scale: Float[Tensor, " m"]

    @property
    def mean(self) -> Float[Tensor, "n d"]:
        """Probabilities of entries, and the most likely positions."""
        return self.shape.with_positions(self.shape.probabilities(self.y), self.location.clamp(0, 1))

    @property
    def location(self) -> Float[Tensor, "n m"]:
        """The locations of positions; an untrained decoder's are in the middle."""
        return self.shape.take_positions(self.y) + 0.5

    def nll(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "k b"]:
        log_p = self.shape.log_probabilities(self.y).unflatten(0, (-1, len(x)))
        u = self.shape.take_positions(x)
        entries = self.shape.with_positions(x, torch.zeros_like(u))
        location = self.location.unflatten(0, (-1, len(x)))
        density = truncated_logistic_log_density(u, location, self.log_scale)
        nll: Tensor = -(entries * log_p).sum(2) - (self.shape.interval_share(x) * density).sum(2)
        return nll

    def draw(self, noise: Float[Tensor, "n noise"]) -> Float[Tensor, "n d"]:
        """Rows from this distribution by uniform noise, `shape.noise_size` numbers each."""
        n = len(self.shape.blocks)
        x = self.shape.draw(self.mean, noise[:, :n])
        return self.shape.with_positions(x, draw_truncated_logistic(self.location, self.log_scale, noise[:, n:]))


def truncated_logistic_log_density(
    u: Float[Tensor, "*n m"], location: Float[Tensor, "*k m"], log_scale: Float[Tensor, " m"]
) -> Float[Tensor, "*k m"]:
    """The log density at u of logistic distributions that are cut off at 0 and 1, in nats."""
    scale = log_scale.exp()
    v, high, low = (u - location) / scale, (1 - location) / scale, -location / scale
    # log(F(high) - F(low)) = log F(high) + log F(-low) + log(1 - e^-(high - low)), for high - low = 1 / scale
    mass = logsigmoid(high) + logsigmoid(-low) + torch.log(-torch.expm1(-1 / scale))
    return v - 2 * softplus(v) - log_scale - mass


def draw_truncated_logistic(
    location: Float[Tensor, "n m"], log_scale: Float[Tensor, " m"], noise: Float[Tensor, "n m"]
) -> Float[Tensor, "n m"]:
    """Positions by uniform noise: the inverse of the distribution function."""
    scale = log_scale.double().exp()
    location = location.double()
    low, high = (-location / scale).sigmoid(), ((1 - location) / scale).sigmoid()
    return (location + scale * torch.logit(torch.lerp(low, high, noise.double()), 1e-12)).clamp(0, 1).float()


class ColumnsHead(nn.Module):
    """The last layer of a decoder of rows of a table."""

    n_outputs = 1
    """numbers that the decoder returns for each of x"""

    def __init__(self, shape: TableShape) -> None:
        super().__init__()
        self.shape: TableShape = shape
        self.log_scale: nn.Parameter = nn.Parameter(torch.zeros(len(shape.positions)))

    def forward(self, y: Float[Tensor, "n d"]) -> Columns:
        y = y.float() if y.itemsize < 4 else y
        return Columns(self.shape, y, self.log_scale.clamp(*LOG_SCALES))


class GumbelOutput(nn.Module):
    """The last layer of a generator of rows of a table: entries by Gumbel-softmax, which can be differentiated.

    In training an entry's logit has Gumbel noise and a temperature of 0.2; else the output has probabilities.
    Positions are sigmoids, and 0.5 as far as the entry is no interval.  Jang et al., arXiv:1611.01144; Xu et al.,
    arXiv:1907.00503, section 4.2.
    """

    def __init__(self, shape: TableShape, temperature: float = 0.2) -> None:
        super().__init__()
        self.shape: TableShape = shape
        self.temperature: float = temperature

    def forward(self, y: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        y = y.float() if y.itemsize < 4 else y
        logits = y
        if self.training:
            tiny = torch.finfo(y.dtype).tiny
            gumbel = -(-(torch.rand_like(y) + tiny).log() + tiny).log()
            logits = (y + gumbel) / self.temperature
        p = self.shape.probabilities(logits)
        u = 0.5 + self.shape.interval_share(p) * (self.shape.take_positions(y).sigmoid() - 0.5)
        return self.shape.with_positions(p, u)
