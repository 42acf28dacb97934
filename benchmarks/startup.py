"""How long commands take on the smallest of work: seconds of a process, with torch's own import beside them.

All run in turns, each in a process of its own, and the medians count.  The first round fills the caches of the disk and
of Python's bytecode, and does not count.  A command that needs torch cannot be faster than its import.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _support import parser, print_table

import ganvas

import numpy as np

GANVAS = ("-m", "ganvas")
COMMANDS = {
    "python": ("-c", "pass"),
    "import torch": ("-c", "import torch"),
    "ganvas --version": (*GANVAS, "--version"),
    "ganvas --help": (*GANVAS, "--help"),
    "ganvas runs": (*GANVAS, "runs"),
    "ganvas doctor": (*GANVAS, "doctor", "run"),
    "ganvas data": (*GANVAS, "data", "images.npy", "--out", "sheet.png", "--force"),
    "ganvas sample": (*GANVAS, "sample", "run", "-n", "4", "--out", "samples.png", "--force"),
    "ganvas reconstruct": (*GANVAS, "reconstruct", "run", "images.npy", "-n", "4", "--out", "pairs.png", "--force"),
    "ganvas evaluate": (*GANVAS, "evaluate", "run", "images.npy"),
    "ganvas train --help": (*GANVAS, "train", "--help"),
    "ganvas train, 1 step": (*GANVAS, "train", "vae", "images.npy", "--steps", "1", "--folder", "run-NUMBER"),
    "import torch._dynamo": ("-c", "import torch._dynamo"),
}
"""arguments of Python; NUMBER is one that no other call has.  Every optimiser of torch imports torch._dynamo"""


def run_seconds(words: tuple[str, ...], folder: Path, number: int) -> float:
    """Seconds of a process with these arguments of Python, which has to succeed."""
    command = [sys.executable, *(word.replace("NUMBER", str(number)) for word in words)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {
        "PYTHONPATH": str(Path(ganvas.__file__).parents[1]),
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
    }
    start = time.perf_counter()
    result = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed: {result.stderr}")
    return seconds


def main() -> None:
    options = parser(__doc__, rounds=5).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), np.uint8)
        np.save(folder / "images.npy", images)
        model = ganvas.VAE(net="mlp", width=16, latent=2)
        ganvas.train(model, images, steps=1, batch_size=16, folder=folder / "run", quiet=True)
        times: dict[str, list[float]] = {command: [] for command in COMMANDS}
        for number in range(options.rounds + 1):
            for command, words in COMMANDS.items():
                times[command].append(run_seconds(words, folder, number))
    medians = {command: statistics.median(seconds[1:]) for command, seconds in times.items()}
    torch_seconds = medians["import torch"]
    rows = [
        (command, f"{seconds:.2f}", f"{seconds - torch_seconds:+.2f}", f"{min(times[command][1:]):.2f}")
        for command, seconds in medians.items()
    ]
    print_table(f"medians of {options.rounds}", ["seconds", "beside torch's import", "fastest"], rows)


if __name__ == "__main__":
    main()
