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
from ..models import LadderVAE
from ..models._variational import LikelihoodModel, Variational
from ..randomness import reseed

METRICS = ("elbo", "bound", "codes", "reconstruction")
"""what is measured of models with an encoder, on held-out examples; the last also of those without a likelihood"""
PAIRED, PAIRED_FLOW = 2000, 200
"""examples on which the mutual information is estimated; of a flow, whose density takes a pass a dimension, fewer"""
LOOSE = 0.1
"""nats between two bounds on the mutual information from which on the lower one is no estimate, but a bound"""
TOGETHER = 64
"""examples, and samples of each, that share a random stream: numbers do not depend on how much is computed at once"""
ROWS = 2**24
"""numbers of examples, about, that a hierarchy decodes at once, with all that their networks hold"""


def measure(
    trained: Trained,
    collection: Dataset,
    chosen: Sequence[str],
    k: int,
    draws: int,
    seed: int,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """The chosen numbers of an encoder and a decoder on the examples of a collection."""
    collection = trained.model.preprocess(collection, deterministic=True)
    result: dict[str, Any] = {"examples": len(collection)}
    x = trained.scale_inputs(collection.x)
    if isinstance(trained.model, LikelihoodModel):
        bits = trained.model.likelihood in ("bernoulli", "discretized-logistic")
        result["bits_of"] = "" if bits else " of a density: not to be compared with those of pixels' levels"
    if "elbo" in chosen:
        progress(f"ELBO of {len(x)} examples, {draws} samples each")
        result |= elbo(trained, x, collection, draws, seed)
    if "bound" in chosen:
        progress(f"importance weighted bound of {len(x)} examples, {k} samples each")
        result |= bound(trained, x, collection, k, seed)
    if "codes" in chosen:
        progress("latent codes")
        result |= latent(trained, x, collection, seed)
    if "reconstruction" in chosen:
        result |= reconstruction_metrics(trained, x, collection)
    return result


def parts(trained: Trained, x: Tensor, data: Dataset, seed: int, what: str) -> Iterator[Batch]:
    """Examples in blocks, each with random numbers of its own."""
    device = device_of(trained.nets)
    for i in range(0, len(x), TOGETHER):
        reseed(device, seed, what, i)
        yield Batch(x[i : i + TOGETHER], None if data.labels is None else data.labels[i : i + TOGETHER]).to(device)


def elbo(trained: Trained, x: Tensor, data: Dataset, draws: int, seed: int) -> dict[str, Any]:
    """The bound, -E log p(x|z) and KL(q(z|x) || p(z)): equation 7 of arXiv:1312.6114."""
    model = trained.model
    assert isinstance(model, LikelihoodModel)
    terms = []
    for batch in parts(trained, x, data, seed, "elbo"):  # one draw after the other: memory stays that of one
        each = [torch.stack(model.elbo_terms(batch, **trained.nets)).double().cpu() for _ in range(draws)]
        terms.append(sum(each, torch.zeros_like(each[0])) / draws)
    nll, kl = torch.cat(terms, 1)
    nll += trained.domain_scaling().log_volume
    value, error = mean_and_error(-nll - kl)
    return {
        "elbo": value, "elbo_error": error, "elbo_bits_per_dimension": -value / (x[0].numel() * log(2)),
        "reconstruction_nats": nll.mean().item(), "kl_nats": kl.mean().item(), "elbo_draws": draws,
    }  # fmt: skip


def bound(trained: Trained, x: Tensor, data: Dataset, k: int, seed: int) -> dict[str, Any]:
    """The importance weighted bound; of a conditional model, on log p(x|y)."""
    model, nets = trained.model, trained.nets
    if isinstance(model, LadderVAE):
        values = of_hierarchy(model, nets, x, k, seed)
    else:
        assert isinstance(model, Variational)
        values = torch.empty(len(x), dtype=torch.float64)
        groups: list[tuple[Tensor, int | None]] = [(torch.arange(len(x)), None)]
        if model.conditional and data.labels is not None:
            groups = [((data.labels == c).nonzero()[:, 0], int(c)) for c in data.labels.unique()]
        for index, y in groups:
            encoder, decoder = (net if y is None else OfClass(net, y) for net in (nets["encoder"], nets["decoder"]))
            values[index] = log_likelihood(x[index], encoder, decoder, model.log_prior_function(**nets), k, seed=seed)
    value, error = mean_and_error(values - trained.domain_scaling().log_volume)
    bits = -value / (x[0].numel() * log(2))
    return {"bound": value, "bound_error": error, "bound_bits_per_dimension": bits, "bound_k": k}


def of_hierarchy(model: LadderVAE, nets: nn.ModuleDict, x: Tensor, k: int, seed: int) -> Float64[Tensor, " n"]:
    """L_k of n examples; the noise depends on the seed, k and blocks of examples and samples."""
    device, values = device_of(nets), []
    rows = max(1, ROWS // (16 * x[0].numel()))
    together, samples = min(TOGETHER, rows), min(TOGETHER, max(1, rows // TOGETHER))
    for i in range(0, len(x), together):
        some, log_w = x[i : i + together].to(device), []
        for j in range(0, k, samples):
            reseed(device, seed, "bound", k, i, j)
            log_w.append(model.log_weights(some, min(samples, k - j), **nets).double().logsumexp(0).cpu())
        values.append(torch.stack(log_w).logsumexp(0) - log(k))
    return torch.cat(values)


class OfClass(nn.Module):
    """A conditional network, given one label with whatever comes."""

    def __init__(self, net: nn.Module, label: int) -> None:
        super().__init__()
        self.net, self.label = net, label

    def forward(self, x: Tensor) -> Any:
        return self.net(x, torch.full((len(x),), self.label, device=x.device))


def latent(trained: Trained, x: Tensor, data: Dataset, seed: int) -> dict[str, Any]:
    """Active units, KL a dimension, mutual information, and the aggregate posterior."""
    model = trained.model
    assert isinstance(model, LikelihoodModel)
    each = [model.latent_statistics(batch, **trained.nets) for batch in parts(trained, x, data, seed, "codes")]
    mean, kl, z = (torch.cat(part).cpu() for part in zip(*each, strict=True))
    by_mean, by_kl = codes.active_units(mean, kl)
    apart = kl.shape == mean.shape  # the KL to a VampPrior has no terms a dimension
    result: dict[str, Any] = {
        "active_units": int(by_mean.sum()), "active_units_by_kl": int(by_kl.sum()) if apart else None,
        "dimensions": mean.shape[1], "kl_per_dimension": kl.mean(0).tolist() if apart else None,
        "aggregate_mean": z.mean(0).tolist(), "aggregate_std": z.std(0, correction=0).tolist(),
    }  # fmt: skip
    return result | (information(trained, model, x, data, seed) if isinstance(model, Variational) else {})


def information(trained: Trained, model: Variational, x: Tensor, data: Dataset, seed: int) -> dict[str, Any]:
    """Mutual information of x and z, and what the KL has beyond it: the aggregate posterior's distance from p(z).

    Both with bounds, and whether these are so far apart that the number is no more than a bound.
    """
    some = min(PAIRED_FLOW if model.posterior == "iaf" else PAIRED, len(x))
    seen = [
        model.encode_batch(batch, trained.nets["encoder"])
        for batch in parts(trained, x[:some], data, seed, "information")
    ]
    q = joined([q for _, q, _, _ in seen])
    draw = PosteriorSamples(*(torch.cat(t, 1) for t in zip(*(draw for _, _, draw, _ in seen), strict=True)))
    least, most = codes.mutual_information_bounds(q, draw)
    total = model.kl_divergence(q, draw, **trained.nets).sum(1).mean().item()
    return {
        "mutual_information": least, "mutual_information_at_most": most,
        "mutual_information_is_bound": most - least > LOOSE,
        "mutual_information_examples": some, "mutual_information_limit": log(some),
        "aggregate_from_prior": codes.aggregate_posterior_kl(total, least),
        "aggregate_from_prior_at_least": max(0.0, codes.aggregate_posterior_kl(total, most)),
    }  # fmt: skip


def joined(each: list[Any]) -> Posterior:
    """Posteriors of several blocks of examples as one."""
    fields = zip(*each, strict=True)
    q: Posterior = type(each[0])(*(torch.cat(f) if isinstance(f[0], Tensor) else f[0] for f in fields))
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
        similar = [fidelity.ssim(a, b) for a, b in zip(x.split(size), y.split(size), strict=True)]
        result |= {"psnr_db": fidelity.psnr(x, y).mean().item(), "ssim": torch.cat(similar).mean().item()}
    return result
