"""The numbers of an autoencoder or a VAE on held-out examples: likelihood, codes, reconstructions.

A VAE learns the density of standardised vectors, log p(u); what is said is that of the data in their own units: log
p(x) = log p(u) - sum of the logs of the columns' deviations, the change of variables x = m + s u.
"""

from collections.abc import Callable, Iterator, Sequence
from math import log
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from ..data import Dataset
from ..data.scaling import composite_backgrounds
from ..distributions.posteriors import Posterior, PosteriorSamples
from ..inference.tiling import chunk_size
from ..inference.trained import NO_ENCODER, Trained
from ..metrics import codes, fidelity
from ..metrics.likelihood import log_likelihood, mean_and_error
from ..model import Batch, EncoderModel, GenerativeModel, device_of
from ..models._variational import LikelihoodModel, Variational
from ..randomness import reseed

METRICS = ("elbo", "bound", "codes", "reconstruction")
"""what is measured of models with an encoder, on held-out examples; the last also of those without a likelihood"""
N_INFORMATION, N_INFORMATION_FLOW = 2000, 200
"""examples on which the mutual information is estimated; of a flow, whose density takes a pass a dimension, fewer"""
MAX_BOUND_GAP = 0.1
"""nats between two bounds on the mutual information above which the lower one is no estimate, but a bound"""
EXAMPLES_PER_STREAM = 64
"""examples, and samples of each, that share a random stream: numbers do not depend on how much is computed at once"""
MAX_DECODED_NUMBERS = 2**24
"""numbers of examples, about, that a hierarchy decodes at once, with all that their networks hold"""


def measure(
    trained: Trained, data: Dataset, names: Sequence[str], k: int, draws: int, seed: int,
    progress: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """The numbers of an encoder and a decoder on examples, of the metrics with these names."""
    data = trained.model.preprocess(data, deterministic=True)
    result: dict[str, Any] = {"examples": len(data)}
    x = trained.domain_scaling()(data.x)
    if isinstance(trained.model, LikelihoodModel):
        is_discrete = trained.model.likelihood in ("bernoulli", "discretized-logistic")
        result["bits_note"] = "" if is_discrete else " of a density: not to be compared with those of pixels' levels"
    if "elbo" in names:
        progress(f"ELBO of {len(x)} examples, {draws} samples each")
        result |= elbo(trained, x, data, draws, seed)
    if "bound" in names:
        progress(f"importance weighted bound of {len(x)} examples, {k} samples each")
        result |= bound(trained, x, data, k, seed)
    if "codes" in names:
        progress("latent codes")
        result |= latent_usage(trained, x, data, seed)
    if "reconstruction" in names:
        result |= reconstruction_metrics(trained, x, data)
    return result


def batches(trained: Trained, x: Tensor, data: Dataset, seed: int, key: str) -> Iterator[Batch]:
    """Examples in blocks, each with random numbers of its own."""
    device = device_of(trained.nets)
    for i in range(0, len(x), EXAMPLES_PER_STREAM):
        reseed(device, seed, key, i)
        part = slice(i, i + EXAMPLES_PER_STREAM)
        yield Batch(x[part], None if data.labels is None else data.labels[part]).to(device)


def elbo(trained: Trained, x: Tensor, data: Dataset, draws: int, seed: int) -> dict[str, Any]:
    """The bound, -E log p(x|z) and KL(q(z|x) || p(z)): equation 7 of arXiv:1312.6114."""
    model = trained.model
    assert isinstance(model, LikelihoodModel)
    terms = []
    for batch in batches(trained, x, data, seed, "elbo"):  # one draw after the other: memory stays that of one
        samples = [torch.stack(model.elbo_terms(batch, **trained.nets)).double().cpu() for _ in range(draws)]
        terms.append(sum(samples, torch.zeros_like(samples[0])) / draws)
    nll, kl = torch.cat(terms, 1)
    nll += trained.domain_scaling().log_volume
    value, error = mean_and_error(-nll - kl)
    return {
        "elbo": value, "elbo_error": error, "elbo_bits_per_dimension": -value / (x[0].numel() * log(2)),
        "reconstruction_nats": nll.mean().item(), "kl_nats": kl.mean().item(), "elbo_samples": draws,
    }  # fmt: skip


def bound(trained: Trained, x: Tensor, data: Dataset, k: int, seed: int) -> dict[str, Any]:
    """The importance weighted bound; of a conditional model, on log p(x|y)."""
    model, nets = trained.model, trained.nets
    assert isinstance(model, LikelihoodModel)
    if not isinstance(model, Variational):
        values = bound_from_weights(model, nets, x, k, seed)
    else:  # the same by a path that fuses layers, for an encoder and a decoder of one code
        values = torch.empty(len(x), dtype=torch.float64)
        groups: list[tuple[Tensor, int | None]] = [(torch.arange(len(x)), None)]
        if model.conditional and data.labels is not None:
            groups = [((data.labels == c).nonzero()[:, 0], int(c)) for c in data.labels.unique()]
        for index, y in groups:
            encoder, decoder = (net if y is None else OfClass(net, y) for net in (nets["encoder"], nets["decoder"]))
            values[index] = log_likelihood(x[index], encoder, decoder, model.log_prior_function(**nets), k, seed=seed)
    value, error = mean_and_error(values - trained.domain_scaling().log_volume)
    bits = -value / (x[0].numel() * log(2))
    return {"bound": value, "bound_error": error, "bound_bits_per_dimension": bits, "importance_samples": k}


def bound_from_weights(
    model: LikelihoodModel, nets: nn.ModuleDict, x: Tensor, k: int, seed: int
) -> Float64[Tensor, " n"]:
    """L_k of n examples; the noise depends on the seed, k and blocks of examples and samples."""
    device, values = device_of(nets), []
    rows = max(1, MAX_DECODED_NUMBERS // (16 * x[0].numel()))
    together, samples = min(EXAMPLES_PER_STREAM, rows), min(EXAMPLES_PER_STREAM, max(1, rows // EXAMPLES_PER_STREAM))
    for i in range(0, len(x), together):
        part, log_w = x[i : i + together].to(device), []
        for j in range(0, k, samples):
            reseed(device, seed, "bound", k, i, j)
            log_w.append(model.log_weights(part, min(samples, k - j), **nets).double().logsumexp(0).cpu())
        values.append(torch.stack(log_w).logsumexp(0) - log(k))
    return torch.cat(values)


class OfClass(nn.Module):
    """A conditional network, given one label with whatever comes."""

    def __init__(self, net: nn.Module, label: int) -> None:
        super().__init__()
        self.net, self.label = net, label

    def forward(self, x: Tensor) -> Any:
        return self.net(x, torch.full((len(x),), self.label, device=x.device))


def latent_usage(trained: Trained, x: Tensor, data: Dataset, seed: int) -> dict[str, Any]:
    """Active units, KL a dimension, mutual information, and the aggregate posterior."""
    model = trained.model
    assert isinstance(model, LikelihoodModel)
    chunks = [model.latent_statistics(batch, **trained.nets) for batch in batches(trained, x, data, seed, "codes")]
    mean, kl, z = (torch.cat(part).cpu() for part in zip(*chunks, strict=True))
    by_mean, by_kl = codes.active_units(mean, kl)
    has_kl_terms = kl.shape == mean.shape  # the KL to a VampPrior has none a dimension
    result: dict[str, Any] = {
        "active_units": int(by_mean.sum()), "active_units_by_kl": int(by_kl.sum()) if has_kl_terms else None,
        "dimensions": mean.shape[1], "kl_per_dimension": kl.mean(0).tolist() if has_kl_terms else None,
        "aggregate_mean": z.mean(0).tolist(), "aggregate_std": z.std(0, correction=0).tolist(),
    }  # fmt: skip
    return result | (information(trained, model, x, data, seed) if isinstance(model, Variational) else {})


def information(trained: Trained, model: Variational, x: Tensor, data: Dataset, seed: int) -> dict[str, Any]:
    """Mutual information of x and z, and what the KL has beyond it: the aggregate posterior's distance from p(z).

    Both with bounds, and whether these are so far apart that the number is no more than a bound.
    """
    n = min(N_INFORMATION_FLOW if model.posterior == "iaf" else N_INFORMATION, len(x))
    chunks = [
        model.encode_batch(batch, trained.nets["encoder"])
        for batch in batches(trained, x[:n], data, seed, "information")
    ]
    q = concatenate([q for _, q, _, _ in chunks])
    draw = PosteriorSamples(*(torch.cat(t, 1) for t in zip(*(draw for _, _, draw, _ in chunks), strict=True)))
    lower, upper = codes.mutual_information_bounds(q, draw)
    kl = model.kl_divergence(q, draw, **trained.nets).sum(1).mean().item()
    return {
        "mutual_information": lower, "mutual_information_upper": upper,
        "mutual_information_is_bound": upper - lower > MAX_BOUND_GAP,
        "mutual_information_examples": n, "mutual_information_limit": log(n),
        "kl_aggregate_prior": kl - lower,
        "kl_aggregate_prior_lower": max(0.0, kl - upper),
    }  # fmt: skip


def concatenate(posteriors: list[Any]) -> Posterior:
    """Posteriors of several blocks of examples as one."""
    columns = zip(*posteriors, strict=True)
    q: Posterior = type(posteriors[0])(*(torch.cat(c) if isinstance(c[0], Tensor) else c[0] for c in columns))
    return q


def reconstruction_metrics(trained: Trained, x: Tensor, data: Dataset) -> dict[str, Any]:
    """Error of reconstructions from the posteriors' means, of pixels in [0, 1], of vectors in deviations."""
    labels = data.labels if trained.model.is_conditional else None
    encoding, generating = trained.require(EncoderModel, NO_ENCODER), trained.require(GenerativeModel, "has no decoder")
    z = trained.map_chunks(lambda *part: encoding.encode(*part, **trained.nets), x, labels)
    y = trained.map_chunks(lambda *part: generating.generate(*part, **trained.nets), z, labels)
    alpha = trained.domain_scaling().premultiplied
    x, y = composite_backgrounds(x, alpha), composite_backgrounds(y, alpha)
    result: dict[str, Any] = {"reconstruction_mse": (x - y).square().mean().item()}
    if x.ndim == 4:
        size = chunk_size(trained.shape)
        ssim = torch.cat([fidelity.ssim(a, b) for a, b in zip(x.split(size), y.split(size), strict=True)])
        result |= {"psnr_db": fidelity.psnr(x, y).mean().item(), "ssim": ssim.mean().item()}
    return result
