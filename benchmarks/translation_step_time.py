"""Our CycleGAN step against the one that tutorials write: same networks, same numbers of images, one process.

    python3 dev.py run python benchmarks/translation_step_time.py [--batch 1] [--size 32] [--width 32] [--blocks 3]

The tutorials' side: images through PIL one by one (resize by 286/256, bicubic, crop, flip, to a tensor, normalise) in a
DataLoader; six passes of translators (identity, translation and cycle of each domain by itself), the translators' loss
differentiated by all that it depends on, critics too; a pool of Python lists that is asked for one image at a time; two
passes of each critic; PyTorch's instance norm; an Adam each for the translators and for the two critics, and the losses
read at every step.
Ours is the trainer's own loop, with averages of the weights and the log's meter, read every 50 steps.

Both in turns, medians over rounds, after one to warm up; and each without its data, on batches made before.
"""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import ganvas  # before torch: it sets how torch's threads wait

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ganvas.data import Dataset, DomainPair, DataOptions, load
from ganvas.model import Model
from ganvas.nn.cpu import InstanceNorm, OutputConv2d
from ganvas.config import TrainConfig
from ganvas.training.loop import initialize_state, train
from _support import parser, share_of_floor, times_in_turns

CPU = torch.device("cpu")


class Pictures(TorchDataset):
    """Both domains' images through PIL, as the tutorials' transforms have it."""

    def __init__(self, a: Dataset, b: Dataset) -> None:
        self.parts, self.size = (a.x.movedim(1, -1).numpy(), b.x.movedim(1, -1).numpy()), a.shape[1]

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.augment(self.parts[0][index]), self.augment(self.parts[1][random.randrange(len(self.parts[1]))])

    def augment(self, pixels: np.ndarray) -> Tensor:
        large = round(self.size * 286 / 256)
        picture = Image.fromarray(pixels).resize((large, large), Image.Resampling.BICUBIC)
        left, top = random.randint(0, large - self.size), random.randint(0, large - self.size)
        picture = picture.crop((left, top, left + self.size, top + self.size))
        if random.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        tensor = torch.from_numpy(np.array(picture, np.uint8, copy=True)).permute(2, 0, 1).contiguous()
        return (tensor.float().div(255) - 0.5) / 0.5


class ListPool:
    """The pool as everyone has it."""

    def __init__(self, size: int = 50) -> None:
        self.size, self.images = size, []

    def query(self, images: Tensor) -> Tensor:
        returned = []
        for image in images.data:
            new = image.unsqueeze(0)
            if len(self.images) < self.size:
                self.images.append(new)
                returned.append(new)
            elif random.uniform(0, 1) > 0.5:
                i = random.randint(0, self.size - 1)
                returned.append(self.images[i].clone())
                self.images[i] = new
            else:
                returned.append(new)
        return torch.cat(returned)


def tutorial(batches: Any, model: ganvas.CycleGAN, pair: DomainPair) -> Iterator[None]:
    """A step of the tutorials' loop."""
    nets = {k: net.to(memory_format=torch.contiguous_format) for k, net in model.networks(pair.shape).items()}
    for module in (m for net in nets.values() for m in net.modules()):
        if isinstance(module, InstanceNorm | OutputConv2d):
            module.__class__ = type(module).__base__  # PyTorch's own, which is the same function of the same weights
    G, F, DX, DY = nets["G"], nets["F"], nets["DX"].net, nets["DY"].net
    options: dict[str, Any] = {"lr": model.lr, "betas": model.betas}
    optimizer = torch.optim.Adam(itertools.chain(G.parameters(), F.parameters()), **options)
    critics = [torch.optim.Adam(D.parameters(), **options) for D in (DX, DY)]
    pools, running = (ListPool(model.pool_size), ListPool(model.pool_size)), np.zeros(5)
    while True:
        for x, y in batches:
            optimizer.zero_grad()
            identity = (l1_loss(F(x), x) + l1_loss(G(y), y)) * model.cycle_weight / 2
            fake_y, fake_x = G(x), F(y)
            logits_y, logits_x = DY(fake_y), DX(fake_x)
            fool = mse_loss(logits_y, torch.ones_like(logits_y)) + mse_loss(logits_x, torch.ones_like(logits_x))
            cycle = (l1_loss(F(fake_y), x) + l1_loss(G(fake_x), y)) * model.cycle_weight
            (fool + cycle + identity).backward()
            optimizer.step()
            losses = [fool.item(), cycle.item(), identity.item()]
            for D, adam, real, fake, pool in zip((DX, DY), critics, (x, y), (fake_x, fake_y), pools, strict=True):
                adam.zero_grad()
                logits, logits_fake = D(real), D(pool.query(fake).detach())
                loss = mse_loss(logits, torch.ones_like(logits)) + mse_loss(logits_fake, torch.zeros_like(logits_fake))
                (loss / 2).backward()
                adam.step()
                losses.append(loss.item())
            running += losses
            yield


def ganvas_steps(model: Model, pair: DomainPair, batch: int) -> Iterator[None]:
    """Our loop, with all that it does in a run."""
    state = initialize_state(model, pair.shape, 0, CPU)
    for step in train(model, pair, TrainConfig(steps=1_000_000_000, batch_size=batch), state):
        if step % 50 == 0:
            state.meter.pop_means()
        yield


def main() -> None:
    words = parser(__doc__, batch=1, size=32, width=32, blocks=3, steps=10, rounds=5, threads=2).parse_args()
    torch.set_num_threads(words.threads)
    options = DataOptions(size=str(words.size))
    pair = DomainPair(load("emoji", options), load("emoji-flat", options))
    model = ganvas.CycleGAN(width=words.width, blocks=words.blocks)
    still = ganvas.CycleGAN(width=words.width, blocks=words.blocks, enlarge=1, flip=False)
    loader = DataLoader(Pictures(pair.a, pair.b), words.batch, shuffle=True, drop_last=True)
    loaded = list(itertools.islice(loader, 50))
    works = {
        "ours": ganvas_steps(model, pair, words.batch), "theirs": tutorial(loader, model, pair),
        "our step": ganvas_steps(still, pair, words.batch), "their step": tutorial(loaded, model, pair),
    }  # fmt: skip
    t = times_in_turns(works, words.steps, words.rounds)
    print(f"{words.size} pixels, batch {words.batch}, width {words.width}, {words.blocks} blocks, "
          f"{words.threads} threads, torch {torch.__version__}")  # fmt: skip
    print(f"{'':<24}{'ours':>10}{'tutorial':>10}{'ratio':>8}")
    for name, mine, other in (("step with data, ms", "ours", "theirs"), ("step without, ms", "our step", "their step")):
        print(f"{name:<24}{t[mine] * 1e3:>10.1f}{t[other] * 1e3:>10.1f}{t[other] / t[mine]:>8.2f}")
    print(share_of_floor(still, pair, words.batch, t["our step"]))


if __name__ == "__main__":
    main()
