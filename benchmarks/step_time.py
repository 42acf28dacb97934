"""Our training step and epoch against the plain PyTorch loop of a tutorial: same networks, same optimiser.

    python3 dev.py run python benchmarks/step_time.py ../shared/data/mnist.npz

The tutorial's side is what one would write from the PyTorch documentation: a Dataset that turns each image into a
PIL image and then into a tensor (what `ToTensor` does), a DataLoader with shuffling in the main process, Adam with
its defaults, `zero_grad` / `backward` / `step`.  pythae's side is a step of its trainer on images that are floats in
memory already, where pythae is importable (PYTHONPATH).  All sides run in one process and in turns, with the same
number of threads and OMP_WAIT_POLICY=PASSIVE; the table has medians over rounds, and the ratios of the medians.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, repeat
from typing import Any

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
from _support import parser, share_of_floor, times_in_turns, tutorial_gan_steps

CPU = torch.device("cpu")
SHAPE = (1, 28, 28)
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
    yield from tutorial_gan_steps(model, nets["G"], nets["D"], chain.from_iterable(repeat(loader)))


def pythae_vae(data: Dataset, model: ganvas.VAE, batch: int) -> Iterator[None] | None:
    """Steps of pythae's trainer, with the same networks; None, and why, where pythae is not importable."""
    try:
        from pythae.data.datasets import BaseDataset
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.trainers import BaseTrainer, BaseTrainerConfig
    except ImportError as error:
        print(f"pythae is not importable ({error}): no third column")
        return None

    nets = model.networks(SHAPE)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = without_head(nets["encoder"])

        def forward(self, x: Tensor) -> ModelOutput:
            mu, log_variance = self.net(x).chunk(2, dim=1)
            return ModelOutput(embedding=mu, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = without_head(nets["decoder"])

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.net(z).sigmoid())

    config = VAEConfig(input_dim=SHAPE, latent_dim=model.latent, reconstruction_loss="bce")
    training = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=batch, learning_rate=model.lr, no_cuda=True
    )
    dataset = BaseDataset(data.x.float() / 255, torch.zeros(len(data)))
    trainer = BaseTrainer(VAE(config, Encoder(), Decoder()), dataset, training_config=training)
    trainer.set_optimizer()
    trainer._setup_callbacks()
    return pythae_steps(trainer)


def pythae_steps(trainer: Any) -> Iterator[None]:
    """What `train_step` of pythae's trainer does, one batch after the other."""
    options = {"training_config": trainer.training_config}
    trainer.callback_handler.on_train_step_begin(**options, train_loader=trainer.train_loader, epoch=1, rank=-1)
    trainer.model.train()
    epoch_loss, n = 0.0, len(trainer.train_loader.dataset)
    while True:
        for inputs in trainer.train_loader:
            output = trainer.model(trainer._set_inputs_to_device(inputs), epoch=1, dataset_size=n, uses_ddp=False)
            trainer._optimizers_step(output)
            epoch_loss += output.loss.item()
            trainer.callback_handler.on_train_step_end(**options)
            yield


def ganvas_steps(data: Dataset, model: Model, batch: int) -> Iterator[None]:
    """Our loop, with all that it does in a run: EMA, meter, the reading of the meter every LOG steps."""
    state = initialize_state(model, data.shape, 0, CPU)
    for step in train(model, data, TrainConfig(steps=1_000_000_000, batch_size=batch), state):
        if step % LOG == 0:
            state.meter.pop_means()
        yield


def load_batches(data: Dataset, model: Model, batch: int) -> Iterator[None]:
    """Our batches alone."""
    for _ in Stream(data, batch=batch, seed=0, scaling=Scaling.fit(data.x, model.pixel_range)):
        yield


def iterate(loader: Iterable[Tensor]) -> Iterator[None]:
    """The tutorial's batches alone."""
    while True:
        for _ in loader:
            yield


def main() -> None:
    options = parser(__doc__, data="mnist.npz", steps=300, rounds=5, threads=2, batch=100).parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    data, batch = load(str(options.data)), options.batch
    epoch = len(data) // batch
    print(f"{len(data)} images, batch {batch}, {options.threads} threads, torch {torch.__version__}, "
          f"spin {os.environ.get('GOMP_SPINCOUNT')}")  # fmt: skip
    jobs: list[tuple[str, Model, Callable[..., Iterator[None]], Callable[[Tensor], Tensor]]] = [
        ("VAE 784-400-20", ganvas.VAE(net="mlp", latent=20, likelihood="bernoulli"), tutorial_vae, lambda x: x),
        ("GAN 64-400-400-784", ganvas.GAN(net="mlp"), tutorial_gan, lambda x: (x - 0.5) / 0.5),
    ]
    for name, model, tutorial, scale in jobs:
        loader = DataLoader(Pictures(data, scale), batch, shuffle=True, drop_last=True)
        loaded = list(islice(loader, 20))
        works = {
            "ours": ganvas_steps(data, model, batch), "tutorial": tutorial(loader, model),
            "step": tutorial(loaded, model), "batches": load_batches(data, model, batch), "loading": iterate(loader),
        }  # fmt: skip
        pythae = pythae_vae(data, model, batch) if isinstance(model, ganvas.VAE) else None
        t = times_in_turns(works | ({"pythae": pythae} if pythae else {}), options.steps, options.rounds)
        print(f"{'':<26}{'ours':>12}{'tutorial':>12}{'ratio':>8}" + (f"{'pythae':>12}{'ratio':>8}" if pythae else ""))
        row(f"{name}, epoch, s", t["ours"] * epoch, t["tutorial"] * epoch, 1)
        row("  step with data, ms", t["ours"], t["tutorial"], 1e3, t.get("pythae"))
        row("  step without data, ms", t["ours"] - t["batches"], t["step"], 1e3)
        row("  data, ms", t["batches"], t["loading"], 1e3)
        print(f"  data's share of our step {t['batches'] / t['ours']:.1%}")
        print(f"  {share_of_floor(model, data, batch, t['ours'])}")


def row(name: str, ours: float, other: float, scale: float, third: float | None = None) -> None:
    last = "" if third is None else f"{third * scale:>12.3f}{third / ours:>8.2f}"
    print(f"{name:<26}{ours * scale:>12.3f}{other * scale:>12.3f}{other / ours:>8.2f}{last}")


if __name__ == "__main__":
    main()
