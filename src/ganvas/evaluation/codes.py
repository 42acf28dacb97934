"""The numbers of an autoencoder or a VAE on held-out examples: likelihood, codes, reconstructions."""

from collections.abc import Sequence
from math import log
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import Dataset
from ..distributions.posteriors import ACTIVE_THRESHOLD, Posterior, PosteriorSamples
from ..inference.bounds import batches, elbo_terms, importance_weighted_bound
from ..inference.scores import reconstruct
from ..inference.trained import Trained, chunk_size
from ..metrics import similarity
from ..metrics.likelihood import mean_and_error
from ..models._variational import LikelihoodModel, Variational
from .samples import MetricValues, Settings

CODE_METRICS = ("elbo", "bound", "codes", "reconstruction")
"""what is measured of models with an encoder, on held-out examples; the last also of those without a likelihood"""
N_INFORMATION, N_INFORMATION_FLOW = 2000, 200
"""examples on which the mutual information is estimated; fewer of a flow, whose density takes a pass a dimension"""
MAX_BOUND_GAP = 0.1
"""nats between two bounds on the mutual information above which the lower one is no estimate, but a bound"""
MAX_DENSITIES = 2**22
"""densities' numbers that are computed at once"""


def measure(
    trained: Trained, data: Dataset, names: Sequence[str], k: int, draws: int, settings: Settings
) -> MetricValues:
    """The numbers of an encoder and a decoder on examples, of the metrics with these names."""
    model, n, seed, progress = trained.model, len(data), settings.seed, settings.progress
    data = model.preprocess(data, deterministic=True)
    x, y, values = trained.domain_scaling()(data.x), data.labels, MetricValues(examples=n)
    if isinstance(model, LikelihoodModel):
        is_discrete = model.likelihood in ("bernoulli", "discretized-logistic")
        values["bits_note"] = "" if is_discrete else " of a density: not to be compared with those of pixels' levels"
        if "elbo" in names:
            progress(f"ELBO of {n} examples, {draws} samples each")
            values |= elbo(trained, model, x, y, draws, seed)
        if "bound" in names:
            progress(f"importance weighted bound of {n} examples, {k} samples each")
            values |= bound(trained, model, x, y, k, seed)
        if "codes" in names:
            progress("latent codes")
            values |= latent_usage(trained, model, x, y, seed)
    return values | (reconstruction_metrics(trained, x, y) if "reconstruction" in names else {})


def elbo(trained: Trained, model: LikelihoodModel, x: Tensor, y: Tensor | None, draws: int, seed: int) -> MetricValues:
    """The bound, -E log p(x|z) and KL(q(z|x) || p(z)): equation 7 of arXiv:1312.6114."""
    nll, kl = elbo_terms(trained, model, x, y, draws, seed)
    value, error = mean_and_error(-nll - kl)
    return {
        "elbo": value, "elbo_error": error, "elbo_bits_per_dimension": -value / (x[0].numel() * log(2)),
        "reconstruction_nats": nll.mean().item(), "kl_nats": kl.mean().item(), "elbo_samples": draws,
    }  # fmt: skip


def bound(trained: Trained, model: LikelihoodModel, x: Tensor, y: Tensor | None, k: int, seed: int) -> MetricValues:
    """The importance weighted bound; of a conditional model, on log p(x|y)."""
    value, error = mean_and_error(importance_weighted_bound(trained, model, x, y, k, seed))
    bits = -value / (x[0].numel() * log(2))
    return {"bound": value, "bound_error": error, "bound_bits_per_dimension": bits, "importance_samples": k}


def latent_usage(trained: Trained, model: LikelihoodModel, x: Tensor, y: Tensor | None, seed: int) -> MetricValues:
    """Active units, KL a dimension, mutual information, and the aggregate posterior."""
    statistics = [model.latent_statistics(batch, **trained.nets) for batch in batches(trained, x, y, seed, "codes")]
    mean, kl, z = (torch.cat(part).cpu() for part in zip(*statistics, strict=True))
    by_mean, by_kl = active_units(mean, kl)
    has_kl_terms = kl.shape == mean.shape  # the KL to a VampPrior has none a dimension
    values: MetricValues = {
        "active_units": int(by_mean.sum()), "active_units_by_kl": int(by_kl.sum()) if has_kl_terms else None,
        "dimensions": mean.shape[1], "kl_per_dimension": kl.mean(0).tolist() if has_kl_terms else None,
        "aggregate_mean": z.mean(0).tolist(), "aggregate_std": z.std(0, correction=0).tolist(),
    }  # fmt: skip
    return values | (information(trained, model, x, y, seed) if isinstance(model, Variational) else {})


def information(trained: Trained, model: Variational, x: Tensor, y: Tensor | None, seed: int) -> MetricValues:
    """Mutual information of x and z, and KL(q(z) || p(z)) = E_x KL(q(z|x) || p(z)) - I(x; z), with bounds of both.

    Source: Hoffman & Johnson, ELBO Surgery, 2016; q(z) = E_x q(z|x) is the aggregate posterior.  All in nats.
    """
    n, nets = min(N_INFORMATION_FLOW if model.posterior == "iaf" else N_INFORMATION, len(x)), trained.nets
    encoded = [model.encode_batch(b, nets["encoder"]) for b in batches(trained, x[:n], y, seed, "information")]
    _, posteriors, draws, _ = zip(*encoded, strict=True)
    fields: Any = zip(*posteriors, strict=True)
    q: Posterior = type(posteriors[0])(*(torch.cat(t) if isinstance(t[0], Tensor) else t[0] for t in fields))
    draw = PosteriorSamples(*(torch.cat(t, 1) for t in zip(*draws, strict=True)))
    lower, upper = mutual_information_bounds(q, draw)
    kl = model.kl_divergence(q, draw, **nets).sum(1).mean().item()
    return {
        "mutual_information": lower, "mutual_information_upper": upper,
        "mutual_information_is_bound": upper - lower > MAX_BOUND_GAP,
        "mutual_information_examples": n, "mutual_information_limit": log(n),
        "kl_aggregate_prior": kl - lower, "kl_aggregate_prior_lower": max(0.0, kl - upper),
    }  # fmt: skip


def active_units(means: Float[Tensor, "n d"], kl: Float[Tensor, "n m"]) -> tuple[Tensor, Tensor]:
    """Which dimensions are used: Var_x( E_q[z_j|x] ) > 0.01 (arXiv:1509.00519), and E_x KL_j > 0.01 nats."""
    return means.var(0, correction=0) > ACTIVE_THRESHOLD, kl.mean(0) > ACTIVE_THRESHOLD


def mutual_information_bounds(q: Posterior, samples: PosteriorSamples) -> tuple[float, float]:
    """I(x; z) under q(z|x) = E log q(z|x) - E log q(z), between two bounds, for n >= 2 examples with one draw each.

    In place of q(z) is the mixture of all n posteriors, in which the example's own makes it too large and I too small,
    never above log n; or that of the n - 1 others, too small, so that I is too large, far so where codes hardly
    overlap.  Both are near the truth where n is much larger than exp(I).  The truth lies between their expectations.
    Source: Poole et al., On Variational Bounds of Mutual Information, arXiv:1905.06922.
    """
    z, log_posterior = samples.z[0], samples.log_q[0].sum(1)
    n, d = z.shape
    rows, mixture, others = max(1, MAX_DENSITIES // (n * d)), [], []
    for i in range(0, n, rows):
        log_q = q.log_prob(z[i : i + rows, None].expand(-1, n, -1)).double()
        mixture.append(log_q.logsumexp(1) - log(n))
        log_q.diagonal(i).fill_(-torch.inf)
        others.append(log_q.logsumexp(1) - log(max(1, n - 1)))
    lower, upper = ((log_posterior - torch.cat(log_mixture)).mean().item() for log_mixture in (mixture, others))
    return lower, upper


def reconstruction_metrics(trained: Trained, x: Tensor, y: Tensor | None) -> MetricValues:
    """Error of reconstructions from the posteriors' means, of pixels in [0, 1], of vectors in deviations.

    Of deep images without alpha, signals and volumes also the root of the mean square error of each channel, in the
    units of the data.
    """
    x, r = reconstruct(trained, x, y)
    values: MetricValues = {"reconstruction_mse": (x - r).square().mean().item()}
    scaling = trained.domain_scaling()
    if scaling.low is not None and scaling.high is not None and not scaling.premultiplied:
        rmse = (x - r).square().mean((0, *range(2, x.ndim))).sqrt() * (scaling.high - scaling.low)
        values["reconstruction_rmse"] = rmse.tolist()
    if x.ndim == 4:
        size = chunk_size(trained.shape)
        ssim = torch.cat([similarity.ssim(a, b) for a, b in zip(x.split(size), r.split(size), strict=True)])
        values |= {"psnr_db": similarity.psnr(x, r).mean().item(), "ssim": ssim.mean().item()}
    return values
