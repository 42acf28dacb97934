"""`ganvas.evaluate`: the numbers of a trained autoencoder or VAE on held-out data, each with how it was taken."""

from collections.abc import Callable, Iterator, Sequence
from math import log
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from .artifact import NO_ENCODER, Trained, at_least_one, at_once
from .data import Collection, Source, View
from .errors import UserError, did_you_mean
from .metrics import codes, fidelity
from .metrics.likelihood import log_likelihood, mean_and_error
from .model import Batch, Encodes, Samples, device_of, name_of
from .models import LadderVAE
from .models.variational import Variational, WithLikelihood
from .randomness import generator, reseed

METRICS = ("elbo", "bound", "codes", "reconstruction")
PAIRED = 2000
"""examples on which the mutual information is estimated"""
TOGETHER = 64
"""examples, and samples of each, of a hierarchy that share a random stream"""


@torch.random.fork_rng(devices=[])
@torch.no_grad()
def evaluate(
    trained: Trained,
    data: Source,
    view: View | None = None,
    *,
    metrics: Sequence[str] = METRICS,
    k: int = 500,
    draws: int = 10,
    n: int | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure a trained autoencoder or VAE on `data`; values in nats an example unless their name says otherwise.

    `metrics` are those of `METRICS`: "elbo" (with its two terms, mean of `draws` samples z an example; beta plays no
    part), "bound" (the importance weighted bound L_k with exactly `k` samples, Burda et al., arXiv:1509.00519), "codes"
    (active units, KL a dimension, mutual information, aggregate posterior) and "reconstruction" (PSNR, SSIM).
    `..._error` is a standard error over examples.  The first `n` examples are taken, or all.  The same seed gives the
    same numbers, whatever the sizes of batches.  Raises UserError for data that do not fit, and for a GAN.
    """
    trained.needs(Encodes, NO_ENCODER)
    for name in metrics:
        if name not in METRICS:
            raise UserError(
                f"there is no metric {name!r}.{did_you_mean(name, METRICS)} There are: {', '.join(METRICS)}"
            )
    collection = trained.fitting(data, view)
    collection = collection.at(torch.arange(min(len(collection), at_least_one(n or len(collection), "n"))))
    at_least_one(draws, "draws")
    result: dict[str, Any] = {
        "model": name_of(trained.model), "step": trained.about.get("step"), "data": collection.name,
        "examples": len(collection), "seed": seed,
    }  # fmt: skip
    x = seen(trained, collection, seed)
    if isinstance(trained.model, WithLikelihood):
        if "elbo" in metrics:
            progress(f"ELBO of {len(x)} examples, {draws} samples each")
            result |= elbo(trained, x, collection, draws, seed)
        if "bound" in metrics:
            progress(f"importance weighted bound of {len(x)} examples, {at_least_one(k, 'k')} samples each")
            result |= bound(trained, x, collection, k, seed)
        if "codes" in metrics:
            progress("latent codes")
            result |= latent(trained, x, collection, seed)
    if "reconstruction" in metrics:
        result |= rebuilt(trained, x, collection)
    return result


def seen(trained: Trained, data: Collection, seed: int) -> Tensor:
    """The examples in the model's span; bits drawn once where the model draws them anew at each use."""
    x = trained.inputs(data.x)
    if getattr(trained.model, "binarize", "no") != "dynamic":
        return x
    return torch.bernoulli(x, generator=generator(torch.device("cpu"), seed, "evaluate"))


def parts(trained: Trained, x: Tensor, data: Collection, seed: int, what: str) -> Iterator[Batch]:
    """Examples in chunks, each with random numbers of its own."""
    device = device_of(trained.nets)
    size = at_once(x)
    for i in range(0, len(x), size):
        reseed(device, seed, what, i)
        yield Batch(x[i : i + size], None if data.labels is None else data.labels[i : i + size]).to(device)


def elbo(trained: Trained, x: Tensor, data: Collection, draws: int, seed: int) -> dict[str, Any]:
    """The bound, -E log p(x|z) and KL(q(z|x) || p(z)): equation 7 of arXiv:1312.6114."""
    model = trained.model
    assert isinstance(model, WithLikelihood)
    terms = []
    for batch in parts(trained, x, data, seed, "elbo"):  # one draw after the other: memory stays that of one
        each = [torch.stack(model.elbo_terms(batch, **trained.nets)).double().cpu() for _ in range(draws)]
        terms.append(sum(each, torch.zeros_like(each[0])) / draws)
    nll, kl = torch.cat(terms, 1)
    value, error = mean_and_error(-nll - kl)
    return {
        "elbo": value, "elbo_error": error, "elbo_bits_per_dimension": -value / (x[0].numel() * log(2)),
        "reconstruction_nats": nll.mean().item(), "kl_nats": kl.mean().item(), "elbo_draws": draws,
    }  # fmt: skip


def bound(trained: Trained, x: Tensor, data: Collection, k: int, seed: int) -> dict[str, Any]:
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
            values[index] = log_likelihood(x[index], encoder, decoder, model.prior_of(**nets), k, seed=seed)
    value, error = mean_and_error(values)
    bits = -value / (x[0].numel() * log(2))
    return {"bound": value, "bound_error": error, "bound_bits_per_dimension": bits, "bound_k": k}


def of_hierarchy(model: LadderVAE, nets: nn.ModuleDict, x: Tensor, k: int, seed: int) -> Float64[Tensor, " n"]:
    """L_k of n examples, whose noise depends on the seed, k and the blocks of `TOGETHER` examples and samples."""
    device, values = device_of(nets), []
    for i in range(0, len(x), TOGETHER):
        some, log_w = x[i : i + TOGETHER].to(device), []
        for j in range(0, k, TOGETHER):
            reseed(device, seed, "bound", k, i, j)
            log_w.append(model.log_weights(some, min(TOGETHER, k - j), **nets).double().logsumexp(0).cpu())
        values.append(torch.stack(log_w).logsumexp(0) - log(k))
    return torch.cat(values)


class OfClass(nn.Module):
    """A conditional network, given one label with whatever comes."""

    def __init__(self, net: nn.Module, label: int) -> None:
        super().__init__()
        self.net, self.label = net, label

    def forward(self, x: Tensor) -> Any:
        return self.net(x, torch.full((len(x),), self.label, device=x.device))


def latent(trained: Trained, x: Tensor, data: Collection, seed: int) -> dict[str, Any]:
    """Active units, KL a dimension, mutual information, and the aggregate posterior."""
    model = trained.model
    assert isinstance(model, WithLikelihood)
    each = [model.code_terms(batch, **trained.nets) for batch in parts(trained, x, data, seed, "codes")]
    mean, kl, z = (torch.cat(part).cpu() for part in zip(*each, strict=True))
    by_mean, by_kl = codes.active_units(mean, kl)
    result: dict[str, Any] = {
        "active_units": int(by_mean.sum()), "active_units_by_kl": int(by_kl.sum()), "dimensions": mean.shape[1],
        "kl_per_dimension": kl.mean(0).tolist(),
        "aggregate_mean": z.mean(0).tolist(), "aggregate_std": z.std(0, correction=0).tolist(),
    }  # fmt: skip
    device, some = device_of(trained.nets), min(PAIRED, len(x))
    if isinstance(model, Variational) and model.posterior != "iaf":  # a flow's density at other codes is slow
        reseed(device, seed, "information")
        batch = Batch(x[:some], None if data.labels is None else data.labels[:some]).to(device)
        _, q, draw, _ = model.parts(batch, trained.nets["encoder"])
        information = codes.mutual_information(q, draw)
        total = q.kl(draw).sum(1).mean().item()
        result |= {
            "mutual_information": information, "mutual_information_examples": some,
            "aggregate_from_prior": codes.distance_from_prior(total, information),
        }  # fmt: skip
    return result


def rebuilt(trained: Trained, x: Tensor, data: Collection) -> dict[str, Any]:
    """Error of reconstructions from the posteriors' means, in the units of the data: pixels in [0, 1]."""
    labels = data.labels if trained.model.labelled else None
    encoding, generating = trained.needs(Encodes, NO_ENCODER), trained.needs(Samples, "has no decoder")
    z = trained.chunks(lambda *part: encoding.encode(*part, **trained.nets), x, labels)
    y = trained.chunks(lambda *part: generating.generate(*part, **trained.nets), z, labels)
    result: dict[str, Any] = {"reconstruction_mse": (x - y).square().mean().item()}
    if x.ndim == 4:
        similar = [fidelity.ssim(a, b) for a, b in zip(x.split(at_once(x)), y.split(at_once(x)), strict=True)]
        result |= {"psnr_db": fidelity.psnr(x, y).mean().item(), "ssim": torch.cat(similar).mean().item()}
    return result
