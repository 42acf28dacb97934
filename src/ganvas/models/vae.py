"""Variational autoencoder.  Kingma & Welling, Auto-Encoding Variational Bayes, arXiv:1312.6114.

    min_{q, p}  E_x [ E_{z ~ q(z|x)} L(x, g(z))  +  beta KL( q(z|x) || p(z) ) ],      q(z|x) = N(mu(x), Sigma(x))

The encoder returns the mean mu and the covariance Sigma.  L(x, g(z)) = -log p(x|z), in nats.  With beta = 1 the
objective is minus the evidence lower bound (ELBO); beta, lambda in some texts, is that of the beta-VAE (Higgins et
al., ICLR 2017).  See `distributions/posteriors.py` for Sigma, `objectives/kl.py` for the KL, and
`objectives/reconstruction.py` for L.  What keeps the KL from switching latent dimensions off, or holds it at a value:

    warm-up    beta rises from 0 to its value, once (Bowman et al., arXiv:1511.06349) or in cycles (Fu et al.,
               arXiv:1903.10145)
    free bits  sum_j max(free_bits, E_x KL_j)  (Kingma et al., arXiv:1606.04934, equation 15)
    capacity   beta |KL - C|  (Burgess et al., arXiv:1804.03599, equation 8)
    geco       KL + lambda (|x - g(z)|^2 - D geco^2) / geco^2, with lambda > 0 the multiplier of the constraint that
               the error of a number is geco on average  (Rezende & Viola, arXiv:1810.00597, algorithm 1)
"""

from collections.abc import Mapping, Set
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..data import Data, Dataset
from ..data.tables.table import Table
from ..distributions.likelihoods import Likelihood, align
from ..errors import UserError
from ..fields import Positive, Size, Steps, Weight
from ..model import Batches, Moves, Shape, minimize
from ..objectives.reconstruction import squared_error
from ..ranks import mean_over_ranks
from ._defaults import FEW_EXAMPLES, fit_schedule
from ._variational import Variational, max_prior_dimensions

IMAGE_DEFAULTS: dict[str, Any] = {
    "net": "resize", "sigma": "optimal", "latent": 64, "augment": ("shift",), "batch_size": 32, "steps": 10000,
    "ema_decay": 0.998, "lr_decay": 0.5,
}  # fmt: skip
"""for images: a decoder that draws no checkerboard, and the variance that the errors have (arXiv:2006.13202), so that
the KL counts little and samples are sharp, which they are with the prior that a run then fits to its codes"""
TABLE_DEFAULTS: dict[str, Any] = {
    "beta": 0.3, "lr": 2e-3, "batch_size": 500, "steps": 3000, "lr_decay": 0.5,
}  # fmt: skip
"""for tables: a small beta lets codes tell rows apart, and the prior that a run fits to codes makes up for it"""
TABLE_EPOCHS = 150
"""most epochs of them: small tables would be learnt by heart"""
OTHER_AIMS = {"net", "likelihood", "binarize", "prior", "conditional", "geco"}
"""options of which one that is given leaves the defaults: another network, another p(x|z), or no prior fitted"""


class VAE(Variational):
    """Learn a latent space from which N(0, I) decodes to new examples, by maximising a bound on log p(x)."""

    training_only: ClassVar[tuple[str, ...]] = ("multiplier",)
    takes_step_tensor: ClassVar[bool] = True
    replacements: ClassVar[Mapping[str, Set[str]]] = {
        "sigma": {"likelihood", "geco"}, "beta": {"geco"}, "warmup": {"geco"}, "warmup_cycle": {"geco"},
        "capacity": {"free_bits", "geco"}, "free_bits": {"capacity", "geco"}, "geco": {"capacity", "free_bits"},
    }  # fmt: skip
    chosen_options: ClassVar[Set[str]] = IMAGE_DEFAULTS.keys() | TABLE_DEFAULTS.keys() | {"depth"}

    beta: Weight | None = None
    """weight of the KL term, lambda in some texts; 1 unless given"""
    latent_samples: Size = 1
    """samples z per example"""
    warmup: Steps = 0
    """steps over which beta (or the capacity) rises from 0 to its value"""
    warmup_cycle: Steps = 0
    """steps after which the warm-up starts again; 0 for never"""
    free_bits: Weight = 0.0
    """KL per latent dimension that is not penalised, in nats"""
    capacity: Weight | None = None
    """hold the KL at this value, in nats"""
    geco: Positive | None = None
    """hold the root mean square error of reconstructions at this value, with the least KL"""

    def defaults_for(self, data: Data, given: Set[str]) -> dict[str, Any]:
        most = max_prior_dimensions(len(data))
        latent = self.latent if "latent" in given else min(IMAGE_DEFAULTS["latent"], most)
        is_other = given & OTHER_AIMS - ({"net"} if self.net == "auto" else set())
        if isinstance(data, Table):
            return self.table_defaults(data, given)
        if data.in_memory.datasets[0].kind == "signal" and not is_other:
            return {"sigma": IMAGE_DEFAULTS["sigma"]}
        if not data.has_images or is_other or not 2 <= latent <= most:  # a run fits no prior to longer codes
            return {}
        values = IMAGE_DEFAULTS | {"latent": latent}
        unused = set[str]() if len(data) < FEW_EXAMPLES else {"augment"}
        unused |= {"net"} if given & {"encoder", "decoder"} else set()
        return fit_schedule({name: value for name, value in values.items() if name not in unused}, given)

    def table_defaults(self, data: Table, given: Set[str]) -> dict[str, Any]:
        """Values for a table, for options that are not given.

        Rows of numbers lie near a surface of few dimensions, which deeper networks with short codes follow.
        """
        values, columns = dict(TABLE_DEFAULTS), data.learnt_columns
        if 2 * sum(column.is_number for column in columns) > len(columns):
            values |= {"depth": 2, "latent": min(self.latent, len(columns) + 2)}
        values["batch_size"] = min(values["batch_size"], max(1, len(data) // 4))
        values["steps"] = min(values["steps"], TABLE_EPOCHS * (len(data) // values["batch_size"]))
        is_other = given & {"prior", "conditional", "warmup", "free_bits", "capacity", "geco"}
        return fit_schedule({k: v for k, v in values.items() if not (k == "beta" and is_other)}, given)

    def validate_data(self, data: Dataset) -> None:
        super().validate_data(data)
        rules = {"free_bits": self.free_bits > 0, "capacity": self.capacity is not None, "geco": self.geco is not None}
        active_rules = [name for name, is_active in rules.items() if is_active]
        if len(active_rules) > 1:
            raise UserError(f"{' and '.join(active_rules)} are different rules for the KL: choose one")
        if self.geco is not None and (self.beta is not None or self.warmup):
            raise UserError("geco finds the weight of the KL by itself: leave out beta and warmup")
        if self.geco is not None and (self.likelihood != "gaussian" or self.sigma is not None):
            raise UserError("geco is the sigma of a gaussian p(x|z): leave out likelihood and sigma")
        if self.free_bits and self.prior == "vamp":
            raise UserError("free_bits needs the KL a dimension, which prior=vamp does not have: use prior=standard")
        if self.warmup_cycle and not 0 < self.warmup <= self.warmup_cycle:
            raise UserError(f"warmup_cycle={self.warmup_cycle} repeats a warm-up: give warmup, a cycle long at most")

    @property
    def kl_weight(self) -> float:
        return 1.0 if self.beta is None else self.beta

    def networks(self, shape: Shape, classes: int = 0) -> dict[str, nn.Module]:
        nets = self.build_networks(shape, classes, self.geco or self.sigma)  # geco is the sigma of a gaussian p(x|z)
        return nets | ({"multiplier": Multiplier()} if self.geco else {})

    def step(
        self, batches: Batches, global_step: int | Tensor, encoder: nn.Module, decoder: nn.Module, **others: Any
    ) -> Moves:
        x, q, samples, condition = self.encode_batch(self.training_batch(batches), encoder, self.latent_samples)
        p: Likelihood = decoder(samples.z.flatten(0, 1), *condition)
        kl = self.kl_divergence(q, samples, encoder=encoder, **others)
        if self.geco:  # (|x - g(z)|^2 - D geco^2) / geco^2, which is 0 where the constraint holds exactly
            excess = squared_error(*align(x, p.mean)).mean() / self.geco**2 - x[0].numel()
            terms = {"constraint": others.pop("multiplier")(excess)}
        else:
            terms = {"reconstruction": p.nll(x).mean()}
        yield minimize(encoder, decoder, *others.values(), **terms, kl=self.weighted_kl(kl, global_step))

    def weighted_kl(self, kl: Float[Tensor, "b d"], global_step: int | Tensor) -> Float[Tensor, ""]:
        """The term of the objective that the KL, b examples in d terms, gives after `global_step` steps."""
        factor = self.warmup_factor(global_step)
        if self.capacity is not None:
            mean = mean_over_ranks(kl.sum(1).mean())
            return self.kl_weight * (mean - as_scalar(self.capacity * factor, kl)).abs()
        return as_scalar(self.kl_weight * factor, kl) * free_bits_kl(kl, self.free_bits)

    def warmup_factor(self, global_step: int | Tensor) -> float | Tensor:
        """How far the warm-up is after `global_step` steps: from 0 to 1."""
        return warmup_factor(global_step, self.warmup, self.warmup_cycle)


def warmup_factor(global_step: int | Tensor, warmup: int, cycle: int = 0) -> float | Tensor:
    """How far a warm-up over so many steps is, from 0 to 1, that starts anew at each `cycle`; on the step's device."""
    if not warmup:
        return 1.0
    share = (global_step % cycle if cycle else global_step) / warmup
    return share.clamp(max=1.0) if isinstance(share, Tensor) else min(1.0, share)


def as_scalar(x: float | Tensor, like: Tensor) -> float | Tensor:
    """A number of Python's, or a tensor of one in the precision of another, with which it is computed."""
    return x.to(like.dtype) if isinstance(x, Tensor) else x


def free_bits_kl(kl: Float[Tensor, "b d"], free_bits: float) -> Float[Tensor, ""]:
    """The mean KL of b examples in d terms, or sum_j max(free_bits, E_x KL_j) (arXiv:1606.04934, equation 15)."""
    return mean_over_ranks(kl.mean(0)).clamp_min(free_bits).sum() if free_bits else kl.sum(1).mean()


class Multiplier(nn.Module):
    """The Lagrange multiplier of GECO.  It grows while the constraint is violated, and shrinks while it holds.

    Algorithm 1 of arXiv:1810.00597: the constraint's moving average sets the multiplier's rate, its gradient is the
    batch's own.
    """

    value: Tensor
    average: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(1.0))
        self.register_buffer("average", torch.tensor(0.0))

    def forward(self, excess: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """lambda times the excess; lambda <- lambda e^(0.01 c), c the averaged excess, between -1 and 1."""
        with torch.no_grad():
            self.average.mul_(0.99).add_(mean_over_ranks(excess).to(self.average.dtype), alpha=0.01)
            weight = self.value.clone()
            self.value.mul_((0.01 * self.average.clamp(-1, 1)).exp()).clamp_(1e-6, 1e6)
        return weight * excess
