"""Numbers that are black and white, rounded to 256 levels: of 16 bits, signed and floating-point, files and arrays."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas.cli.app import main
from ganvas.data import DataOptions, from_array, load
from ganvas.errors import UserError
from ganvas.inference.loading import load_preprocessed
from tests.support.images import of_bits, png

LOW, HIGH = -1000, 1400
BYTES = DataOptions(bits=8)
RANDOM = np.random.default_rng(0)
UNSIGNED = RANDOM.integers(0, HIGH + 1, (4, 9, 8))
SIGNED = RANDOM.integers(LOW, HIGH + 1, (4, 9, 8))
for _values, _low in ((UNSIGNED, 0), (SIGNED, LOW)):
    _values[0, 0, 0], _values[3, 8, 7] = _low, HIGH


def expected(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Bytes by the formula that the option states, n x 1 x h x w."""
    return np.rint(255 * (np.clip(values.astype(float), low, high) - low) / (high - low)).astype(np.uint8)[:, None]


def saved(folder: Path, values: np.ndarray, write: Callable[[np.ndarray, Path], None]) -> Path:
    folder.mkdir()
    for i, image in enumerate(values):
        write(image, folder / str(i))
    return folder


def int16_tiff(image: np.ndarray, path: Path) -> None:
    """A TIFF of signed 16 bits, which Pillow does not write."""
    path.with_suffix(".tif").write_bytes(of_bits(image, 16, image.astype("<i2").tobytes(), ((339, 2),)))


KINDS: dict[str, tuple[np.ndarray, Callable[[np.ndarray, Path], None]]] = {
    "png of 16 bits": (UNSIGNED, lambda x, p: Image.fromarray(x.astype(np.uint16)).save(p.with_suffix(".png"))),
    "tiff of 16 bits": (UNSIGNED, lambda x, p: Image.fromarray(x.astype(np.uint16)).save(p.with_suffix(".tif"))),
    "pgm": (UNSIGNED, lambda x, p: p.with_suffix(".pgm").write_bytes(b"P5 8 9 65535\n" + x.astype(">u2").tobytes())),
    "tiff of signed 16 bits": (SIGNED, int16_tiff),
    "tiff of 32 bits": (SIGNED, lambda x, p: Image.fromarray(x.astype(np.int32)).save(p.with_suffix(".tiff"))),
    "tiff of floats": (SIGNED, lambda x, p: Image.fromarray(x.astype(np.float32)).save(p.with_suffix(".tiff"))),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_range_of_files(kind: str, tmp_path: Path) -> None:
    values, write = KINDS[kind]
    folder = saved(tmp_path / "scans", values, write)
    low = int(values.min())
    found = load(folder, DataOptions(range="auto", bits=8))
    assert np.array_equal(found.x.numpy(), expected(values, low, HIGH))
    assert found.range == (low, HIGH)
    assert found.notes[:1] == (f"numbers from {low} (black) to {HIGH} (white) were rounded to 256 levels",)
    clipped = load(folder, DataOptions(range="100,900", bits=8))
    assert np.array_equal(clipped.x.numpy(), expected(values, 100, 900))
    below, above = (values < 100).sum(), (values > 900).sum()
    assert clipped.notes[0].endswith(f"% were clipped: {below} lower and {above} higher ones")


@pytest.mark.parametrize("kind", ["tiff of signed 16 bits", "tiff of 32 bits", "tiff of floats"])
def test_what_has_no_black_and_white_needs_a_range(kind: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "scans", *KINDS[kind])
    with pytest.raises(UserError, match=r"from -1000 to \d+ have no black and white of their own: range=auto"):
        load(folder, BYTES)
    Image.fromarray(UNSIGNED[0].astype(np.uint8)).save(folder / "x.png")
    assert "4 files skipped" in load(folder, BYTES).notes[0]


def test_dark_16_bit_images_are_noted_with_the_remedy(tmp_path: Path) -> None:
    found = load(saved(tmp_path / "scans", *KINDS["png of 16 bits"]), BYTES)
    assert np.array_equal(found.x.numpy(), expected(UNSIGNED, 0, 65535))
    assert "their numbers are from 0 to 1400, 2.1% of the range of 0 to 65535, so that 6 of 256" in found.notes[0]
    assert "--range auto" in found.notes[0]


def test_auto_is_that_of_all_images_and_not_of_each(tmp_path: Path) -> None:
    """Colours and their alpha, of which the range says nothing."""
    (tmp_path / "scans").mkdir()
    for i, most in enumerate((200, 1000)):
        values = np.full((3, 4, 4), most)
        values[0, 0] = (0, 5, 9, 65535)
        values[1, 1, 3] = 0
        (tmp_path / "scans" / f"{i}.png").write_bytes(png(values))
    found = load(tmp_path / "scans", DataOptions(range="auto", bits=8))
    assert found.range == (0, 1000)
    assert found.x[0, :3, 2, 2].tolist() == [51] * 3
    assert found.x[1, :3, 2, 2].tolist() == [255] * 3
    assert (found.x[0, 3, 0, 0].item(), found.x[0, 3, 1, 1].item()) == (255, 0)


def test_bytes_have_a_range_too_but_not_one_beyond_theirs(tmp_path: Path) -> None:
    values = RANDOM.integers(50, 201, (4, 9, 8))
    folder = saved(tmp_path / "x", values, lambda x, p: Image.fromarray(x.astype(np.uint8)).save(p.with_suffix(".png")))
    assert np.array_equal(load(folder, DataOptions(range="50,200", bits=8)).x.numpy(), expected(values, 50, 200))
    found = load(folder, DataOptions(range="0,1400", bits=8))
    assert np.array_equal(found.x[:, 0].numpy(), values)
    assert found.notes[:1] == ("4 images were left as they are: they have 8 bits, and the range goes beyond",)
    assert np.array_equal(from_array(values.astype(np.uint8), range="50,200").x.numpy(), expected(values, 50, 200))


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("form", ["npy", "npz", "array", "tensor"])
def test_a_range_of_arrays(form: str, dtype: type, tmp_path: Path) -> None:
    values = UNSIGNED.astype(dtype)
    np.save(tmp_path / "x.npy", values)
    np.savez(tmp_path / "x.npz", x_train=values)
    tensor = torch.from_numpy(values.astype(np.int32) if dtype == np.uint16 else values)
    source = {"array": values, "tensor": tensor}.get(form, tmp_path / f"x.{form}")
    assert np.array_equal(load(source, DataOptions(range="auto", bits=8)).x.numpy(), expected(UNSIGNED, 0, HIGH))
    assert np.array_equal(load(source, DataOptions(range="100,900", bits=8)).x.numpy(), expected(UNSIGNED, 100, 900))
    with pytest.raises(UserError, match="range=auto"):
        load(source, BYTES)


def test_planes_of_an_array_and_its_alpha() -> None:
    values = np.concatenate([RANDOM.integers(0, 1401, (2, 3, 5, 6)), np.full((2, 1, 5, 6), 65535)], 1).astype(np.uint16)
    found = from_array(values, channels_last=False, range=(0, 1400), bits=8).x.numpy()
    assert np.array_equal(found[:, :3], expected(values[:, :3], 0, 1400)[:, 0])
    assert (found[:, 3] == 255).all()


def test_ranges_that_mean_nothing() -> None:
    for wrong in ("5", "5,5", "9,3", "a,b", "nan,3", "1,2,3", (1,), ""):
        with pytest.raises(UserError, match="must be auto, or two numbers"):
            DataOptions(range=wrong)
    assert DataOptions(range=(0, 0.5)).bounds == (0, 0.5)  # type: ignore[arg-type]
    assert DataOptions(range="-1024 1400").range == "-1024,1400"
    with pytest.raises(UserError, match="vectors, which have no black and white"):
        load(np.zeros((3, 4)), DataOptions(range="auto", bits=8))
    for source in ("digits", from_array(UNSIGNED.astype(np.uint8))):
        with pytest.raises(UserError, match="range is for images from files"):
            load(source, DataOptions(range="auto", bits=8))
    with pytest.raises(UserError, match="nothing but the number 7"):
        from_array(np.full((3, 4, 4), 7.0), range="auto", bits=8)
    with pytest.raises(UserError, match="holds nan"):
        from_array(np.full((3, 4, 4), np.nan), range="auto")


def test_a_run_maps_what_it_is_given_as_its_own_data(tmp_path: Path) -> None:
    """The range that "auto" found, and not that of other data."""
    folder = saved(tmp_path / "scans", *KINDS["tiff of signed 16 bits"])
    half = saved(tmp_path / "half", SIGNED // 2, KINDS["tiff of floats"][1])
    run = ganvas.train(ganvas.VAE(latent=2, width=4), folder, range="auto", bits=8, steps=2, quiet=True)
    again = ganvas.load(str(run.folder))
    assert np.array_equal(load_preprocessed(again, half).x.numpy(), expected(SIGNED // 2, LOW, HIGH))
    assert np.array_equal(
        load_preprocessed(again, (SIGNED // 2).astype(np.int16)).x.numpy(), expected(SIGNED // 2, LOW, HIGH)
    )
    assert np.array_equal(
        load_preprocessed(again, half, DataOptions(range="0,500", bits=8)).x.numpy(), expected(SIGNED // 2, 0, 500)
    )
    assert again.training_data is not None
    assert again.training_data.options.bounds == (LOW, HIGH)
    assert json.loads((run.folder / "config.json").read_text())["data"]["options"]["range"] == "auto"
    assert ganvas.resume(run.folder, steps=3, quiet=True).metadata["range"] == [LOW, HIGH]


def test_translations_are_in_the_numbers_of_their_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed scans to unsigned ones, by a network that changes nothing."""
    a, b = (saved(tmp_path / n, *KINDS[k]) for n, k in (("a", "tiff of signed 16 bits"), ("b", "png of 16 bits")))
    model = ganvas.CycleGAN(width=4, blocks=1)
    run = ganvas.train(model, (a, b), range="auto", bits=8, steps=1, quiet=True, folder=tmp_path / "run")
    monkeypatch.setattr(ganvas.Trained, "translate_batch", lambda self, x, to: x)
    assert main(["translate", str(run.folder), str(a), str(tmp_path / "to-b")]) == 0
    assert main(["translate", str(run.folder), str(b), str(tmp_path / "to-a"), "--to", "A"]) == 0
    with Image.open(tmp_path / "to-b" / "1.tif") as image:
        made = np.asarray(image)
    assert np.abs(made - (SIGNED[1] - LOW) * (HIGH / (HIGH - LOW))).max() <= 0.51
    with Image.open(tmp_path / "to-a" / "1.png") as image:  # which holds nothing below 0
        made = np.asarray(image)
    assert np.abs(made - UNSIGNED[1] * (255 / HIGH)).max() <= 0.51
    assert main(["translate", str(run.folder), str(b / "1.png"), str(tmp_path / "one.tif"), "--to", "A"]) == 0
    with Image.open(tmp_path / "one.tif") as image:
        made = np.asarray(image)
    assert np.abs(made - (UNSIGNED[1] * ((HIGH - LOW) / HIGH) + LOW)).max() <= 0.51


@pytest.mark.parametrize("words", [["0", "1400"], ["0,1400"], ["-1000", "1400"], ["-1000,1400"], ["auto"]])
def test_a_range_on_the_command_line(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved(tmp_path / "scans", *KINDS["tiff of floats"])
    low = 0 if words[0].startswith("0") else LOW
    for given in (["--range", *words], [f"--range={','.join(words)}"]):
        assert main(["data", str(folder), "--bits", "8", *given, "--out", "x.png", "--force", "--size", "8"]) == 0
        assert f"numbers from {low} (black) to 1400 (white)" in capsys.readouterr().out
    Path("options.yaml").write_text(f"range: [{low}, 1400]\n")
    assert main(["--config", "options.yaml", "data", str(folder), "--bits=8", "--out", "x.png", "--force"]) == 0
    assert f"numbers from {low} (black) to 1400 (white)" in capsys.readouterr().out


def test_nearly_empty_domains_of_few_levels_name_the_range(tmp_path: Path) -> None:
    folder = saved(tmp_path / "scans", *KINDS["png of 16 bits"])
    assert "from 0 to 5 of 255: say which are black and white, --range auto" in " ".join(
        ganvas.data.load_all((folder, folder), BYTES).notes
    )


def test_the_command_line_spells_a_range_one_way(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", SIGNED)
    assert main(["data", str(tmp_path / "x.npy"), "--bits", "8"]) == 2
    said = capsys.readouterr().err
    assert "--range LOW HIGH" in said
    assert "LOW,HIGH" not in said
