"""Inverse autoregressive flow.  Kingma et al., Improved Variational Inference with IAF, arXiv:1606.04934.

    z_0 = mu + sigma * epsilon,      z_t = g_t * z_(t-1) + (1 - g_t) * m_t,      (m_t, s_t) = MADE_t(z_(t-1), h),

g_t = 1 / (1 + e^-s_t).  (m_t, s_t) at dimension j depend on the dimensions before j alone, so that the Jacobian is
triangular and log q(z|x) = log q(z_0|x) - sum_t sum_j log g_tj (section 4, algorithm 1).  The order of the
dimensions is reversed after each step.
"""

from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, logsigmoid, pad

from ..objectives.precision import at_least_float32
from .posteriors import PosteriorSamples, disable_autocast, noise_like, normal_log_prob, positive_scale

GATE_BIAS = 1.5
"""added to s_t: an untrained step keeps four fifths of its input"""


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
        self.register_load_state_dict_pre_hook(add_missing_degrees)
        self.register_load_state_dict_post_hook(lambda module, _: module.set_masks())

    def set_masks(self) -> None:
        """Set the layers' masks, which follow from the degrees."""
        hidden, z = self.degrees, torch.arange(1, self.first.in_features + 1, device=self.degrees.device)
        degrees = (self.first, hidden, z), (self.second, hidden, hidden), (self.last, (z - 1).repeat(2), hidden)
        for layer, outputs, inputs in degrees:
            layer.mask.copy_(outputs[:, None] >= inputs)

    def forward(self, z: Float[Tensor, "*n d"], h: Float[Tensor, "*#n c"]) -> tuple[Tensor, Tensor]:
        """m and s."""
        hidden = (self.first(z) + self.context(h)).relu()
        m, s = self.last(self.second(hidden).relu()).chunk(2, dim=-1)
        return m, s + GATE_BIAS


def add_missing_degrees(module: MADE, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Give weights that were written without degrees those that they were trained with, 1 to d - 1."""
    state.setdefault(f"{prefix}degrees", torch.arange(len(module.degrees)) % max(1, module.first.in_features - 1) + 1)


class IAF(NamedTuple):
    """The posterior that the steps make of N(mu, diag(sigma^2))."""

    base_mean: Float[Tensor, "b d"]
    base_scale: Float[Tensor, "b d"]
    context: Float[Tensor, "b c"]
    steps: nn.ModuleList

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
        """All steps: z_T, and the logarithms of the gates in the dimensions where they end."""
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
        """The mean over the samples of log q(z|x) - log p(z), an unbiased estimate of KL(q || N(0, I))."""
        return (samples.log_q - normal_log_prob(samples.z)).mean(0)


class IAFHead(nn.Module):
    """The last layer of an encoder whose posterior is a flow of `steps` steps; h has as many numbers as z."""

    def __init__(self, d: int, steps: int, width: int) -> None:
        super().__init__()
        self.steps: nn.ModuleList = nn.ModuleList(MADE(d, d, width) for _ in range(steps))

    def forward(self, raw: Float[Tensor, "b n"]) -> IAF:
        mean, scale, context = at_least_float32(raw).chunk(3, dim=1)
        return IAF(mean, positive_scale(scale), context, self.steps)
