"""The share of samples that copy an example: of a GAN of 40 digits, and of the same with 1,500.

    python3 dev.py run python benchmarks/memorisation.py [OUT]

The share at each measurement of a run, and of the steps until then.  Runs are kept in OUT (runs/memorisation).
"""

import ganvas  # first: it sets how torch's threads wait

from ganvas.data import load
from ganvas.training.run_records import read_log
from _support import parser, train_once

MODEL = ganvas.GAN(width=256, latent=16, lr=1e-3, norm="batch", r1=0.1)
STEPS = {40: 6000, 1500: 1500}
"""by the number of digits"""


def main() -> None:
    words = parser(__doc__, out="memorisation").parse_args()
    digits = load("digits")
    for n, steps in STEPS.items():
        folder = words.out / f"{n} digits"
        train_once(MODEL, digits.select(slice(n)), folder, steps=steps, batch_size=32, ema_decay=0.99, keep="last",
                   device="cpu")  # fmt: skip
        shares = [(line["step"], line["samples"]["memorised"]) for line in read_log(folder) if "samples" in line]
        print(f"{n} digits:", ", ".join(f"{share:.1%} at {step}" for step, share in shares), flush=True)


if __name__ == "__main__":
    main()
