"""How long L_5000 of binarised MNIST takes, against the machine's matrix products and against pythae's `get_nll`.

    python3 dev.py run python benchmarks/likelihood_speed.py ../shared/data/binarized_mnist_fixed.npz [OUT] [--images N]

A VAE of Burda et al. (arXiv:1509.00519): 784-200-200, z 50, 200-200-784 with tanh, after a short training.  The rate
counts the decoder's matrix products only; the machine's is that of `ganvas bench`, in this process, before, between and
after.  pythae is compared where it is importable (PYTHONPATH).
"""

import time

import ganvas  # first: it sets how torch's threads wait

import torch
from torch import Tensor, nn

from ganvas.metrics.likelihood import log_likelihood, mean_and_error
from ganvas.training.bench import measure_rates
from _support import load_bits, parser, train_once

K, STEPS, LATENT, HIDDEN, PIXELS = 5000, 2000, 50, 200, 784
FLOPS = 2 * (LATENT * HIDDEN + HIDDEN * HIDDEN + HIDDEN * PIXELS)
"""of the decoder's matrix products for one code"""
MODEL = ganvas.VAE(net="mlp", width=HIDDEN, depth=2, latent=LATENT, activation="tanh", likelihood="bernoulli")
log_prior = MODEL.log_prior()


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
    start = time.perf_counter()
    runs = [log_likelihood(x, encoder, decoder, log_prior, K, seed=seed) for seed in range(3)]
    seconds = (time.perf_counter() - start) / len(runs)
    ours, error = mean_and_error(torch.stack(runs).mean(0))
    noise = torch.stack(runs).mean(1).std().item()
    print(
        f"{len(x)} images: Ganvas {seconds:.2f} s, NLL {-ours:.3f} (standard error over images {error:.2f}, standard "
        f"deviation over seeds {noise:.3f})"
    )
    for at_once in (100, 1000):
        for grad in (True, False):
            start = time.perf_counter()
            with torch.set_grad_enabled(grad):
                theirs = model.get_nll(x, n_samples=K, batch_size=at_once)
            took = time.perf_counter() - start
            print(
                f"  pythae, batch_size {at_once}, gradients {'on' if grad else 'off'}: {took:.1f} s, "
                f"{took / seconds:.1f} times as long, NLL {-theirs:.3f}, difference {-theirs + ours:+.3f}"
            )


def matmul_rate() -> float:
    """The machine's best rate of float32 matrix products, in GFLOP/s."""
    cpu = torch.device("cpu")
    return measure_rates(cpu, [("matmul", torch.float32)], 0).flops["matmul", torch.float32] / 1e9


def main() -> None:
    words = parser(__doc__, data="binarized_mnist_fixed.npz", out="likelihood-speed", images=10_000).parse_args()
    train, test = (load_bits(words.data, split) for split in ("train", "test"))
    trained = train_once(MODEL, train, words.out, steps=STEPS, batch_size=100)
    encoder, decoder = trained.nets["encoder"], trained.nets["decoder"]
    x = trained.domain_scaling()(test.x)
    log_likelihood(x[:20], encoder, decoder, log_prior, K)
    rates = [matmul_rate()]
    seconds, values = 0.0, []
    for i, part in enumerate(x[: words.images].split(1000)):
        start = time.perf_counter()
        values.append(log_likelihood(part, encoder, decoder, log_prior, K, seed=i))
        seconds += time.perf_counter() - start
        rates.append(matmul_rate())
    n, (mean, error) = sum(map(len, values)), mean_and_error(torch.cat(values))
    rate, machine = FLOPS * K * n / seconds / 1e9, max(rates)
    print(f"L_{K} of {n} images: {mean:.2f} +- {error:.2f} nats in {seconds:.1f} s")
    print(
        f"{rate:.0f} GFLOP/s of {machine:.0f} ({min(rates):.0f} to {machine:.0f}, mean {sum(rates) / len(rates):.0f}): "
        f"{rate / machine:.0%} of the best, {rate * len(rates) / sum(rates):.0%} of the mean"
    )
    compare(x[:100], encoder, decoder)


if __name__ == "__main__":
    main()
