"""`ganvas.evaluate`: the numbers of a trained autoencoder or VAE on held-out data, each with how it was taken."""

from collections.abc import Callable, Iterator, Sequence
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from .artifact import CHUNK, NO_ENCODER, Trained, at_least_one
from .data import Collection, Source, View
from .errors import UserError, did_you_mean
from .metrics import codes, fidelity
from .metrics.likelihood import log_likelihood, mean_and_error
from .model import Encodes, device_of, name_of
from .models.variational import Variational
from .posteriors import Draw, Flow
from .randomness import generator, reseed

METRICS = ("elbo", "bound", "codes", "reconstruction")
PAIRED = 2000
"""examples on which the mutual information is estimated"""


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
    if isinstance(trained.model, Variational):
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


def parts(
    trained: Trained, x: Tensor, data: Collection, seed: int, what: str
) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
    """Examples and the labels that the networks are given, in chunks, each with random numbers of its own."""
    device = device_of(trained.nets)
    labels = data.labels if trained.model.labelled and data.labels is not None else None
    for i in range(0, len(x), CHUNK):
        reseed(device, seed, what, i)
        y = () if labels is None else (labels[i : i + CHUNK].to(device),)
        yield x[i : i + CHUNK].to(device), y


def elbo(trained: Trained, x: Tensor, data: Collection, draws: int, seed: int) -> dict[str, Any]:
    """The bound, -E log p(x|z) and KL(q(z|x) || p(z)): equation 7 of arXiv:1312.6114."""
    model, encoder, decoder = trained.model, trained.nets["encoder"], trained.nets["decoder"]
    assert isinstance(model, Variational)
    nlls, kls = [], []
    for part, y in parts(trained, x, data, seed, "elbo"):
        q = encoder(part, *y)
        total, divergence = torch.zeros(len(part)), torch.zeros(len(part))
        for _ in range(draws):  # one after the other: memory stays that of one
            draw = q.sample()
            total += decoder(draw.z[0], *y).nll(part)[0].cpu() / draws
            divergence += model.divergence(q, draw, **trained.nets).sum(1).cpu() / draws
        nlls.append(total)
        kls.append(divergence)
    nll, kl = torch.cat(nlls).double(), torch.cat(kls).double()
    value, error = mean_and_error(-nll - kl)
    return {
        "elbo": value, "elbo_error": error, "elbo_bits_per_dimension": -value / (x[0].numel() * log(2)),
        "reconstruction_nats": nll.mean().item(), "kl_nats": kl.mean().item(), "elbo_draws": draws,
    }  # fmt: skip


def bound(trained: Trained, x: Tensor, data: Collection, k: int, seed: int) -> dict[str, Any]:
    """The importance weighted bound; of a conditional model, on log p(x|y)."""
    model, nets = trained.model, trained.nets
    assert isinstance(model, Variational)
    values = torch.empty(len(x), dtype=torch.float64)
    groups: list[tuple[Tensor, int | None]] = [(torch.arange(len(x)), None)]
    if model.conditional and data.labels is not None:
        groups = [((data.labels == c).nonzero()[:, 0], int(c)) for c in data.labels.unique()]
    for index, label in groups:
        encoder, decoder = (net if label is None else OfClass(net, label) for net in (nets["encoder"], nets["decoder"]))
        values[index] = log_likelihood(
            x[index], encoder, decoder, lambda z: model.log_prior(z, **nets), k, seed=seed,
        )  # fmt: skip
    value, error = mean_and_error(values)
    bits = -value / (x[0].numel() * log(2))
    return {"bound": value, "bound_error": error, "bound_bits_per_dimension": bits, "bound_k": k}


class OfClass(nn.Module):
    """A conditional network, given one label with whatever comes."""

    def __init__(self, net: nn.Module, label: int) -> None:
        super().__init__()
        self.net, self.label = net, label

    def forward(self, x: Tensor) -> Any:
        return self.net(x, torch.full((len(x),), self.label, device=x.device))


def latent(trained: Trained, x: Tensor, data: Collection, seed: int) -> dict[str, Any]:
    """Active units, KL a dimension, mutual information, and the aggregate posterior."""
    encoder = trained.nets["encoder"]
    means, kls, zs = [], [], []
    for part, y in parts(trained, x, data, seed, "codes"):
        q = encoder(part, *y)
        draw = q.sample()
        means.append(q.mean.cpu())
        kls.append(q.kl(draw).cpu())
        zs.append(draw.z[0].cpu())
    mean, kl, z = torch.cat(means), torch.cat(kls), torch.cat(zs)
    by_mean, by_kl = codes.active_units(mean, kl) if len(x) > 1 else (kl[0] > codes.ACTIVE,) * 2
    result: dict[str, Any] = {
        "active_units": int(by_mean.sum()), "active_units_by_kl": int(by_kl.sum()), "dimensions": mean.shape[1],
        "kl_per_dimension": kl.mean(0).tolist(),
        "aggregate_mean": z.mean(0).tolist(), "aggregate_std": z.std(0).tolist() if len(x) > 1 else None,
    }  # fmt: skip
    some = min(PAIRED, len(x))
    device = device_of(trained.nets)
    reseed(device, seed, "information")
    y = (data.labels[:some].to(device),) if trained.model.labelled and data.labels is not None else ()
    q = encoder(x[:some].to(device), *y)
    if not isinstance(q, Flow):  # whose density at other examples' codes takes a pass a dimension
        drawn: Draw = q.sample()
        information = codes.mutual_information(q, drawn)
        total = q.kl(drawn).sum(1).mean().item()
        result |= {
            "mutual_information": information, "mutual_information_examples": some,
            "aggregate_from_prior": codes.distance_from_prior(total, information),
        }  # fmt: skip
    return result


def rebuilt(trained: Trained, x: Tensor, data: Collection) -> dict[str, Any]:
    """Error of reconstructions from the posteriors' means, in the units of the data: pixels in [0, 1]."""
    labels = data.labels if trained.model.labelled else None
    z = trained.chunks(lambda part, *y: trained.model.encode(part, *y, **trained.nets), x, labels)  # type: ignore[attr-defined]
    y = trained.chunks(lambda part, *y: trained.model.generate(part, *y, **trained.nets), z, labels)  # type: ignore[attr-defined]
    result: dict[str, Any] = {"reconstruction_mse": (x - y).square().mean().item()}
    if x.ndim == 4:
        similar = [fidelity.ssim(a, b) for a, b in zip(x.split(CHUNK), y.split(CHUNK), strict=True)]
        result |= {"psnr_db": fidelity.psnr(x, y).mean().item(), "ssim": torch.cat(similar).mean().item()}
    return result
