"""Images of more than 256 levels through runs: from a file through a model to a file, in the units of the data."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas.cli.app import main
from ganvas.errors import UserError
from ganvas.io.safetensors import read_header
from tests.support.deep import DEEP, RANDOM, saved
from tests.support.images import png

VAE = ganvas.VAE(latent=2, width=4)


def train(data: Any, folder: Path, **options: Any) -> ganvas.Trained:
    """A run of one step, without held-out examples."""
    return ganvas.train(VAE, data, folder=folder, quiet=True, **{"steps": 1, "holdout": 0} | options)


def make_exact(monkeypatch: pytest.MonkeyPatch, run: ganvas.Trained) -> None:
    """Autoencoders whose codes are the pixels."""
    monkeypatch.setattr(ganvas.VAE, "encode", lambda self, x, *labels, **nets: x.flatten(1))
    monkeypatch.setattr(ganvas.VAE, "generate", lambda self, z, *labels, **nets: z.unflatten(1, run.shape))


def check_exact(file: Path, array: np.ndarray) -> None:
    """The file has the array's numbers, to a level of 65,536 or, if integers of 16 bits, all of them; h x w x c."""
    with np.load(file) if file.suffix == ".npz" else file.open("rb") as content:
        back = content["x"] if file.suffix == ".npz" else np.load(content)
    images = array if array.ndim == 4 else array[..., None]
    assert (back.dtype.name, back.shape) == (array.dtype.name, images.shape)
    level = (float(array.max()) - float(array.min())) / 65536
    assert np.abs(back.astype(float) - images).max() <= level
    assert np.array_equal(back, images) or array.dtype.kind == "f" or array.dtype.itemsize == 4


@pytest.mark.parametrize("name", list(DEEP))
def test_an_exact_model_gives_back_the_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An autoencoder whose codes are the pixels, and a translator that changes nothing."""
    array, file = DEEP[name], tmp_path / "x.npy"
    np.save(file, array)
    run = train(str(file), tmp_path / "run")
    make_exact(monkeypatch, run)
    assert run.scaling[0].dtype == array.dtype.name
    model, pair = ganvas.CycleGAN(width=4, blocks=1), (str(file), str(file))
    ganvas.train(model, pair, steps=1, batch_size=2, holdout=0, quiet=True, folder=tmp_path / "translator")
    monkeypatch.setattr(ganvas.CycleGAN, "translate", lambda self, x, to, **nets: x)
    for suffix in (".npy", ".npz"):
        out = tmp_path / f"out{suffix}"
        assert main(["reconstruct", str(run.folder), str(file), "--out", str(out), "-n", "6"]) == 0
        check_exact(out, array)
        assert main(["translate", str(tmp_path / "translator"), str(file), str(out), "--force"]) == 0
        check_exact(out, array)
    assert main(["reconstruct", str(run.folder), str(file), "--out", str(tmp_path / "x.png")]) == 0
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.mode == ("L" if array.ndim == 3 or array.shape[3] < 3 else "RGB")


@pytest.mark.parametrize(("suffix", "shape"), [("png", (9, 8)), ("tif", (9, 8)), ("png", (9, 8, 3))])
def test_files_of_16_bits_come_back_as_such(
    suffix: str, shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = RANDOM.integers(0, 1401, (3, *shape)).astype(np.uint16)
    contents = [png(x) if x.ndim == 3 else x for x in values]
    folder = saved(tmp_path / "scans", **{f"{i}_{suffix}": x for i, x in enumerate(contents)})
    run = train(folder, tmp_path / "run", batch_size=3)
    make_exact(monkeypatch, run)
    assert main(["reconstruct", str(run.folder), str(folder), "--out", str(tmp_path / "out")]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["00000.png", "00001.png", "00002.png"]
    assert np.array_equal(ganvas.data.load(tmp_path / "out").x.movedim(1, -1).numpy().squeeze(), values)
    again = ganvas.data.load(tmp_path / "out", ganvas.DataOptions(bits="full"))
    assert again.source_dtype == "uint16"
    model = ganvas.CycleGAN(width=4, blocks=1)
    run = ganvas.train(model, (folder, folder), steps=1, batch_size=2, holdout=0, quiet=True, folder=tmp_path / "same")
    monkeypatch.setattr(ganvas.CycleGAN, "translate", lambda self, x, to, **nets: x)
    assert main(["translate", str(run.folder), str(folder), str(tmp_path / "translated")]) == 0
    translations = ganvas.data.load(tmp_path / "translated", ganvas.DataOptions(bits="full"))
    assert translations.source_dtype == "uint16"
    assert np.array_equal(translations.x.movedim(1, -1).numpy().squeeze(), values)
    assert sorted(p.name for p in (tmp_path / "translated").glob("[0-9]*")) == sorted(p.name for p in folder.iterdir())


def test_a_run_keeps_its_scale_in_its_files_and_goes_on_bit_for_bit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array = DEEP["two channels"]
    whole = train(array, tmp_path / "whole", steps=4, checkpoint_every=2)
    train(array, tmp_path / "part", steps=2, checkpoint_every=2)
    resumed = ganvas.resume(tmp_path / "part", array, steps=4, quiet=True)
    for name, tensor in whole.nets.state_dict().items():
        assert torch.equal(tensor, resumed.nets.state_dict()[name])
    again = ganvas.load(str(tmp_path / "part"))
    header = read_header(tmp_path / "part" / "weights.safetensors")
    assert (header["format"], header["dtypes"]) == (3, ["float32"])
    assert np.array_equal(again.sample(3).numpy(), whole.sample(3).numpy())
    samples = again.sample(3).numpy()
    assert samples.dtype == np.float32
    assert array.min() <= samples.min() <= samples.max() <= array.max()
    np.save(tmp_path / "x.npy", array)
    np.save(tmp_path / "y.npy", array + 99)
    for name, is_clipped in (("x", False), ("y", True)):
        words = [str(tmp_path / "part"), str(tmp_path / f"{name}.npy"), "--out", str(tmp_path / f"{name}.png")]
        assert main(["reconstruct", *words]) == 0
        assert ("100% of the numbers are beyond" in capsys.readouterr().err) == is_clipped
    moved = again.reconstruct(array + 5).numpy()  # by the run's own scale, not one of these
    assert np.abs(moved - again.reconstruct(array).numpy()).max() < 9
    other = ganvas.resume(tmp_path / "part", array + 5, steps=5, quiet=True, allow_changed_data=True)
    assert other.scaling[0].low is not None
    assert torch.equal(other.scaling[0].low, whole.scaling[0].low)


def test_runs_of_bytes_stay_such(tmp_path: Path) -> None:
    array = DEEP["big-endian"]
    old = train(array, tmp_path / "old", bits=8, range="0,65535")
    header = read_header(tmp_path / "old" / "weights.safetensors")
    assert (header["format"], header.get("dtypes")) == (2, None)
    assert old.sample(2).numpy().dtype == np.uint8
    assert ganvas.load(str(tmp_path / "old")).reconstruct(array).numpy().dtype == np.uint8
    file = tmp_path / "old" / "config.json"
    config = json.loads(file.read_text())
    del config["data"]["options"]["bits"], config["data"]["options"]["scale"]  # as runs of before
    file.write_text(json.dumps(config))
    assert ganvas.resume(tmp_path / "old", array, steps=2, quiet=True).sample(2).numpy().dtype == np.uint8


def test_other_kinds_are_refused_in_a_sentence(tmp_path: Path) -> None:
    array = DEEP["big-endian"]
    deep, flat = train(array, tmp_path / "deep"), train((array // 257).astype(np.uint8), tmp_path / "flat")
    with pytest.raises(UserError, match="images of 8 bits, but this model was trained on numbers of uint16"):
        deep.reconstruct((array // 257).astype(np.uint8))
    with pytest.raises(UserError, match="images of numbers of uint16, but this model was trained on 8 bits"):
        flat.reconstruct(ganvas.from_array(array))
    assert deep.reconstruct(array // 257).numpy().dtype == np.uint16  # though bytes could hold these
    for options, message in (({"likelihood": "bernoulli"}, "neither bits"), ({"binarize": "static"}, "neither bits")):
        with pytest.raises(UserError, match=message):
            ganvas.train(ganvas.VAE(width=4, **options), array, steps=1, quiet=True, folder=tmp_path / "x")  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", ["mean-std", "percentile"])
def test_the_option_of_the_scale_reaches_the_model(scale: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", DEEP["two channels"])
    words = ["--scale", scale, "--steps", "1", "--folder", str(tmp_path / "run"), "--latent", "2", "--width", "4"]
    assert main(["train", "vae", str(tmp_path / "x.npy"), *words]) == 0
    run = ganvas.load(str(tmp_path / "run"))
    expected = ganvas.data.Scaling.fit_dataset(ganvas.from_array(DEEP["two channels"], scale=scale))  # type: ignore[arg-type]
    assert run.scaling[0].low is not None
    assert torch.equal(run.scaling[0].low, expected.low)  # type: ignore[arg-type]
    assert main(["reconstruct", str(tmp_path / "run"), str(tmp_path / "x.npy"), "--out", str(tmp_path / "y.npy")]) == 0


def test_evaluation_says_what_metrics_see(tmp_path: Path) -> None:
    run = train(RANDOM.normal(1013, 9, (40, 8, 8, 5)).astype(np.float32), tmp_path / "run")
    values = ganvas.evaluate(run, RANDOM.normal(1013, 9, (50, 8, 8, 5)), metrics=["kid", "reconstruction"])
    assert values["protocol"].startswith("numbers rounded to 256 levels by the model's scale, channels side by side")
    assert 0 < values["reconstruction_mse"] < 1
    held_out = RANDOM.normal(1013, 9, (50, 8, 8, 5)).astype(np.float32)
    errors = ganvas.evaluate(run, held_out, metrics=["reconstruction"])["reconstruction_rmse"]
    made = run.reconstruct(held_out).numpy().astype(float)
    assert np.allclose(errors, np.sqrt(((made - held_out) ** 2).mean((0, 1, 2))), rtol=0.02)


def test_translations_are_in_the_units_of_their_domain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scans of 16 bits to floats and back, by networks that change nothing."""
    scans = RANDOM.integers(0, 1401, (4, 8, 8)).astype(np.uint16)
    scans[0, 0, 0], scans[1, 1, 1] = 0, 1400
    floats = (scans / np.float32(100) - 7).astype(np.float32)
    a = saved(tmp_path / "a", **{f"{i}_png": x for i, x in enumerate(scans)})
    b = saved(tmp_path / "b", **{f"{i}_tif": x for i, x in enumerate(floats)})
    run = ganvas.train(ganvas.CycleGAN(width=4, blocks=1), (a, b), steps=1, quiet=True, folder=tmp_path / "run")
    assert [s.dtype for s in run.scaling] == ["uint16", "float32"]
    monkeypatch.setattr(ganvas.CycleGAN, "translate", lambda self, x, to, **nets: x)
    for source, target, to in ((scans, floats, "B"), (floats, scans, "A")):
        made = run.translate(source, to).numpy()[..., 0]
        assert made.dtype == target.dtype
        assert np.abs(made - target).max() <= np.ptp(target.astype(float)) / 65536
    assert main(["translate", str(tmp_path / "run"), str(a), str(tmp_path / "to-b")]) == 0
    assert main(["translate", str(tmp_path / "run"), str(b), str(tmp_path / "to-a"), "--to", "A"]) == 0
    with Image.open(tmp_path / "to-a" / "2.tif") as image:
        assert image.mode == "I;16"
        assert np.array_equal(np.asarray(image), scans[2])
    assert main(["translate", str(tmp_path / "run"), str(a / "1.png"), str(tmp_path / "one.tif")]) == 0
    with Image.open(tmp_path / "one.tif") as image:
        assert np.allclose(np.asarray(image), floats[1], atol=14 / 65536)
    assert main(["translate", str(tmp_path / "run"), str(saved(tmp_path / "c", x_png=scans[0] * 9)), "to-c"]) == 0
    assert "1 had numbers beyond those that the model's scale goes to" in capsys.readouterr().out
    values = ganvas.evaluate(run, (scans, floats), metrics=["sliced-wasserstein"])
    assert values["to_b"]["cycle_error"] < 1e-4
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(a / "bytes.png")
    assert main(["translate", str(tmp_path / "run"), str(a / "bytes.png"), str(tmp_path / "no.png")]) == 2


def test_a_run_begun_from_another_has_its_scale_where_that_clips_nothing(tmp_path: Path) -> None:
    array = DEEP["two channels"]
    first = train(array, tmp_path / "first")
    flat = train((DEEP["big-endian"] // 257).astype(np.uint8), tmp_path / "flat")
    inner = train(array / 2 + array.mean((0, 1, 2)) / 2, tmp_path / "inner", init_from=first)
    beyond = train(2 * array, tmp_path / "beyond", init_from=first)
    deep = train(DEEP["big-endian"], tmp_path / "deep", init_from=flat)
    assert torch.equal(inner.scaling[0].low, first.scaling[0].low)  # type: ignore[arg-type]
    assert torch.allclose(beyond.scaling[0].low, 2 * first.scaling[0].low)  # type: ignore[arg-type, operator]
    assert deep.scaling[0].dtype == "uint16"
