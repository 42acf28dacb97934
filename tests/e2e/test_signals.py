"""Signals and volumes from the command line: trained, resumed, and used, in the units of their file."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas.cli.app import main
from ganvas.metrics import distances
from tests.support.cli import SMALL, said, told

RANDOM = np.random.default_rng(0)
ECG = (300 * np.sin(np.arange(31) / 5 + RANDOM.random((16, 2, 1))) + 1000).astype(np.int16)
SCANS = RANDOM.normal(40, 5, (16, 5, 8, 7)).astype(np.float32)
ARRAYS = {"signal": ECG, "volume": SCANS}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for kind, array in ARRAYS.items():
        np.save(tmp_path / f"{kind}.npy", array)
        np.save(tmp_path / f"other_{kind}.npy", array[:, ::-1] + 7)
    return tmp_path


@pytest.mark.parametrize("kind", list(ARRAYS))
def test_a_vae(kind: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, array = f"{kind}.npy", ARRAYS[kind]
    shape = array.shape[1:] if kind == "signal" else (1, *array.shape[1:])
    run = said(capsys, "train", "vae", data, "--kind", kind, *SMALL, "--holdout", "0.25")
    for command, n in (("sample", "5"), ("reconstruct", "4")):
        words = [command, run, *([data] if command == "reconstruct" else []), "-n", n]
        said(capsys, *words, "--out", f"{command}.npy")
        made = np.load(f"{command}.npy")
        assert (made.shape, made.dtype) == ((int(n), *shape), array.dtype)
        assert array.min() - 1e-3 <= made.min() <= made.max() <= array.max() + 1e-3
        said(capsys, *words, "--out", f"{command}.png")
        with Image.open(f"{command}.png") as picture:
            assert len(set(picture.convert("L").tobytes())) > 2
    assert main(["sample", run, "--out", "folder"]) == 2
    assert f"{kind}s are no pictures: write them to folder.npz instead" in capsys.readouterr().err
    said(capsys, "score", run, data, "--out", "scores.csv")
    with Path("scores.csv").open(encoding="utf-8") as table:
        assert len(list(csv.DictReader(table))) == 16
    for suffix in ("png", "html"):
        said(capsys, "score", run, data, "--out", f"scores.{suffix}")
    numbers = told(capsys, "evaluate", run, "--metrics", "sliced-wasserstein", "--metrics", "reconstruction")
    assert len(numbers["reconstruction_rmse"]) == shape[0]
    assert numbers["protocol"].startswith("signals and volumes as vectors of their numbers")
    said(capsys, "interpolate", run, data, "--rows", "2", "--columns", "3", "--out", "walk.npy")
    assert np.load("walk.npy").shape == (6, *shape)


def test_numbers_of_many_columns_are_not_all_shown(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor are the correlations of all their pairs computed."""
    run = said(capsys, "train", "vae", "volume.npy", "--kind", "volume", *SMALL, "--holdout", "0.25")
    monkeypatch.setattr(distances, "MAX_CORRELATED", 279)
    text = said(capsys, "evaluate", run, "--metrics", "distances", "--metrics", "sliced-wasserstein")
    assert re.search(r"\nmarginals +(\S+ ){12}and 268 more, floor (\S+ ){12}and 268 more\n", text)
    assert "too many pairs of 280 columns: 279 columns are the most" in text


def test_a_translator(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["signal.npy", "other_signal.npy", "--kind", "signal", "--blocks", "1"]
    run = said(capsys, "train", "cyclegan", *words, *SMALL, "--holdout", "0.25")
    said(capsys, "translate", run, "signal.npy", "out.npy")
    made, array = np.load("out.npy"), ECG
    assert (made.dtype, made.size) == (array.dtype, array.size)
    assert np.isfinite(told(capsys, "evaluate", run)["to_b"]["sliced_wasserstein"])
    said(capsys, "score", run, "signal.npy", "--out", "scores.csv")


def test_a_resumed_run_equals_one_that_did_not_stop(files: Path) -> None:
    options: dict[str, Any] = {"kind": "volume", "batch_size": 4, "quiet": True, "holdout": 0, "checkpoint_every": 2}
    whole, _ = (
        ganvas.train(ganvas.DCGAN(width=4, latent=3), "volume.npy", folder=files / name, steps=steps, **options)
        for name, steps in (("whole", 4), ("part", 2))
    )
    resumed = ganvas.resume(files / "part", steps=4, quiet=True)
    for name, tensor in whole.nets.state_dict().items():
        assert torch.equal(tensor, resumed.nets.state_dict()[name])
    again = ganvas.load(files / "part" / "weights.safetensors")
    assert np.array_equal(again.sample(3).numpy(), resumed.sample(3).numpy())
