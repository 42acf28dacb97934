"""What models are measured on: the test split, and what they have learnt from only where there is none."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganvas
from ganvas.cli.app import main
from ganvas.data import DataOptions, MissingSplitError, load
from ganvas.errors import UserError
from ganvas.inference.trained import Trained

GAN = ganvas.GAN(latent=2, width=4)
OPTIONS: dict[str, Any] = {"steps": 1, "batch_size": 8, "quiet": True}
UNREAD = r"cannot read again what .* was trained on"


def write(folder: Path, n: int = 24, size: int = 8, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, x in enumerate(np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), np.uint8)):
        Image.fromarray(x).save(folder / f"{i}.png")
    return folder


def measured(run: Trained, **options: Any) -> dict[str, Any]:
    return ganvas.evaluate(run, metrics=("sliced-wasserstein",), features="pixels", **options)


def test_a_folder_without_test_split_is_measured_on_what_was_learnt_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(Path("plain"))
    for latent in (2, 3):
        run = ganvas.train(ganvas.GAN(latent=latent, width=4), "plain", folder=f"run{latent}", **OPTIONS)
    assert (measured(run)["split"], measured(run)["data"]) == ("train", "plain")
    note = "note: there are no held-out examples: these are the training examples, and so all numbers are better"
    assert main(["evaluate", "run2", "--metrics", "sliced-wasserstein", "--features", "pixels"]) == 0
    assert note in capsys.readouterr().err
    assert main(["compare", "run2", "run3", "--metrics", "sliced-wasserstein", "--features", "pixels"]) == 0
    assert note in capsys.readouterr().err


def test_a_test_split_that_cannot_be_read_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """One image of another size, damaged images, other shapes: never are the training examples taken instead."""
    write(Path("data/train"))
    write(Path("data/test"), 6)
    runs = [ganvas.train(ganvas.GAN(latent=n, width=4), "data", folder=f"run{n}", **OPTIONS) for n in (2, 3)]
    assert measured(runs[0])["split"] == "test"
    write(Path("data/test/odd"), 1, 9)
    for call in (lambda: measured(runs[0]), lambda: ganvas.compare(*runs, features="pixels")):
        with pytest.raises(UserError, match=f"{UNREAD}: .*data holds images of 2 sizes .*; if the data have moved"):
            call()
    assert main(["evaluate", "run2"]) == 2
    assert len(re.findall(UNREAD, capsys.readouterr().err)) == 1
    for path in Path("data/test").rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match=f"{UNREAD}: .*data: none of its 7 images can be read"):
        measured(runs[0])
    write(Path("data/test"), 6, 9)
    write(Path("data/test/odd"), 1, 9)
    with pytest.raises(UserError, match=f"{UNREAD}: data has examples of 3x9x9, but this model was trained on 3x8x8"):
        measured(runs[0])


def test_a_translators_test_split_too() -> None:
    for domain in "AB":
        write(Path(domain, "train"), 30, 16)
        write(Path(domain, "test"), 24, 16)
    run = ganvas.train(ganvas.CycleGAN(width=4, blocks=1), ("A", "B"), **OPTIONS | {"batch_size": 1})
    found = ganvas.evaluate(run, features="pixels", pairs=("A", "B"))
    assert (found["split"], found["pairs"]["examples"]) == ("test", 24)
    write(Path("A/test/odd"), 1, 9)
    for path in Path("A/test").rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match=f"{UNREAD}: .*A: none of its 25 images can be read"):
        ganvas.evaluate(run, features="pixels")
    with pytest.raises(UserError, match="A: none of its 25 images can be read"):
        ganvas.evaluate(run, ("B", "B"), features="pixels", pairs=("A", "B"))


def test_what_was_trained_on_is_no_test_split() -> None:
    """Of the test split of a data set, and of an array that was named in an archive."""
    run = ganvas.train(GAN, "digits", split="test", **OPTIONS)
    assert measured(run)["split"] == "train"
    x = np.random.default_rng(0).integers(0, 256, (2, 30, 8, 8), np.uint8)
    np.savez("one.npz", images=x[0])
    np.savez("both.npz", x_train=x[0], x_test=x[1], y_train=np.arange(30) % 3, y_test=np.arange(30) % 2)
    assert measured(ganvas.train(GAN, "one.npz:images", **OPTIONS))["split"] == "train"
    assert measured(ganvas.train(GAN, "one.npz", **OPTIONS))["split"] == "train"
    named = load("both.npz:x_train", DataOptions(split="test"))
    assert named.x.tolist() == load("both.npz", DataOptions(split="test")).x.tolist() == x[1][:, None].tolist()
    for source in ("one.npz", "one.npz:images"):
        with pytest.raises(MissingSplitError):
            load(source, DataOptions(split="test"))
    with pytest.raises(UserError, match="has no array") as error:
        load("both.npz:z_test", DataOptions(split="test"))
    assert not isinstance(error.value, MissingSplitError)


def test_idx_files_without_a_test_split() -> None:
    Path("raw").mkdir()
    x = np.random.default_rng(0).integers(0, 256, (30, 8, 8), np.uint8)
    header = b"\0\0\x08\x03" + b"".join(int(n).to_bytes(4, "big") for n in x.shape)
    Path("raw/train-images-idx3-ubyte").write_bytes(header + x.tobytes())
    assert measured(ganvas.train(GAN, "raw", **OPTIONS))["split"] == "train"
    Path("raw/t10k-images-idx3-ubyte").write_bytes(header + x.tobytes()[:-1])
    with pytest.raises(UserError, match=f"{UNREAD}: .*t10k-images-idx3-ubyte is damaged"):
        measured(ganvas.train(GAN, "raw", **OPTIONS))


def test_data_are_not_called_train() -> None:
    """A folder or a file that is called like a split has the name of what it lies in."""
    write(Path("pets/train"))
    write(Path("pets/Test"), 3)
    assert load("pets").name == load("pets", DataOptions(split="test")).name == load("pets/train").name == "pets"
    run = ganvas.train(GAN, "pets/train", **OPTIONS)
    assert run.folder is not None
    assert run.folder.name.endswith("-gan-pets")
    x = np.zeros((3, 4, 4), np.uint8)
    np.save("pets/train.npy", x)
    np.savez("pets/training.npz", x=x)
    assert [load(f"pets/{name}").name for name in ("train.npy", "training.npz")] == ["pets"] * 2
    write(Path("trains"), 2)
    assert load("trains").name == "trains"


def test_data_that_a_run_has_learnt_from_are_not_called_held_out(capsys: pytest.CaptureFixture[str]) -> None:
    for part, seed in (("train", 0), ("test", 1)):
        write(Path("data") / part, seed=seed)
    ganvas.train(GAN, "data", folder="run", **OPTIONS)
    for words, learnt in ((["data"], True), (["data", "--split", "test"], False), (["data/test"], False)):
        assert main(["evaluate", "run", *words, "--metrics", "sliced-wasserstein", "--features", "pixels"]) == 0
        out, err = capsys.readouterr()
        assert ("the run was trained on these examples, or on most of them" in err) == learnt
        assert "samples against as many given examples" in out
