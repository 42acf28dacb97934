"""The bounds on log p(x) of each example: the ELBO in its two terms, and the importance-weighted bound.

A VAE learns the density of standardised vectors, log p(u).  Returned is that of the data in their own units, by the
change of variables x = m + s u: log p(x) = log p(u) - the sum of the columns' log s.  The noise is a function of the
seed and of where an example stands.
"""

from collections.abc import Callable, Iterator
from math import log
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from ..metrics.likelihood import log_likelihood
from ..model import Batch, device_of
from ..models._variational import LikelihoodModel, Variational
from ..randomness import reseed

if TYPE_CHECKING:
    from .trained import Trained

EXAMPLES_PER_STREAM = 64
"""examples, and samples of each, that share a random stream, whatever is computed at once"""
MAX_DECODED_NUMBERS = 2**24
"""numbers of examples, about, that a hierarchy decodes at once, with all that their networks hold"""
PerExample = Float64[Tensor, " n"]


def batches(trained: "Trained", x: Tensor, y: Tensor | None, seed: int, key: str) -> Iterator[Batch]:
    """Examples and their labels in blocks, each with random numbers of its own."""
    device = trained.device
    for i in range(0, len(x), EXAMPLES_PER_STREAM):
        reseed(device, seed, key, i)
        part = slice(i, i + EXAMPLES_PER_STREAM)
        yield Batch(x[part], None if y is None else y[part]).to(device)


def elbo_terms(
    trained: "Trained", model: LikelihoodModel, x: Tensor, y: Tensor | None, draws: int, seed: int
) -> tuple[PerExample, PerExample]:
    """-E log p(x|z), from so many samples z ~ q(z|x), and KL(q(z|x) || p(z)) of n examples as the model sees them.

    In nats; minus the ELBO is their sum.  Source: equation 7 of arXiv:1312.6114.
    """
    terms = [model.elbo_terms(batch, draws, **trained.nets) for batch in batches(trained, x, y, seed, "elbo")]
    nll, kl = (torch.cat(part).cpu() for part in zip(*terms, strict=True))
    return nll + trained.domain_scaling().log_volume, kl


def importance_weighted_bound(
    trained: "Trained", model: LikelihoodModel, x: Tensor, y: Tensor | None, k: int, seed: int
) -> PerExample:
    """L_k of n examples as the model sees them, in nats; of a conditional model, on log p(x|y)."""
    nets, values, device = trained.nets, torch.empty(len(x), dtype=torch.float64), trained.device

    def with_label(net: nn.Module, label: int | None) -> Callable[[Tensor], Any]:
        return net if label is None else lambda x: net(x, torch.full((len(x),), label, device=x.device))

    if not isinstance(model, Variational):
        values = bound_from_weights(model, nets, x, y, k, seed)
    else:  # the same by a path that fuses layers, for an encoder and a decoder of one code
        log_prior = model.log_prior(**nets)
        for label in [None] if y is None or not model.conditional else y.unique().tolist():
            q, p = (with_label(nets[name], label) for name in ("encoder", "decoder"))
            index = slice(None) if label is None else y == label
            values[index] = log_likelihood(x[index], q, p, log_prior, k, seed=seed, device=device)
    return values - trained.domain_scaling().log_volume


def bound_from_weights(
    model: LikelihoodModel, nets: nn.ModuleDict, x: Tensor, y: Tensor | None, k: int, seed: int
) -> PerExample:
    """L_k of n examples, of a conditional model with their labels y; the noise depends on the seed, k and blocks."""
    device, values = device_of(nets), []
    rows = max(1, MAX_DECODED_NUMBERS // (16 * x[0].numel()))
    n, samples = min(EXAMPLES_PER_STREAM, rows), min(EXAMPLES_PER_STREAM, max(1, rows // EXAMPLES_PER_STREAM))
    for i in range(0, len(x), n):
        part, log_w = x[i : i + n].to(device), []
        labels = (y[i : i + n].to(device),) if y is not None and model.is_conditional else ()
        for j in range(0, k, samples):
            reseed(device, seed, "bound", k, i, j)
            log_w.append(model.log_weights(part, min(samples, k - j), *labels, **nets).double().logsumexp(0).cpu())
        values.append(torch.stack(log_w).logsumexp(0) - log(k))
    return torch.cat(values)
