"""How many modes of 1,000 do GANs find?  Stacked MNIST: three digits as the colours of an image.

    python3 dev.py run python benchmarks/stacked_mnist.py ../shared/data/mnist.npz [OUT] [--steps N] [--only dcgan]

Protocol of Lin et al., PacGAN, arXiv:1712.04086, section 4.1: 128,000 images of three random digits of MNIST, 28 x 28;
26,000 samples, whose digits a classifier of MNIST reads colour by colour (here the LeNet that comes with Ganvas).  A
mode is captured if a sample shows it; the reverse KL is that of the samples' modes from the data's, as in Metz et al.,
arXiv:1611.02163, section 3.3.  GANs train with their defaults, but for `--steps`; `conv` is dcgan with the networks and
the values of its paper.  Runs and their results are kept in OUT (runs/stacked-mnist), with a strip of samples of each.
"""

from pathlib import Path
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import torch
from torch import Tensor

from ganvas.data import Dataset, from_array, load
from ganvas.metrics.features import make_feature_space
from ganvas.metrics.features.lenet import MNIST
from _support import collect, parser, print_table, save, train_once

N, SAMPLES, MODES = 128_000, 26_000, 1000
MODELS: dict[str, ganvas.Model] = {
    "dcgan": ganvas.DCGAN(), "conv": ganvas.DCGAN(net="conv"), "wgangp": ganvas.WGANGP(), "r3gan": ganvas.R3GAN(),
}  # fmt: skip
PUBLISHED = (
    ("DCGAN, published", "99.0", "3.40"), ("PacDCGAN4, published", "1000.0", "0.07"),
    ("R3GAN, published", "1000", "0.029"),
)  # fmt: skip


def stack(digits: Dataset, n: int, seed: int = 0) -> Dataset:
    """n images of three random digits each, red, green and blue."""
    assert digits.labels is not None
    index = torch.randint(len(digits), (n, 3), generator=torch.Generator().manual_seed(seed))
    return from_array(digits.x[index, 0].permute(0, 2, 3, 1).numpy(), name="stacked-mnist")


def modes(x: Tensor) -> Tensor:
    """The mode of each image, n x 3 x 28 x 28: the number of three digits that a classifier reads."""
    space = make_feature_space(MNIST, (1, 28, 28))
    digits = [space.logits(space(x[:, i : i + 1].contiguous())).argmax(1) for i in range(3)]
    return digits[0] * 100 + digits[1] * 10 + digits[2]


def coverage(samples: Tensor, data: Tensor) -> dict[str, float]:
    """Modes captured, and sum_i p_i log(p_i / q_i) of the shares p among samples and q among the data, in nats."""
    p, q = (found.bincount(minlength=MODES).double() / len(found) for found in (samples, data))
    p, q = p[p > 0], q[p > 0].clamp_min(1 / N)
    return {"captured": len(p), "reverse_kl": (p * (p / q).log()).sum().item()}


def run(name: str, file: str, steps: int, seed: int, folder: Path) -> dict[str, Any]:
    """Train once, or go on with a run that was stopped, and count."""
    data = stack(load(file), N)
    trained = train_once(MODELS[name], data, folder, steps=steps, seed=seed, checkpoint_every=max(1, steps // 4))
    samples = trained.sample(SAMPLES, seed=seed)
    save(trained.sample(24, seed=seed), folder / "strip.png")
    return coverage(modes(samples.x), modes(data.x)) | {"step": trained.metadata["step"]}


def main() -> None:
    arguments = parser(__doc__, data="mnist.npz", out="stacked-mnist", steps=10_000, seed=0)
    arguments.add_argument("--only", default=",".join(MODELS), help="names of models, with commas between them")
    words = arguments.parse_args()
    names = words.only.split(",")
    jobs = {
        (key := f"{name}-{words.steps}-{words.seed}"): (name, str(words.data), words.steps, words.seed, words.out / key)
        for name in names
    }
    results = collect(run, jobs, words.out, 0)
    rows = [
        (f"{key}, step {r['step']}", f"{r['captured']}", f"{r['reverse_kl']:.3f}", f"{r['seconds']:.0f}")
        for key, r in results.items()
    ]
    digits = load(str(words.data))
    floor = coverage(modes(stack(digits, SAMPLES, seed=1).x), modes(stack(digits, N).x))
    rows.append(("real", f"{floor['captured']}", f"{floor['reverse_kl']:.3f}", ""))
    print_table(f"{SAMPLES} samples", ("modes", "reverse KL", "s"), [*rows, *((*cells, "") for cells in PUBLISHED)])


if __name__ == "__main__":
    main()
