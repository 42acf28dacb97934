"""The files of a tiny run of each model, frozen: every later version loads, samples and resumes them.

`PYTHONPATH=src python -m tests.support.frozen` makes the sets of models that have none in tests/frozen; those that are
there are never written again, for what they hold is what versions of their time wrote.  What depends on the machine is
taken out.  A set has config.json, weights.safetensors, state.ckpt, and in values.json what the model samples from
`SEED`, or translates, and what it samples after it went on for a step.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.data import Dataset, from_array
from ganvas.inference.sampling import sample_examples
from ganvas.inference.trained import Trained
from ganvas.models import MODELS, cut
from tests.support.tables import table_collection

FROZEN = Path(__file__).resolve().parents[1] / "frozen"
FILES = ("config.json", "weights.safetensors", "state.ckpt")
IMAGES = ("dcgan", "cut")
"""models that learn from images alone"""
TINY: dict[str, Any] = {"width": 4, "latent": 2, "latents": (2, 2), "pool_size": 2}
SEED = 5


def data(name: str) -> Dataset | tuple[Dataset, Dataset]:
    """The examples that a model's frozen run is trained on: images where it takes nothing else, or else vectors."""
    x = np.arange(16 * 8 * 8).reshape(16, 8, 8) * 7 % 256
    y, classes = np.arange(16) % 2, ("even", "odd")
    images = from_array(x.astype(np.uint8), y, classes=classes, name="stripes")
    vectors = from_array((x[:, 0, :3] / 256).astype(np.float32), y, classes=classes, name="rows")
    if MODELS[name].tables_only:
        return table_collection(16)
    one = images if name in IMAGES else vectors
    return (one, one) if MODELS[name].n_domains == 2 else one


def values(trained: Trained, name: str) -> list[float]:
    """Numbers of three samples of the model, or of the translations of three examples."""
    one = data(name)
    is_pair = isinstance(one, tuple)
    made = trained.translate(one[0].select(slice(3))) if is_pair else sample_examples(trained, 3, SEED)
    x = made.x.double().nan_to_num(-1)  # a missing value equals none
    return [round(float(v), 6) for v in x.flatten()[:48]]


def resumed(run: Path, name: str) -> Trained:
    """The model after a step more."""
    with small_heads():
        return ganvas.resume(run, data(name), steps=2, device="cpu", quiet=True)


@contextmanager
def small_heads() -> Iterator[None]:
    """A context in which CUT's heads, whose 256 units are no option, have few: a set would have 3 MB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cut, "HEAD_UNITS", 4)
        yield


def freeze(name: str) -> None:
    """Make the set of a model that has none."""
    with TemporaryDirectory() as folder, small_heads():
        run = Path(folder) / "run"
        tiny = TINY | {"blocks": 1, "lr": 0.03} if name in IMAGES else TINY
        tiny = tiny | {"pack": 2} if MODELS[name].tables_only else tiny
        tiny = tiny | {"width": 1} if name == "cut" else tiny  # its layers have up to eight times as many channels
        unused = {"latent"} if MODELS[name].n_domains == 2 else set()
        names = MODELS[name].__dataclass_fields__.keys() - unused
        fields: dict[str, Any] = {k: v for k, v in tiny.items() if k in names}
        options: dict[str, Any] = {"steps": 1, "batch_size": 4, "device": "cpu", "seed": 1, "quiet": True}
        ganvas.train(MODELS[name](**fields), data(name), folder=run, **options)
        config = json.loads((run / "config.json").read_text())
        config |= {"git": None, "created_at": "", "versions": {"ganvas": config["versions"]["ganvas"]}}
        target = FROZEN / name
        target.mkdir(parents=True)
        (target / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        for file in FILES[1:]:
            shutil.copy(run / file, target / file)
        found = {"samples": values(ganvas.load(run), name), "after a step": values(resumed(run, name), name)}
        (target / "values.json").write_text(json.dumps(found) + "\n")


def main() -> None:
    torch.set_num_threads(1)
    missing = [name for name in MODELS if not (FROZEN / name).exists()]
    for name in missing:
        freeze(name)
    print(f"made {', '.join(missing) or 'nothing'}; sets that were there are as they were")


if __name__ == "__main__":
    sys.exit(main())
