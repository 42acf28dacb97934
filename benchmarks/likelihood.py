"""How long L_5000 of binarised MNIST takes, against the machine's matrix products and against pythae's `get_nll`.

    python3 dev.py run python benchmarks/likelihood.py ../shared/data/binarized_mnist_fixed.npz 10000

A VAE of Burda et al. (arXiv:1509.00519): 784-200-200, z 50, 200-200-784 with tanh, after a short training.  The rate
counts the decoder's matrix products only; the machine's is the best of square float32 products of 1024 to 4096, in
this process, before, between and after.  pythae is compared where it is importable (PYTHONPATH).
"""

import sys
import time
from math import log, pi
from typing import NamedTuple

import ganvas  # noqa: F401 -- first: it sets how torch's threads wait

import numpy as np
import torch
from torch import Tensor, nn


from ganvas.distributions.likelihoods import BernoulliHead
from ganvas.metrics.likelihood import log_likelihood, mean_and_error

K, STEPS, LATENT, HIDDEN, PIXELS = 5000, 2000, 50, 200, 784
FLOPS = 2 * (LATENT * HIDDEN + HIDDEN * HIDDEN + HIDDEN * PIXELS)
"""of the decoder's matrix products for one code"""


class Draw(NamedTuple):
    z: Tensor
    log_q: Tensor


class Posterior(NamedTuple):
    mean: Tensor
    scale: Tensor

    def sample(self, k: int) -> Draw:
        noise = torch.randn(k, *self.mean.shape)
        z = torch.addcmul(self.mean, self.scale, noise)
        return Draw(z, noise.square().mul_(-0.5).sub_(self.scale.log() + 0.5 * log(2 * pi)))


class GaussianHead(nn.Module):
    def forward(self, raw: Tensor) -> Posterior:
        mean, log_variance = raw.chunk(2, 1)
        return Posterior(mean, (0.5 * log_variance).exp())


def log_prior(z: Tensor) -> Tensor:
    return -0.5 * (z.square().sum(2) + z.shape[2] * log(2 * pi))


def body(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, outputs)]


def trained(x: Tensor) -> tuple[nn.Sequential, nn.Sequential]:
    """An encoder and a decoder after a few seconds of training."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), *body(PIXELS, 2 * LATENT), GaussianHead())
    decoder = nn.Sequential(*body(LATENT, PIXELS), nn.Unflatten(1, (1, 28, 28)), BernoulliHead(True))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    for _ in range(STEPS):
        batch = x[torch.randint(len(x), (100,))]
        q = encoder(batch)
        z, log_q = q.sample(1)
        loss = (decoder(z[0]).nll(batch) + log_q.sum(2) - log_prior(z)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return encoder.requires_grad_(False), decoder.requires_grad_(False)


def matmul_rate() -> float:
    """The best rate of square float32 products, in GFLOP/s."""
    best = 0.0
    for n in (1024, 2048, 4096):
        a, b, out = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
        for _ in range(4 + 2**14 // n):
            began = time.perf_counter()
            torch.mm(a, b, out=out)
            best = max(best, 2 * n**3 / (time.perf_counter() - began) / 1e9)
    return best


def pythae_model(encoder: nn.Sequential, decoder: nn.Sequential) -> nn.Module | None:
    """pythae's VAE with the same weights; None where pythae is not importable."""
    try:
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
    except ImportError as error:
        print(f"pythae is not importable ({error}): no comparison")
        return None

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = encoder

        def forward(self, x: Tensor) -> ModelOutput:
            q = self.net(x)
            return ModelOutput(embedding=q.mean, log_covariance=2 * q.scale.log())

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = decoder[:-1]

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.net(z).sigmoid())

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce")
    return VAE(config, Encoder(), Decoder()).eval()


def compare(x: Tensor, encoder: nn.Sequential, decoder: nn.Sequential) -> None:
    """Our seconds and pythae's for the same images and weights."""
    model = pythae_model(encoder, decoder)
    if model is None:
        return
    began = time.perf_counter()
    runs = [log_likelihood(x, encoder, decoder, log_prior, K, seed=seed) for seed in range(3)]
    seconds = (time.perf_counter() - began) / len(runs)
    ours, error = mean_and_error(torch.stack(runs).mean(0))
    noise = torch.stack(runs).mean(1).std().item()
    print(
        f"{len(x)} images: Ganvas {seconds:.2f} s, NLL {-ours:.3f} (standard error over images {error:.2f}, standard "
        f"deviation over seeds {noise:.3f})"
    )
    for at_once in (100, 1000):
        for grad in (True, False):
            began = time.perf_counter()
            with torch.set_grad_enabled(grad):
                theirs = model.get_nll(x, n_samples=K, batch_size=at_once)
            took = time.perf_counter() - began
            print(
                f"  pythae, batch_size {at_once}, gradients {'on' if grad else 'off'}: {took:.1f} s, "
                f"{took / seconds:.1f} times as long, NLL {-theirs:.3f}, difference {-theirs + ours:+.3f}"
            )


def main(path: str, n: int) -> None:
    bits = {split: np.unpackbits(np.load(path)[f"bits_{split}"], axis=1) for split in ("train", "test")}
    train, test = (torch.from_numpy(bits[s]).float().reshape(-1, 1, 28, 28) for s in ("train", "test"))
    encoder, decoder = trained(train)
    log_likelihood(test[:20], encoder, decoder, log_prior, K)
    rates = [matmul_rate()]
    seconds, values = 0.0, []
    for i, part in enumerate(test[:n].split(1000)):
        began = time.perf_counter()
        values.append(log_likelihood(part, encoder, decoder, log_prior, K, seed=i))
        seconds += time.perf_counter() - began
        rates.append(matmul_rate())
    mean, error = mean_and_error(torch.cat(values))
    rate, machine = FLOPS * K * n / seconds / 1e9, max(rates)
    print(f"L_{K} of {n} images: {mean:.2f} +- {error:.2f} nats in {seconds:.1f} s")
    print(
        f"{rate:.0f} GFLOP/s of {machine:.0f} ({min(rates):.0f} to {machine:.0f}, mean {sum(rates) / len(rates):.0f}): "
        f"{rate / machine:.0%} of the best, {rate * len(rates) / sum(rates):.0%} of the mean"
    )
    compare(test[:100], encoder, decoder)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
