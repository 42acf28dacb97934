"""Our training step and epoch against the plain PyTorch loop of a tutorial: same networks, same optimiser.

    python3 dev.py run python benchmarks/step_time.py ../shared/data/mnist.npz

The tutorial's side is what one would write from the PyTorch documentation: a Dataset that turns each image into a
PIL image and then into a tensor (what `ToTensor` does), a DataLoader with shuffling in the main process, Adam with
its defaults, `zero_grad` / `backward` / `step`.  Both sides run in one process and in turns, with the same number of
threads and OMP_WAIT_POLICY=PASSIVE; the table has medians over rounds, and the ratios of the medians.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import ganvas  # before torch: it sets how torch's threads wait

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ganvas.data import Dataset, Scaling, Stream, load
from ganvas.model import Model
from ganvas.config import TrainConfig
from ganvas.training.loop import initialize_state, train
from _support import matmul_rate, parser, times_in_turns

CPU = torch.device("cpu")
BATCH, SHAPE = 64, (1, 28, 28)
LOG = 50
"""steps between two lines of the log, on both sides"""


class Pictures(TorchDataset):
    """Images through PIL, one by one, as torchvision's MNIST with ToTensor reads them."""

    def __init__(self, data: Dataset, scale: Callable[[Tensor], Tensor]) -> None:
        self.images, self.scale = data.x[:, 0].numpy(), scale

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        picture = Image.fromarray(self.images[index])
        tensor = torch.from_numpy(np.array(picture, np.uint8, copy=True)).view(28, 28, 1)
        return self.scale(tensor.permute(2, 0, 1).contiguous().float().div(255))


def tutorial_vae(loader: Iterable[Tensor], model: ganvas.VAE) -> Iterator[None]:
    """The VAE of the PyTorch examples: log-variance head, summed losses over the batch."""
    nets = model.networks(SHAPE)
    encoder, decoder = (without_head(nets[name]) for name in ("encoder", "decoder"))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=model.lr)
    running = 0.0
    while True:
        for x in loader:
            optimizer.zero_grad()
            mu, log_variance = encoder(x).chunk(2, dim=1)
            z = mu + torch.exp(0.5 * log_variance) * torch.randn_like(mu)
            reconstruction = bce(decoder(z), x, reduction="sum")
            kl = -0.5 * torch.sum(1 + log_variance - mu.pow(2) - log_variance.exp())
            loss = (reconstruction + kl) / len(x)
            loss.backward()
            running += loss.item()
            optimizer.step()
            yield


def without_head(net: nn.Module) -> nn.Sequential:
    """The numbers that a network returns, not the distribution that our last layer makes of them."""
    assert isinstance(net, nn.Sequential)
    return net[:-1]


def tutorial_gan(loader: Iterable[Tensor], model: ganvas.GAN) -> Iterator[None]:
    """The GAN of the PyTorch tutorials: labels of ones and zeros, two optimisers."""
    nets = model.networks(SHAPE)
    G, D = nets["G"], nets["D"]
    optimizer_g = torch.optim.Adam(G.parameters(), lr=model.lr, betas=model.betas)
    optimizer_d = torch.optim.Adam(D.parameters(), lr=model.lr, betas=model.betas)
    running = [0.0, 0.0]
    while True:
        for x in loader:
            ones, zeros = torch.ones(len(x), 1), torch.zeros(len(x), 1)
            D.zero_grad()
            loss_real = bce(D(x), ones)
            loss_real.backward()
            fake = G(torch.randn(len(x), model.latent))
            loss_fake = bce(D(fake.detach()), zeros)
            loss_fake.backward()
            optimizer_d.step()
            G.zero_grad()
            loss_g = bce(D(fake), ones)
            loss_g.backward()
            optimizer_g.step()
            running = [running[0] + (loss_real + loss_fake).item(), running[1] + loss_g.item()]
            yield


def ganvas_steps(data: Dataset, model: Model) -> Iterator[None]:
    """Our loop, with all that it does in a run: EMA, meter, the reading of the meter every LOG steps."""
    state = initialize_state(model, data.shape, 0, CPU)
    for step in train(model, data, TrainConfig(steps=1_000_000_000, batch_size=BATCH), state):
        if step % LOG == 0:
            state.meter.pop_means()
        yield


def load_batches(data: Dataset, model: Model) -> Iterator[None]:
    """Our batches alone."""
    for _ in Stream(data, batch=BATCH, seed=0, scaling=Scaling.fit(data.x, model.pixel_range)):
        yield


def iterate(loader: Iterable[Tensor]) -> Iterator[None]:
    """The tutorial's batches alone."""
    while True:
        for _ in loader:
            yield


def flops(model: Model, data: Dataset) -> float:
    """Floating-point operations of the matrix products in one of our steps, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    work = ganvas_steps(data, model)
    next(work)
    with FlopCounterMode(display=False) as counter:
        next(work)
    return float(counter.get_total_flops())


def main() -> None:
    options = parser(__doc__, data="mnist.npz", steps=300, rounds=5, threads=2).parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    data = load(str(options.data))
    ceiling = matmul_rate([1024])
    epoch = len(data) // BATCH
    print(f"{len(data)} images, batch {BATCH}, {options.threads} threads, torch {torch.__version__}, "
          f"spin {os.environ.get('GOMP_SPINCOUNT')}, matrix products {ceiling / 1e9:.0f} GFLOP/s")  # fmt: skip
    print(f"{'':<26}{'ours':>12}{'tutorial':>12}{'ratio':>8}")
    jobs: list[tuple[str, Model, Callable[..., Iterator[None]], Callable[[Tensor], Tensor]]] = [
        ("VAE 784-400-20", ganvas.VAE(net="mlp", latent=20, likelihood="bernoulli"), tutorial_vae, lambda x: x),
        ("GAN 64-400-400-784", ganvas.GAN(net="mlp"), tutorial_gan, lambda x: (x - 0.5) / 0.5),
    ]
    for name, model, tutorial, scale in jobs:
        loader = DataLoader(Pictures(data, scale), BATCH, shuffle=True, drop_last=True)
        loaded = list(islice(loader, 20))
        works = {
            "ours": ganvas_steps(data, model), "tutorial": tutorial(loader, model), "step": tutorial(loaded, model),
            "batches": load_batches(data, model), "loading": iterate(loader),
        }  # fmt: skip
        t = times_in_turns(works, options.steps, options.rounds)
        row(f"{name}, epoch, s", t["ours"] * epoch, t["tutorial"] * epoch, 1)
        row("  step with data, ms", t["ours"], t["tutorial"], 1e3)
        row("  step without data, ms", t["ours"] - t["batches"], t["step"], 1e3)
        row("  data, ms", t["batches"], t["loading"], 1e3)
        rate = flops(model, data) / t["ours"]
        print(f"  data's share of our step {t['batches'] / t['ours']:.1%}; "
              f"matrix products {rate / 1e9:.0f} GFLOP/s, {rate / ceiling:.0%} of the machine's rate")  # fmt: skip


def row(name: str, ours: float, other: float, scale: float) -> None:
    print(f"{name:<26}{ours * scale:>12.3f}{other * scale:>12.3f}{other / ours:>8.2f}")


if __name__ == "__main__":
    main()
