"""The importance-weighted bound on log p(x): the held-out likelihood that papers on VAEs report.

    L_k(x)  =  log 1/k sum_i w_i,    w_i = p(x|z_i) p(z_i) / q(z_i|x),    z_1 ... z_k ~ q(z|x)

Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders, arXiv:1509.00519, equation 8.  Its expectation is at
most log p(x), grows with k, and reaches log p(x) as k grows; k = 1 is the ELBO with a sampled KL term.  Nats per image.

The noise of image i and sample j is a function of the seed, k, i and j, whatever the batches and the threads.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import log, nan
from threading import Lock

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ..distributions.likelihoods import Likelihood
from ..distributions.posteriors import Posterior
from ..errors import UserError
from ..randomness import reseed
from .fused import fused_nll, split_decoder

ROWS_PER_STREAM = 2**14
"""decoder rows, about, that share a random stream: whole images, so that no image is encoded twice"""
MAX_IMAGES_PER_STREAM = 256
"""most images that share a random stream"""
MAX_CODE_NUMBERS = 2**20
"""numbers of z that are drawn at once: 4 MB"""
DECODER_MEMORY = {"cpu": 2**26, "cuda": 2**30}
"""bytes for what a decoder computes at once, in each thread"""
ACTIVATIONS_PER_ROW = 16
"""a decoder's activations for one row, in sizes of an example: it takes some 10 in a network of convolutions"""
MIN_FUSED_SAMPLES = 128
"""samples an image from which the fused path is worth its preparation for each image"""


def log_likelihood(
    x: Float[Tensor, "n *shape"],
    encoder: Callable[[Tensor], Posterior],
    decoder: Callable[[Tensor], Likelihood],
    log_prior: Callable[[Tensor], Tensor],
    k: int,
    *,
    seed: int = 0,
    max_rows: int | None = None,
    device: torch.device | None = None,
) -> Float64[Tensor, " n"]:
    """L_k of n images, in nats each, from exactly k samples an image; each image is encoded once.

    `encoder(x)` is the posterior of x (b x shape); `decoder(z)` of n codes (n x d) has `nll(x)`, -log p(x|z) in
    nats for n = samples x b rows, samples first; `log_prior(z)` of k x b x d is log p(z), k x b.  Networks are in
    evaluation mode, on one `device`, by default that of x.  `max_rows`, the decoder rows computed at once, follows
    from the memory.
    """
    if k < 1:
        raise UserError(f"importance_samples={k}: give 1 sample an image or more")
    device = device or x.device
    if max_rows is None:
        memory = DECODER_MEMORY.get(device.type, DECODER_MEMORY["cuda"])
        max_rows = max(1, memory // (4 * ACTIVATIONS_PER_ROW * x[0].numel()))
    can_fuse = device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    fused_decoder = split_decoder(decoder) if can_fuse and k >= MIN_FUSED_SAMPLES else None
    images_per_stream, noise_lock = max(1, min(MAX_IMAGES_PER_STREAM, ROWS_PER_STREAM // k)), Lock()

    @torch.inference_mode()
    def bound_of_stream(first: int) -> Tensor:
        """L_k of the images that share a random stream; `first` is the index of the first."""
        images = x[first : first + images_per_stream].to(device)
        q = encoder(images)
        b, d = q.mean.shape
        size, log_sum = max(1, MAX_CODE_NUMBERS // (b * d)), images.new_full((b,), -torch.inf, dtype=torch.float64)
        for j in range(0, k, size):
            with noise_lock:
                reseed(images.device, "likelihood", seed, k, first, j)
                z, log_q = q.sample(min(size, k - j))
            nll = fused_nll(fused_decoder, images, z) if fused_decoder else batched_nll(decoder, images, z, max_rows)
            prior = torch.cat([log_prior(part) for part in z.split(max(1, max_rows // b))])
            log_sum = torch.logaddexp(log_sum, (prior.double() - log_q.sum(2) - nll).logsumexp(0))
        return (log_sum - log(k)).cpu()

    # the posteriors draw from the device's own generator
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        parts = map_in_threads(bound_of_stream, range(0, len(x), images_per_stream), device)
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)


def mean_and_error(values: Float[Tensor, " n"]) -> tuple[float, float]:
    """The mean over images and its standard error, std / sqrt(n)."""
    error = values.std().item() / len(values) ** 0.5 if len(values) > 1 else nan
    return values.mean().item(), error


def batched_nll(
    decoder: Callable[[Tensor], Likelihood], x: Float[Tensor, "b *shape"], z: Float[Tensor, "k b d"], max_rows: int
) -> Float[Tensor, "k b"]:
    """-log p(x|z) in nats, from at most `max_rows` decoder rows at once."""
    size, columns = min(len(x), max_rows), []
    for images, codes in zip(x.split(size), z.split(size, 1), strict=True):
        blocks = codes.split(max(1, max_rows // size))
        columns.append(torch.cat([decoder(block.flatten(0, 1)).nll(images) for block in blocks]))
    return torch.cat(columns, 1)


def map_in_threads(function: Callable[[int], Tensor], items: range, device: torch.device) -> list[Tensor]:
    """The function of each item, in order; on processors, with one thread an item rather than all threads on each."""
    threads = torch.get_num_threads()  # one that works alone never waits for others after each small operation
    # autocast is a thread's own affair: threads of ours would not have it
    workers = min(threads, len(items)) if device.type == "cpu" and not torch.is_autocast_enabled("cpu") else 1
    if workers <= 1:
        return [function(i) for i in items]
    pool = ThreadPoolExecutor(workers, initializer=partial(torch.set_num_threads, threads // workers))
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
