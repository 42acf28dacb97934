"""Does a conditional GAN draw the digit that it is asked for, and can a classifier learn from its digits?

    python3 dev.py run python benchmarks/conditional.py ../shared/data/mnist.npz [OUT] [--steps 6000]

CGAN with convolutional networks (width 32, batches of 64, labels by projection unless --conditioning says otherwise)
learns MNIST, 28 x 28; the weights that the run keeps draw.
agreement  share of 10,000 samples, 1,000 a class, in which a LeNet trained on the 60,000 real digits (moved by up to
           two pixels, 8 epochs) sees the digit that was asked for
1-NN       error on the 10,000 test images of their nearest neighbour (Euclidean, in pixels) among 50,000 generated
           digits, 5,000 a class: the protocol of DCGAN's authors (arXiv:1511.06434, table 3), who have 3.1% for 50,000
           real digits, 6.28% for a conditional GAN and 2.98% for a conditional DCGAN
The run is kept in OUT (runs/conditional), with samples.png, a row a class.
"""

import argparse
import time
from pathlib import Path

import ganvas  # first: it sets how torch's threads wait

import torch
from torch import Tensor

from ganvas.data import Dataset, DataOptions, load
from ganvas.metrics.classes import label_accuracy
from lenet import accuracy, forward, kept

MODEL = ganvas.CGAN(width=32)
PUBLISHED = "published 3.1% real, 6.28% GAN, 2.98% DCGAN"


def nearest_error(known: Tensor, labels: Tensor, test: Dataset) -> float:
    """Share of the test images whose nearest neighbour among the known ones has another label."""
    known = known.flatten(1).float()
    squared = known.square().sum(1)
    assert test.labels is not None
    wrong = 0
    for x, y in zip(test.x.flatten(1).float().split(500), test.labels.split(500), strict=True):
        wrong += int((labels[(squared - 2 * x @ known.T).argmin(1)] != y).sum())
    return wrong / len(test)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/conditional"))
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--conditioning", choices=("projection", "concatenation"), default="projection")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    train, test = load(words.file), load(words.file, DataOptions(split="test"))
    lenet = kept(words.out / "lenet.safetensors", train, 8, shift=2)
    print(f"LeNet: {accuracy(lenet, test):.2%} of the test images right", flush=True)
    folder = words.out / f"{words.condition}-{words.steps}-{words.seed}"
    began = time.monotonic()
    if not folder.exists():
        model = ganvas.CGAN(width=MODEL.width, conditioning=words.condition)
        ganvas.train(model, words.file, steps=words.steps, seed=words.seed, folder=folder, quiet=True)
        print(f"trained in {time.monotonic() - began:.0f} s", flush=True)
    trained = ganvas.load(folder)
    made, labels = trained.sample(50_000, seed=1).x, torch.arange(50_000) % 10
    share = label_accuracy(forward(lenet, made[:10_000]), labels[:10_000])
    step = trained.metadata["step"]
    print(f"{words.condition}, step {step}: the digit asked for is seen in {share:.2%} of 10,000 samples", flush=True)
    assert train.labels is not None
    error, real = nearest_error(made, labels, test), nearest_error(train.x[:50_000], train.labels[:50_000], test)
    print(f"1-NN error of 50,000 generated digits {error:.2%}, of 50,000 real ones {real:.2%}; {PUBLISHED}")
    trained.sample(per_class=12).save(words.out / "samples.png")
    print(words.out / "samples.png")


if __name__ == "__main__":
    main()
