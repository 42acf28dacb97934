"""Runs of earlier versions, tests/frozen/earlier: each is read, makes what its version made of it, and goes on so."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.cli.inspect import doctor
from ganvas.data import Dataset, from_array
from ganvas.errors import InvalidFileError
from ganvas.inference.trained import Trained
from ganvas.io.safetensors import read_safetensors, write_safetensors
from tests.support.frozen import FROZEN

EARLIER = FROZEN / "earlier"
RUNS = sorted(path.name for path in EARLIER.iterdir() if path.is_dir())
CODES = {"laddervae": 4}
"""numbers of a code, where they are not 2"""
X = np.arange(16 * 8 * 8).reshape(16, 8, 8) * 7 % 256
ARRAYS = {
    "vectors": (X[:, 0, :3] / 256).astype(np.float32),
    "images": X.astype(np.uint8),
    "deep": (X * 257).astype(np.uint16),
    "signals": (X[:, :1] / 256).astype(np.float32),
}


def load_data(config: dict[str, Any]) -> Dataset | tuple[Dataset, Dataset]:
    """What a run was trained on: its config.json has the name."""
    name = config["data"]["name"].split("-")[0]
    kind = "signal" if name == "signals" else "auto"
    one = from_array(ARRAYS[name], np.arange(16) % 2, classes=["even", "odd"], name=name, kind=kind)
    return (one, one) if isinstance(config["data"]["source"], list) else one


def values(trained: Trained, config: dict[str, Any]) -> list[float]:
    """Numbers of three decoded codes, or of three translations; a seed gave other codes in some versions."""
    data, n = load_data(config), CODES.get(config["model"], 2)
    if isinstance(data, tuple):
        made = trained.translate(data[0].select(slice(3)))
    else:
        labels = torch.tensor([0, 1, 0]) if config["model"] == "cgan" else None
        made = trained.decode(torch.linspace(-1, 1, 3 * n).reshape(3, n), labels)
    return [float(value) for value in made.x.double().flatten()[:48]]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_an_earlier_version_decodes_and_goes_on_as_it_did(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Up to the rounding of other machines; pixels are whole, those of 16 bits from a range 257 times as wide."""
    run = Path(shutil.copytree(EARLIER / name, "run"))
    config, expected = (json.loads((run / file).read_text()) for file in ("config.json", "values.json"))
    rounding = {"images": 1.0, "deep": 2.0}.get(config["data"]["name"], 1e-5)
    assert values(ganvas.load(run), config) == pytest.approx(expected["samples"], abs=rounding)
    doctor(str(run))
    assert not {"damaged", "newer"} & set(capsys.readouterr().out.replace(":", "").split())
    steps = config.get("plan", config.get("train_config"))["steps"]
    trained = ganvas.resume(run, load_data(config), steps=steps + 1, device="cpu", quiet=True)
    assert values(trained, config) == pytest.approx(expected["after a step"], abs=max(2e-3, 2 * rounding))
    assert trained.metadata["step"] in (steps, steps + 1)


def test_ten_runs_of_earlier_versions_are_kept() -> None:
    sizes = {name: sum(path.stat().st_size for path in (EARLIER / name).iterdir()) for name in RUNS}
    assert len(sizes) >= 10
    assert max(sizes.values()) < 30_000
    readme = (EARLIER / "README.md").read_text()
    assert all(f"| {name} |" in readme for name in RUNS)


def test_a_gan_with_convolutions_of_before_is_named() -> None:
    """It has the networks that a dcgan has today."""
    run = Path(shutil.copytree(EARLIER / "2026-11-22-gan", "run"))
    header, tensors = read_safetensors(run / "weights.safetensors")
    write_safetensors(run / "weights.safetensors", header | {"shape": [1, 8, 8]}, tensors)
    with pytest.raises(InvalidFileError, match="had convolutions when it was written, as dcgan has now"):
        ganvas.load(run)
