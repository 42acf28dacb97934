"""Runs that go on elsewhere or otherwise, and new runs that begin with the weights of old ones."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import ganvas
from ganvas.cli.app import main
from ganvas.data import Dataset
from ganvas.errors import TrainingStopped, UserError
from ganvas.io import safetensors
from ganvas.io.run_folder import RunFolder
from ganvas.models import MODELS
from tests.support.data import as_pair, interrupted, write_folder
from tests.support.models import small

TINY = [
    "--batch-size", "4", "--width", "4", "--latent", "3", "--checkpoint-every", "4", "--lr-decay", "0",
    "--holdout", "0", "--quiet",
]  # fmt: skip


def config(run: str = "run") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run, "config.json").read_text())
    return found


def begun(*more: str, folder: str = "run") -> str:
    """A run of eight steps on a folder of twelve images, and where these are."""
    pets = Path("pets") if Path("pets").exists() else write_folder(Path("pets"))
    assert main(["train", "vae", str(pets), "--steps", "8", *TINY, "--folder", folder, *more]) == 0
    return str(pets)


def said(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    capsys.readouterr()
    assert main([*words]) == code
    return capsys.readouterr().err


def test_data_that_have_moved_are_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    begun()
    begun(folder="straight")
    assert main(["resume", "straight", "--steps", "12", "--quiet"]) == 0
    Path("pets").rename("arrays")  # "array", what config.json calls data that are nowhere, is part of this name
    text = said(capsys, 2, "resume", "run", "--steps", "10")
    assert "cannot read again what run was trained on: " in text
    assert "give their new place as DATA" in said(capsys, 2, "fit-prior", "run")
    assert main(["resume", "run", "arrays", "--steps", "10", "--quiet"]) == 0
    assert config()["data"]["source"] == str(Path("arrays").resolve())
    assert "changes" not in config() or set(config()["changes"][0]) == {"step", "steps"}
    assert main(["resume", "run", "--steps", "12", "--quiet"]) == 0  # remembered
    assert Path("run/state.ckpt").read_bytes() == Path("straight/state.ckpt").read_bytes()


def test_other_data_are_taken_by_name_alone(capsys: pytest.CaptureFixture[str]) -> None:
    pets = begun()
    before = {path: path.read_bytes() for path in Path("run").rglob("*.*")}
    shutil.copy(f"{pets}/cat/0.png", f"{pets}/cat/new.png")
    text = said(capsys, 2, "resume", "run", "--steps", "12")
    assert "12 examples then, 13 now" in text
    assert "ganvas resume run --allow-changed-data" in text
    assert before == {path: path.read_bytes() for path in Path("run").rglob("*.*")}
    text = said(capsys, 0, "resume", "run", "--steps", "12", "--allow-changed-data")
    assert "from step 8 on with other data: not the run that was begun" in text
    assert config()["data"]["examples"] == 13
    assert config()["changes"][0]["step"] == 8
    assert len(config()["changes"][0]["data"]) == 2
    assert main(["resume", "run", "--steps", "14", "--quiet"]) == 0  # these are its data now
    shutil.rmtree(pets)
    write_folder(Path(pets), size=(5, 5))
    assert "shape [3, 5, 5] in place of [3, 8, 9]; start a new run" in said(
        capsys, 2, "resume", "run", "--steps", "16", "--allow-changed-data"
    )


def test_options_that_may_change_and_those_that_may_not(capsys: pytest.CaptureFixture[str]) -> None:
    begun()
    text = said(
        capsys, 0, "resume", "run", "--steps", "12", "--lr", "1e-4", "--batch-size", "6", "--checkpoint-every", "2"
    )
    assert (
        "from step 8 on with lr 0.0001 in place of 0.001, batch_size 6 in place of 4, checkpoint_every 2 in place of 4"
        in text
    )
    now = config()
    assert (now["fields"]["lr"], now["train_config"]["batch_size"], now["train_config"]["checkpoint_every"]) == (
        1e-4,
        6,
        2,
    )
    assert now["changes"] == [
        {"step": 8, "steps": [8, 12], "lr": [1e-3, 1e-4], "batch_size": [4, 6], "checkpoint_every": [4, 2]}
    ]
    assert main(["sample", "run", "-n", "2", "--out", "a.png"]) == 0
    assert main(["resume", "run", "--steps", "13", "--quiet"]) == 0
    for option, value, message in (
        (
            "--width",
            "8",
            "--width 8 cannot be changed in a run.* start a new run.* --init-from run",
        ),
        ("--seed", "1", "--seed 1 cannot be changed in a run"),
        ("--size", "8", "--size 8 cannot be changed in a run"),
        ("--epochs", "3", "say with --steps up to which step"),
        ("--budget", "10m", "say with --steps up to which step"),
        ("--patiense", "3", 'Did you mean "patience"'),
        ("--lr-d", "1e-3", "resume has no 'lr_d'"),
        ("--batch-size", "99", "batch.*99 is larger than the data"),
        ("--lr", "-1", "--lr must be greater than 0"),
    ):
        text = said(capsys, 2, "resume", "run", "--steps", "20", option, value)
        assert re.search(message, text), text
    assert config()["train_config"]["steps"] == 13
    assert "ask for more --steps" in said(capsys, 2, "resume", "run", "--lr", "1e-5")


def test_a_change_of_batch_keeps_the_place_in_the_data(images: Dataset) -> None:
    """Also where the run is stopped again before it is saved."""
    model = small(MODELS["vae"])
    ganvas.train(model, images, steps=6, batch_size=8, checkpoint_every=3, quiet=True, folder="run")
    shutil.copytree("run", "again")
    ganvas.resume("run", images, steps=8, batch_size=4, quiet=True)
    assert safetensors.read_header(Path("run/state.ckpt"))["position"] == 6 * 8 // 4 + 2
    said = json.loads(Path("run/config.json").read_text())
    state = Path("again/state.ckpt").read_bytes()
    RunFolder(Path("again")).write_config(said)
    assert Path("again/state.ckpt").read_bytes() == state
    ganvas.resume("again", images, quiet=True)
    assert Path("run/weights.safetensors").read_bytes() == Path("again/weights.safetensors").read_bytes()


def test_a_device_that_is_not_here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    begun()
    own = config()
    RunFolder(Path("run")).write_config(own | {"train_config": own["train_config"] | {"device": "cuda"}})
    text = said(capsys, 2, "resume", "run", "--steps", "9")
    assert "--device cuda is not available here" in text
    assert "ganvas resume run --device auto" in text
    assert main(["resume", "run", "--steps", "9", "--device", "cpu", "--quiet"]) == 0
    assert config()["train_config"]["device"] == "cpu"
    assert main(["resume", "run", "--steps", "10", "--quiet"]) == 0


def test_a_config_that_was_edited_by_hand_is_told_by_its_field(capsys: pytest.CaptureFixture[str]) -> None:
    begun()
    own = config()
    for field, value in (("lr", 5e-4), ("width", 8)):
        RunFolder(Path("run")).write_config(own | {"fields": own["fields"] | {field: value}})
        for command in (["sample", "run", "--out", "a.png"], ["resume", "run", "--steps", "9"]):
            text = said(capsys, 2, *command)
            assert f"holds a vae with --{field} {own['fields'][field]}, but config.json says --{field} {value}" in text
    fields = {name: value for name, value in own["fields"].items() if name != "lr"}
    RunFolder(Path("run")).write_config(own | {"fields": fields})  # as of a version that had no such field
    assert main(["resume", "run", "--steps", "9", "--quiet"]) == 0


@pytest.mark.parametrize("name", ["vae", "gan", "cyclegan"])
def test_a_new_run_begins_with_the_weights_of_an_old_one(name: str, images: Dataset) -> None:
    model = small(MODELS[name])
    data: Any = as_pair(images).datasets if name == "cyclegan" else images
    ganvas.train(model, data, steps=4, batch_size=4, quiet=True, folder="old")
    old = safetensors.read_safetensors(Path("old/state.ckpt"))[1]
    with interrupted(1), pytest.raises(TrainingStopped):
        ganvas.train(model, data, steps=4, batch_size=4, quiet=True, folder="new", init_from="old")
    new = safetensors.read_safetensors(Path("new/state.ckpt"))[1]
    for key, tensor in old.items():
        moves_fast = {"past", "variance"} & {*key.split(".")}
        if key.startswith("nets/") and tensor.is_floating_point() and not moves_fast:
            assert (new[key] - tensor).abs().max() < 0.01, key
    assert config("new")["init_from"] == {"run": str(Path("old").resolve()), "step": 4}


def test_weights_alone_have_no_critic(images: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    old = ganvas.train(small(MODELS["gan"]), images, steps=2, batch_size=4, quiet=True, folder="old")
    for i, start in enumerate(("old/weights.safetensors", old)):
        ganvas.train(small(MODELS["gan"]), images, steps=1, batch_size=4, folder=f"new{i}", init_from=start)
        assert "does not hold D: random weights" in capsys.readouterr().err
    Path("old/state.ckpt").unlink()
    ganvas.train(small(MODELS["gan"]), images, steps=1, batch_size=4, folder="new", init_from="old")
    assert "does not hold D" in capsys.readouterr().err


def test_weights_that_do_not_fit_are_told_by_their_shapes(images: Dataset, vectors: Dataset) -> None:
    ganvas.train(MODELS["vae"](width=4, latent=3), images, steps=1, batch_size=4, quiet=True, folder="old")  # type: ignore[call-arg]
    for model, data, message in (
        (MODELS["vae"](width=8, latent=3), images, r"do not fit: .* is .* there, and .* here; it has width=4"),  # type: ignore[call-arg]
        (MODELS["gan"](width=4), images, r"has the networks decoder, encoder, but a gan has G, D"),  # type: ignore[call-arg]
        (MODELS["vae"](width=4, latent=3, augment=()), vectors, r"net=resize needs images, but the data are vectors"),  # type: ignore[call-arg]
    ):
        with pytest.raises(UserError, match=message):
            ganvas.train(model, data, steps=1, batch_size=4, quiet=True, folder="new", init_from="old")
    assert not Path("new").exists()
    with pytest.raises(UserError, match="no run 'nothing'"):
        ganvas.train(small(MODELS["vae"]), images, init_from="nothing")


def test_from_on_the_command_line() -> None:
    pets = begun()
    assert (
        main(["train", "vae", pets, "--steps", "2", *TINY, "--folder", "new", "--init-from", "run", "--lr", "1e-4"])
        == 0
    )
    assert config("new")["init_from"]["step"] == 8
    Path("new/state.ckpt").unlink()
    for sign in ("log.jsonl", "curves.png", "weights.safetensors"):
        Path("new", sign).unlink(missing_ok=True)
    shutil.rmtree("new/previews")
    assert main(["resume", "new"]) == 2  # its first weights were not random


def test_a_discriminator_of_before_with_two_normalisations(images: Dataset) -> None:
    """Such a run was allowed once; it is not the checkpoint of another model."""
    model = MODELS["gan"](width=4, latent=3, spectral_norm=True)  # type: ignore[call-arg]
    ganvas.train(model, images, folder="run", steps=8, batch_size=8, quiet=True)
    file = Path("run/state.ckpt")
    header, tensors = safetensors.read_safetensors(file)
    save_file(tensors | {"nets/D.3.weight": torch.ones(4)}, file, {"ganvas": json.dumps(header)})
    with pytest.raises(UserError, match="its D has another normalisation, which undoes spectral norm"):
        ganvas.resume("run", data=images, steps=60, quiet=True)
    assert len(ganvas.load("run").sample(2)) == 2


def test_a_file_of_options(vectors: Dataset) -> None:
    ganvas.train(ganvas.VAE(latent=2, width=4), vectors, steps=2, batch_size=8, quiet=True, folder="run")
    np.save("x.npy", vectors.x.numpy())
    Path("more.yaml").write_text("steps: 4\n", "utf-8")
    assert main(["resume", "run", "x.npy", "--config", "more.yaml", "--quiet"]) == 0
    assert ganvas.load("run").metadata["step"] == 4
