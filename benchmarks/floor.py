"""Each model's training step beside its floor, the least time that the machine needs for the same work.

    python3 dev.py run python benchmarks/floor.py [--size 32] [--channels 3] [--rounds 5] [--threads 2]

Models with their defaults, on emoji.  GFLOP are those of matrix products and convolutions in a step, MB what these and
the optimisers read and write; `ganvas.training.bench` says what the floor is.  `ganvas bench MODEL` does the same for
one model with other options.
"""

import ganvas  # noqa: F401  first: it sets how torch's threads wait

import torch

from ganvas.models import MODELS
from ganvas.nn.device import resolve_device
from ganvas.training.bench import Rates, bench_images, measure_speed
from ganvas.training.loop import prepare_data
from _support import describe_rates, parser, print_table


def main() -> None:
    words = parser(__doc__, size=32, channels=3, rounds=5, threads=2).parse_args()
    torch.set_num_threads(words.threads)
    device, rows, rates = resolve_device("auto"), [], Rates({}, 0.0)
    for name, cls in MODELS.items():
        model, config = cls(), cls.default_training
        data = prepare_data(model, bench_images(model, words.size, words.channels, config.examples_per_step))
        speed = measure_speed(model, data, config, device, rounds=words.rounds)
        rates, work = rates.best(speed.rates), speed.work
        rows.append((
            name, f"{config.examples_per_step}",
            f"{speed.step * 1e3:.2f}", f"{speed.floor * 1e3:.2f}", f"{speed.share:.0%}",
            f"{work.flops('matmul') / 1e9:.2f}", f"{work.flops('convolution') / 1e9:.2f}", f"{work.bytes / 1e6:.0f}",
            f"{speed.parameters:,}",
        ))  # fmt: skip
        print(f"{name}: {speed.step * 1e3:.2f} ms, {speed.share:.0%}", flush=True)
    print(f"\n{words.channels} x {words.size} x {words.size} images, {words.threads} threads, {describe_rates(rates)}")
    heads = ("batch", "step, ms", "floor, ms", "share", "GFLOP, products", "convolutions", "MB", "parameters")
    print_table("model", heads, rows)


if __name__ == "__main__":
    main()
