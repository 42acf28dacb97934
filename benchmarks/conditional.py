"""Does a conditional GAN draw the class that it is asked for, and can a classifier learn from its images?

    python3 dev.py run python benchmarks/conditional.py ../shared/data/mnist.npz [OUT] [--net conv]

CGAN learns MNIST, or Fashion-MNIST, 28 x 28, as `ganvas train cgan` does without options; with --net conv in 6,000
steps of 64 images with convolutional networks of width 32.  Labels come by projection unless --conditioning says
otherwise; the weights that the run keeps draw.
agreement  share of 10,000 samples, 1,000 a class, in which a LeNet trained on the 60,000 real images (moved by up to
           two pixels, 8 epochs) sees the class that was asked for
1-NN       error on the 10,000 test images of their nearest neighbour (Euclidean, in pixels) among 50,000 generated
           images, 5,000 a class: the protocol of DCGAN's authors (arXiv:1511.06434, table 3), who have 3.1% for 50,000
           real digits, 6.28% for a conditional GAN and 2.98% for a conditional DCGAN
The run is kept in OUT (runs/conditional) by the name of the data, with samples.png, a row a class.
"""

import ganvas  # first: it sets how torch's threads wait

from typing import Any

import torch
from torch import Tensor

from ganvas.data import Dataset, DataOptions, load
from ganvas.metrics.classes import label_accuracy
from _lenet import accuracy, forward, load_lenet
from _support import parser, save, train_once

NETS: dict[str, dict[str, Any]] = {"auto": {}, "conv": {"net": "conv", "width": 32}}
CONV_STEPS, EPOCHS, SAMPLES = 6000, 8, 50_000
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
    arguments = parser(__doc__, data="mnist.npz", out="conditional", steps=0, seed=0)
    arguments.add_argument("--net", choices=tuple(NETS), default="auto")
    arguments.add_argument("--conditioning", choices=("projection", "concatenation"), default="projection")
    words = arguments.parse_args()
    train, test = load(str(words.data)), load(str(words.data), DataOptions(split="test"))
    assert train.labels is not None
    out = words.out / train.name
    lenet = load_lenet(out, train, EPOCHS, shift=2)
    print(f"LeNet: {accuracy(lenet, test):.2%} of the test images right", flush=True)
    name, model = words.conditioning, ganvas.CGAN(conditioning=words.conditioning, **NETS[words.net])
    steps = words.steps or (CONV_STEPS if words.net == "conv" else None)
    folder = out / f"{words.net}-{name}-{steps or 'all'}-{words.seed}"
    trained = train_once(model, str(words.data), folder, seed=words.seed, **({"steps": steps} if steps else {}))
    x, labels = trained.sample(SAMPLES, seed=1).x, torch.arange(SAMPLES) % 10
    share, step = label_accuracy(forward(lenet, x[:10_000]), labels[:10_000]), trained.metadata["step"]
    print(f"{name}, step {step}: the class asked for is seen in {share:.2%} of {len(x[:10_000])} samples", flush=True)
    error, real = nearest_error(x, labels, test), nearest_error(train.x[:SAMPLES], train.labels[:SAMPLES], test)
    print(f"1-NN error of {SAMPLES} generated images {error:.2%}, of as many real ones {real:.2%}; {PUBLISHED}")
    save(trained.sample(per_class=12), out / "samples.png")


if __name__ == "__main__":
    main()
