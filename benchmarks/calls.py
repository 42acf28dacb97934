"""How many calls go from file to file of the package in one train, sample and evaluate, and what is built how often.

A call counts where caller and callee are in different files of src/ganvas; calls by way of torch do not.  Each job runs
once before it is counted, so that imports and caches are not measured.  The way of each job is printed below the table.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from _support import parser

import ganvas  # in front of numpy: it sets how torch's threads wait

import numpy as np

PACKAGE = str(Path(ganvas.__file__).parent)
BUILT = {"Stream": "Stream", "Dataset": "Dataset", "Collection": "Dataset"}
"""classes whose instances are counted, by their names of now and of before"""


class Profile:
    """Counts calls across files while it is entered."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        """by the files of caller and callee"""
        self.built: Counter[str] = Counter()

    def __enter__(self) -> "Profile":
        sys.setprofile(self.count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def count(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call":
            return
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if name == "__init__":
            self.built[BUILT.get(type(frame.f_locals.get("self")).__name__, "")] += 1
        if not file.startswith(PACKAGE):
            return
        caller = frame.f_back.f_code.co_filename if frame.f_back else ""
        if name == "networks" and frame.f_back and frame.f_back.f_code.co_name != "networks":
            self.built["networks"] += 1
        if caller.startswith(PACKAGE) and caller != file:
            self.calls[caller[len(PACKAGE) + 1 :], file[len(PACKAGE) + 1 :]] += 1


def profile(job: Callable[[], object]) -> Profile:
    """What the job calls and builds the second time."""
    job()
    with Profile() as counts:
        job()
    return counts


def main() -> None:
    options = parser(__doc__, steps=20, edges=15).parse_args()
    random = np.random.default_rng(0)
    train, test = (ganvas.from_array(random.integers(0, 256, (n, 8, 8), np.uint8)) for n in (400, 200))
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder, str(i)) for i in range(2)]
        model = ganvas.VAE(net="mlp", width=16, latent=2)
        names = iter(runs)
        jobs: dict[str, Callable[[], object]] = {
            "train": lambda: ganvas.train(model, train, steps=options.steps, folder=next(names), quiet=True),
            "sample": lambda: ganvas.load(runs[0]).sample(16),
            "evaluate": lambda: ganvas.evaluate(ganvas.load(runs[0]), test),
        }
        counts = {name: profile(job) for name, job in jobs.items()}
    print(f"small VAE, {options.steps} steps:\njob       calls across files  Stream  Dataset  networks")
    for name, c in counts.items():
        print(f"{name:9} {c.calls.total():18}  {c.built['Stream']:6}  {c.built['Dataset']:7}  {c.built['networks']:8}")
    for name, c in counts.items():
        print(f"\n{name}: calls from file to file")
        for (caller, callee), n in c.calls.most_common(options.edges):
            print(f"{n:6}  {caller} -> {callee}")


if __name__ == "__main__":
    main()
