"""Priors fitted after training to the codes of an autoencoder or a VAE, from which new codes can be drawn.

The codes f(x), or z ~ q(z|x), have a distribution of their own, the aggregate posterior, and a decoder knows nothing
else.  Ghosh et al., From Variational to Deterministic Autoencoders, arXiv:1903.12436, section 4, fit a density to it:

    gaussian    N(mu, Sigma) with a full covariance
    mixture     sum_k pi_k N(mu_k, Sigma_k), of one to three hundred, by expectation maximisation
    flow        z = mu + L h(u), u ~ N(0, I), with h an invertible network: Real NVP (Dinh et al., arXiv:1605.08803)

Which is best is decided by the likelihood of codes that none was fitted to.  A prior is a tuple of named tensors on
the CPU, and nothing else: that is how it is stored.
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import log, pi
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot, relu

from ..errors import InvalidFileError, UserError, did_you_mean
from ..io.text import format_number
from ..optimizers import Adam
from ..randomness import make_generator
from .posteriors import normal_log_prob

CPU = torch.device("cpu")
STANDARD, BEST = "standard", "best"
"""N(0, I), and whichever makes the held-out codes likeliest"""
MIN_STD = 1e-3
"""smallest standard deviation in any direction, in units of the codes' own"""
COMPONENTS, MAX_WORK, MAX_EM_STEPS, MIN_EM_GAIN = (30, 100, 300), 2**30, 50, 3e-3
"""of mixtures: components of which the likeliest are taken, most of these times n d^2; most steps of EM, and nats a
code that end it"""
FEWER_COMPONENTS = (10, 3, 1)
"""those that are tried where not even thirty are likelier than the model's own prior"""
LAYERS, HIDDEN_UNITS, MAX_LOG_SCALE = 6, 64, 2.0
"""coupling layers of a flow, units of their hidden layers, largest logarithm of the factor of one layer"""
MAX_STEPS, BATCH_SIZE, LR, CHECK_INTERVAL, PATIENCE = 1500, 256, 3e-3, 50, 8
"""a flow's training: most steps, codes a step, Adam's first rate, steps between two looks, looks without gain"""


class Mixture(NamedTuple):
    """sum_k pi_k N(mu_k, L_k L_k^T); with one component, a Gaussian."""

    weight: Float[Tensor, " k"]
    mean: Float[Tensor, "k d"]
    scale_tril: Float[Tensor, "k d d"]

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """n codes that depend on the generator alone."""
        which = torch.multinomial(self.weight, n, replacement=True, generator=generator)
        z = torch.randn(n, self.mean.shape[1], generator=generator)
        for k in range(len(self.weight)):
            z[which == k] = self.mean[k] + z[which == k] @ self.scale_tril[k].T
        return z

    def log_prob(self, z: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """log p(z), n numbers in nats."""
        return self.log_joint(z).logsumexp(1)

    def log_joint(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """log pi_k + log N(z; mu_k, L_k L_k^T), in nats."""
        factors, d = self.scale_tril.double(), z.shape[1]
        inverses = torch.linalg.solve_triangular(factors, torch.eye(d, dtype=torch.float64), upper=False).to(z.dtype)
        squares = [((z - mean) @ inverse.T).square_().sum(1) for mean, inverse in zip(self.mean, inverses, strict=True)]
        log_det = factors.diagonal(dim1=1, dim2=2).log().sum(1).to(z.dtype)
        return self.weight.log() - log_det - d / 2 * log(2 * pi) - torch.stack(squares, 1) / 2


class RealNVP(NamedTuple):
    """z = mu + L h(u), u ~ N(0, I): six affine coupling layers on codes whitened by their own mean and covariance.

    From z to u, each layer keeps the dimensions where `mask` is 1, and from them a network with two hidden layers
    computes how the others are scaled and shifted: u_j <- u_j exp(s_j) + t_j, |s_j| < 2 (equations 4 to 9).
    """

    mean: Float[Tensor, " d"]
    scale_tril: Float[Tensor, "d d"]
    mask: Float[Tensor, "layers d"]
    w1: Float[Tensor, "layers d h"]
    b1: Float[Tensor, "layers 1 h"]
    w2: Float[Tensor, "layers h h"]
    b2: Float[Tensor, "layers 1 h"]
    w3: Float[Tensor, "layers h 2*d"]
    b3: Float[Tensor, "layers 1 2*d"]

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n d"]:
        u = torch.randn(n, len(self.mean), generator=generator)
        for layer in reversed(self.layers()):
            s, t = coupling(u, *layer)
            u = (u - t) * (-s).exp()
        return self.mean + u @ self.scale_tril.T

    def log_prob(self, z: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """log p(z), n numbers in nats: log N(u; 0, I) + sum of all s - log det L."""
        u = whiten(z, self.mean, self.scale_tril)
        log_det = -self.scale_tril.diagonal().log().sum()
        for layer in self.layers():
            s, t = coupling(u, *layer)
            u, log_det = u * s.exp() + t, log_det + s.sum(1)
        return normal_log_prob(u).sum(1) + log_det

    def layers(self) -> list[tuple[Tensor, ...]]:
        """The tensors of each layer, from z to u."""
        return list(zip(*(t.unbind() for t in self[2:]), strict=True))


Prior = Mixture | RealNVP
PRIOR_TYPES: dict[str, type[Mixture] | type[RealNVP]] = {"gaussian": Mixture, "mixture": Mixture, "flow": RealNVP}


@dataclass(frozen=True, eq=False)
class FittedPriors:
    """Priors fitted to the same codes, and how likely each makes held-out codes."""

    priors: dict[str, Prior]
    held_out: dict[str, float]
    """mean of log p(z) over the held-out codes, in nats, by kind; also that of N(0, I), which is "standard" """
    counts: tuple[int, int]
    """codes that the priors were fitted to, and codes held out"""
    notes: tuple[str, ...] = ()
    data: str = ""
    """name of the data that were encoded"""

    @property
    def best(self) -> str:
        """The kind that makes the held-out codes likeliest."""
        return max(self.held_out, key=self.held_out.__getitem__)


def coupling(u: Tensor, mask: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
    """s and t of one layer, both n x d, and 0 where the mask keeps u."""
    w1, b1, w2, b2, w3, b3 = weights
    hidden = relu(torch.addmm(b1, u * mask, w1))
    s, t = torch.addmm(b3, relu(torch.addmm(b2, hidden, w2)), w3).chunk(2, 1)
    return MAX_LOG_SCALE * (s / MAX_LOG_SCALE).tanh() * (1 - mask), t * (1 - mask)


def whiten(z: Float[Tensor, "n d"], mean: Float[Tensor, " d"], scale_tril: Float[Tensor, "d d"]) -> Tensor:
    """L^-1 (z - mu), n x d."""
    u: Tensor = torch.linalg.solve_triangular(scale_tril, (z - mean).T, upper=False).T
    return u


def fit_priors(
    codes: Float[Tensor, "n d"], *, seed: int = 0, kinds: Sequence[str] | None = None, progress: Callable[[str], None] =
    lambda line: None, log_prior: Callable[[Tensor], Tensor] = lambda z: normal_log_prob(z).sum(1), copies: int = 1,
) -> FittedPriors:  # fmt: skip
    """Fit each kind of prior to nine tenths of the codes, and score it by log p(z) of the others.

    `kinds` None is all of them; `log_prior` is log p(z) under the model's own prior.  Of `copies` all are of the same
    examples in the same order, and those held out are of the first.  The result depends on codes and seed alone.
    Raises UserError for fewer than three codes, codes not finite, and unknown kinds.
    """
    kinds = resolve_kinds(kinds)
    codes = codes.detach().float().cpu()
    n, d = len(codes) // copies, codes.shape[1]
    if n < 3:
        raise UserError(f"{n} examples are too few to fit a prior: give three or more, since a tenth is held out")
    if not codes.isfinite().all():
        raise UserError("the model's codes are not finite: nothing can be fitted to them; train it again")
    order, n_test = torch.randperm(n, generator=make_generator(CPU, seed, "held-out")), max(1, n // 10)
    test, train = codes[order[:n_test]], codes.view(copies, n, d)[:, order[n_test:]].flatten(0, 1)
    normal, flat, notes = fit_gaussian(train)
    random = make_generator(CPU, seed, "flat")  # without noise, flat directions would have unbounded densities
    train, test = (z + torch.randn(len(z), len(flat), generator=random) @ flat for z in (train, test))
    most_components = min(len(train) // d, MAX_WORK // (len(train) * d * d))
    if "mixture" in kinds and most_components < 2:
        extent = "few" if len(train) < 2 * d else "many, for the time that this may take,"
        notes += (f"{len(train)} codes are too {extent} for a mixture in {d} dimensions: it is the Gaussian",)
    priors, held_out = dict[str, Prior](), {STANDARD: log_prior(test).mean().item()}
    for kind in kinds:
        progress(f"fitting {kind} to {len(train)} codes of {d} dimensions")
        priors[kind] = fit_flow(train, normal, seed) if kind == "flow" else normal
        if kind == "mixture" and most_components > 1:
            priors[kind] = fit_best_mixture(train, test, normal, most_components, seed, held_out[STANDARD])
        held_out[kind] = priors[kind].log_prob(test).mean().item()
    return FittedPriors(priors, held_out, (len(train), len(test)), notes)


def resolve_kinds(kinds: Sequence[str] | None) -> list[str]:
    """The kinds to fit, all unless given, in the order of `PRIOR_TYPES`; UserError for an unknown one."""
    names = list(PRIOR_TYPES)
    if unknown := [kind for kind in kinds or () if kind not in names]:
        raise UserError(f"there is no prior {unknown[0]!r}: fit {', '.join(names)}.{did_you_mean(unknown[0], names)}")
    return [kind for kind in names if kind in (kinds or names)]


def fit_gaussian(codes: Float[Tensor, "n d"]) -> tuple[Mixture, Float[Tensor, "f d"], tuple[str, ...]]:
    """The Gaussian of greatest likelihood, and what was done where the covariance cannot be trusted.

    With fewer than ten codes per dimension the covariance S is shrunk to (1 - r) S + r tr(S)/d I, r by the formula of
    Chen et al., Shrinkage Algorithms for MMSE Covariance Estimation, arXiv:0907.4698, equation 23 (OAS).  Flat
    directions, of next to no variance at any n, get `MIN_STD` of the codes' standard deviation: they are returned as
    well, each with that length.
    """
    z, (n, d) = codes.double(), codes.shape
    notes: tuple[str, ...] = ()
    mean = z.mean(0)
    covariance = (z - mean).T @ (z - mean) / n
    average = (covariance.trace() / d).item()
    if n < 10 * d and average > 0:
        squares = covariance.square().sum().item() / average**2
        distance = (n + 1 - 2 / d) * (squares - d)
        r = min(1.0, ((1 - 2 / d) * squares + d * d) / distance) if distance > 0 else 1.0
        covariance = (1 - r) * covariance + r * average * torch.eye(d, dtype=z.dtype)
        notes += (f"{n} codes are few for {d} dimensions: their covariance was shrunk by {r:.0%} to a sphere",)
    min_variance = MIN_STD**2 * max(average, 1e-4 * mean.square().mean().item(), 1e-6)
    variances, axes = torch.linalg.eigh(covariance)
    flat = axes[:, variances < min_variance].T * min_variance**0.5
    if len(flat):
        covariance = axes * variances.clamp_min(min_variance) @ axes.T
        std = format_number(min_variance**0.5, 2)
        notes += (f"the codes do not vary in {len(flat)} of {d} directions: priors vary by {std} there",)
    factor = torch.linalg.cholesky(covariance)
    return Mixture(torch.ones(1), mean.float()[None], factor.float()[None]), flat.float(), notes


def fit_best_mixture(
    train: Float[Tensor, "n d"], test: Float[Tensor, "m d"], normal: Mixture, most_components: int, seed: int,
    standard: float,
) -> Mixture:  # fmt: skip
    """Of mixtures of more and more components the last that makes held-out codes likelier than the one before.

    `standard` is the mean of log p(z) of these under the model's own prior.  Of a few thousand codes thirty components
    are learnt by heart, and no likelier than that; but a rare kind of example hardly comes from it.  Then fewer
    components are tried until they are likelier, at last the Gaussian.
    """
    best, best_log_prob = normal, -torch.inf
    for n_components in sorted({min(k, most_components) for k in COMPONENTS}):
        mixture = fit_mixture(train, normal, n_components, seed)
        log_prob = mixture.log_prob(test).mean().item()
        if log_prob <= best_log_prob:
            break
        best, best_log_prob = mixture, log_prob
    fewer = [k for k in FEWER_COMPONENTS if k < len(best.weight)] if best_log_prob <= standard else []
    for n_components in fewer:
        best = fit_mixture(train, normal, n_components, seed) if n_components > 1 else normal
        if best.log_prob(test).mean() > standard:
            break
    return best


def fit_mixture(codes: Float[Tensor, "n d"], normal: Mixture, n_components: int, seed: int) -> Mixture:
    """A mixture of Gaussians with full covariances by expectation maximisation, on codes whitened by the Gaussian.

    A covariance is (S_k + d K^(-2/d) I) / (n_k + d), S_k the scatter of the component's n_k codes: as if it had d codes
    more, which fill a share 1/K of the volume of all (after Fraley & Raftery, Journal of Classification 24, 2007).
    """
    mean, factor = normal.mean[0].double(), normal.scale_tril[0].double()
    w, d, last_log_prob = whiten(codes.double(), mean, factor), codes.shape[1], -torch.inf
    prior_scatter = d * n_components ** (-2 / d) * torch.eye(d, dtype=w.dtype)
    shares = cluster(w, n_components, make_generator(CPU, seed, "mixture"))
    for _ in range(MAX_EM_STEPS):
        counts = shares.sum(0)
        centres = shares.T @ w / counts.clamp_min(1e-9)[:, None]
        moments = torch.stack([(s[:, None] * w).T @ w for s in shares.T])
        scatters = moments - counts[:, None, None] * centres[:, :, None] * centres[:, None]
        factors = torch.linalg.cholesky((scatters + prior_scatter) / (counts + d)[:, None, None])
        mixture = Mixture(counts / len(w), centres, factors)
        joint = mixture.log_joint(w)
        shares, log_prob = joint.softmax(1), joint.logsumexp(1).mean().item()
        if log_prob < last_log_prob + MIN_EM_GAIN:
            break
        last_log_prob = log_prob
    return Mixture(mixture.weight.float(), (mean + centres @ factor.T).float(), (factor @ factors).float())


def cluster(w: Float[Tensor, "n d"], k: int, random: torch.Generator) -> Float[Tensor, "n k"]:
    """Of each code 1 in the column of the nearest centre, else 0; centres are codes, chosen as by k-means++."""
    centres = w[torch.randint(len(w), (1,), generator=random)]
    for _ in range(k - 1):
        distances = torch.cdist(w, centres).amin(1).square() + 1e-12  # equal codes have none
        centres = torch.cat([centres, w[torch.multinomial(distances, 1, generator=random)]])
    return one_hot(torch.cdist(w, centres).argmin(1), k).to(w.dtype)


@torch.enable_grad()
def fit_flow(codes: Float[Tensor, "n d"], normal: Mixture, seed: int) -> RealNVP:
    """A flow of great likelihood by Adam, beginning with the Gaussian.

    A tenth of the codes is for validation: the weights that make it likeliest are returned, so that the choice between
    priors stays fair.  Of fewer than ten codes nothing is learned: the flow stays the Gaussian.
    """
    flow, n = initial_flow(normal, seed), len(codes)
    random = make_generator(CPU, seed, "flow")
    validation, train = codes[: n // 10], codes[n // 10 :]
    weights = [t.requires_grad_() for t in flow[3:]]
    adam = Adam(weights, LR, fused=True)
    best, best_weights, checks_since_best = -torch.inf, weights, 0
    for step in range(MAX_STEPS + 1 if len(validation) else 0):
        if step % CHECK_INTERVAL == 0:
            with torch.no_grad():
                log_prob = flow.log_prob(validation).mean().item()
            checks_since_best += 1
            if log_prob > best:
                best, best_weights, checks_since_best = log_prob, [t.detach().clone() for t in weights], 0
            if checks_since_best == PATIENCE:
                break
        adam.param_groups[0]["lr"] = LR * (1 - step / MAX_STEPS)
        batch = train[torch.randint(len(train), (BATCH_SIZE,), generator=random)]
        adam.zero_grad()
        (-flow.log_prob(batch).mean()).backward()
        adam.step()
    return RealNVP(*flow[:3], *(t.detach() for t in best_weights))


def initial_flow(normal: Mixture, seed: int) -> RealNVP:
    """The flow whose layers change nothing yet; each second mask is what the one before it left out."""
    random, d = make_generator(CPU, seed, "untrained"), normal.mean.shape[1]
    masks = []
    for _ in range(LAYERS // 2):
        mask = torch.zeros(d)
        mask[torch.randperm(d, generator=random)[: d // 2]] = 1
        masks += [mask, 1 - mask]
    w1 = torch.randn(LAYERS, d, HIDDEN_UNITS, generator=random) * (2 / d) ** 0.5
    w2 = torch.randn(LAYERS, HIDDEN_UNITS, HIDDEN_UNITS, generator=random) * (2 / HIDDEN_UNITS) ** 0.5
    w3, b3 = torch.zeros(LAYERS, HIDDEN_UNITS, 2 * d), torch.zeros(LAYERS, 1, 2 * d)
    b1, b2 = torch.zeros(LAYERS, 1, HIDDEN_UNITS), torch.zeros(LAYERS, 1, HIDDEN_UNITS)
    return RealNVP(normal.mean[0], normal.scale_tril[0], torch.stack(masks), w1, b1, w2, b2, w3, b3)


def serialize_priors(fitted: FittedPriors | None) -> tuple[dict[str, Tensor], dict[str, object]]:
    """What goes into a weights file: tensors prior/<kind>/<name>, and plain values for its header."""
    if fitted is None:
        return {}, {}
    parts = [(f"prior/{kind}/{name}", t) for kind in fitted.priors for name, t in fitted.priors[kind]._asdict().items()]
    # cloned: a file takes no tensor twice, and priors may share their mean
    tensors = {name: t.clone(memory_format=torch.contiguous_format) for name, t in parts}
    likelihood = {"held_out_log_prob": fitted.held_out, "n_codes": fitted.counts}
    return tensors, {"priors": likelihood | {"notes": fitted.notes, "data": fitted.data}}


def deserialize_priors(tensors: dict[str, Tensor], header: dict[str, Any], file: Path) -> FittedPriors:
    """The inverse of `serialize_priors`: takes these out of both; UserError where they do not fit."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name in [name for name in tensors if name.startswith("prior/")]:
        _, kind, part = name.split("/", 2)
        parts.setdefault(kind, {})[part] = tensors.pop(name)
    values = header.pop("priors", None)
    if unknown := [kind for kind in parts if kind not in PRIOR_TYPES]:
        raise UserError(f"{file} holds a prior {unknown[0]!r}, which this Ganvas does not know: pip install -U ganvas")
    try:
        priors: dict[str, Prior] = {kind: PRIOR_TYPES[kind](**parts[kind]) for kind in PRIOR_TYPES if kind in parts}
        held_out = {kind: float(values["held_out_log_prob"][kind]) for kind in (STANDARD, *priors)}
        counts = (int(values["n_codes"][0]), int(values["n_codes"][1]))
        return FittedPriors(priors, held_out, counts, tuple(values["notes"]), str(values["data"]))
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise UserError(f"{file}: its priors do not fit its own header: run ganvas fit-prior again") from error


def validate_priors(fitted: FittedPriors, codes: Tensor, file: Path) -> None:
    """UserError where samples of the priors in a file are not shaped like its model's codes."""
    with suppress(RuntimeError, IndexError, TypeError, ValueError, Warning), warnings.catch_warnings(action="error"):
        samples = [prior.sample(len(codes), make_generator(CPU, 0, "fits")) for prior in fitted.priors.values()]
        if all(z.shape == codes.shape and z.is_floating_point() for z in samples):
            return
    raise InvalidFileError(f"{file}: its priors do not fit its own model: resume or retrain it, then fit them again")
