"""Images of more than 256 levels: which keep their numbers, how models see them, and that they come back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.cli.app import main
from ganvas.data import DataOptions, as_measured, from_array, load
from ganvas.data.depth import channel_bounds
from ganvas.data.scaling import Scaling
from ganvas.data.stored_scaling import scaling_from_state, scaling_state
from ganvas.errors import UserError
from ganvas.models import VAE
from tests.support.deep import DEEP, RANDOM, saved
from tests.support.images import of_bits, png
from tests.support.shards import examples, image_rows, write_parquet, write_tar


@pytest.mark.parametrize("name", list(DEEP))
def test_numbers_stay_and_come_back_through_a_model_s_scale(name: str) -> None:
    array = DEEP[name]
    data = from_array(array)
    images = array if array.ndim == 4 else array[..., None]
    assert data.is_deep
    assert data.source_dtype == array.dtype.name
    kept, level = data.x.movedim(1, -1).double().numpy(), (float(array.max()) - float(array.min())) / 2**20
    assert (np.abs(kept - images) <= level).all()
    assert np.array_equal(kept, images) or array.dtype.name in ("int32", "float64")
    for pixel_range in ((-1.0, 1.0), (0.0, 1.0)):
        scaling = Scaling.fit_dataset(data, pixel_range)
        seen = scaling(data.x)
        assert seen.dtype == torch.float32
        assert seen.amin((0, 2, 3)).tolist() == [pixel_range[0]] * images.shape[3]
        assert seen.amax((0, 2, 3)).tolist() == [pixel_range[1]] * images.shape[3]
        back = scaling.inverse(seen).movedim(1, -1).double().numpy()
        level = (images.max((0, 1, 2)).astype(float) - images.min((0, 1, 2))) / 65536
        assert (np.abs(back - images) < level).all()
        if array.dtype.itemsize <= 2 and array.dtype.kind in "ui":
            assert np.array_equal(back, images)


def test_what_bytes_hold_stays_bytes() -> None:
    levels = RANDOM.integers(0, 256, (4, 6, 5)).astype(np.uint8)
    for array in (levels, levels.astype(np.uint16), levels / 255, levels / np.float32(255), levels > 9):
        assert from_array(array).x.dtype == torch.uint8
    full = from_array(levels.astype(np.uint16), bits="full")
    assert (full.source_dtype, full.x.dtype) == ("uint16", torch.float32)
    assert from_array(levels, bits="full").x.dtype == torch.uint8
    assert from_array(RANDOM.random((4, 6, 5)), bits=8).x.dtype == torch.uint8
    assert from_array(RANDOM.random((4, 6, 5, 4))).x.dtype == torch.uint8  # colours and alpha


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((5, 12, 8, 8), 12), ((5, 8, 8, 12), 12), ((5, 2, 9, 7), 2), ((5, 9, 7, 2), 2), ((5, 3, 20, 16), 3),
     ((5, 16, 20, 3), 3), ((5, 5, 20, 16), 5), ((5, 16, 20, 5), 5), ((5, 20, 20, 16), 16)],
)  # fmt: skip
def test_which_axis_has_the_channels(shape: tuple[int, ...], channels: int) -> None:
    assert from_array(RANDOM.normal(size=shape)).shape[0] == channels


def test_scales() -> None:
    x = torch.from_numpy(RANDOM.normal(3, 2, (8, 2, 30, 30))).float()
    x[:, 1] = 7
    low, high = channel_bounds(x, "mean-std")
    assert low[0].item() == pytest.approx((x[:, 0].mean() - 3 * x[:, 0].std(correction=0)).item())
    assert high[0].item() == pytest.approx((x[:, 0].mean() + 3 * x[:, 0].std(correction=0)).item())
    low, high = channel_bounds(x, "percentile")
    assert np.allclose([low[0], high[0]], np.percentile(x[:, 0].numpy(), [1, 99]), atol=2e-3)
    assert (low[1].item(), high[1].item()) == (7, 14)
    assert [t.tolist() for t in channel_bounds(x, bounds=(0.0, 5.0))] == [[0, 0], [5, 5]]
    data = from_array(x.numpy(), channels_last=False, scale="percentile")
    scaling = Scaling.fit_dataset(data)
    back = scaling.inverse(scaling(data.x))
    assert torch.allclose(back[:, 0], data.x[:, 0].clamp(low[0].item(), high[0].item()), atol=1e-4)
    assert (back[:, 1] == 7).all()


def test_a_declared_range_is_that_of_all_channels_and_counts_what_it_clips() -> None:
    data = from_array(DEEP["five channels"], range=(-500, 500))
    scaling = Scaling.fit_dataset(data)
    assert scaling.low is not None
    assert scaling.low.tolist() == [-500] * 5
    assert "scaled from -500 to 500, so that" in data.notes[0]
    assert from_array(DEEP["five channels"], range="auto").range == (-999, 999)


def test_the_note_says_type_range_channels_and_scale() -> None:
    kept, shown = from_array(DEEP["five channels"]).notes
    assert kept.startswith("numbers of int16 from -999 to 999 in 5 channels of 8 x 8 pixels (height x width) are kept")
    assert kept.endswith("; a model sees each channel scaled by its range")
    assert shown == "pictures show the first three channels, as red, green and blue"
    assert from_array(DEEP["two channels"]).notes[1] == "pictures show the first channel"
    assert "from 1% to 99% of its numbers" in from_array(DEEP["float16"], scale="percentile").notes[0]
    assert "none of the four channels is alpha" in from_array(DEEP["four channels"]).notes[2]


def test_metrics_see_all_channels_side_by_side() -> None:
    data = from_array(DEEP["five channels"])
    scaling = Scaling.fit_dataset(data)
    seen = as_measured(data, scaling)
    assert seen.shape == (1, 8, 40)
    assert torch.equal(seen.x[:, :, :, 8:16], (scaling.to_unit(data.x)[:, 1:2] * 255).round().byte())
    colour = from_array(RANDOM.normal(size=(3, 8, 8, 3)))
    assert as_measured(colour, Scaling.fit_dataset(colour)).shape == (3, 8, 8)


def test_a_file_keeps_the_scale() -> None:
    scaling = Scaling.fit_dataset(from_array(DEEP["two channels"]), VAE.pixel_range)
    tensors, header = scaling_state((scaling,))
    (again,) = scaling_from_state(tensors, header, VAE())
    assert (header, tensors, again.dtype) == ({}, {}, "float32")
    x = from_array(DEEP["two channels"]).x
    assert torch.equal(again(x), scaling(x))
    assert torch.equal(again.inverse(again(x)), scaling.inverse(scaling(x)))


def test_files_of_16_bits_and_of_floats_keep_their_numbers(tmp_path: Path) -> None:
    grey = RANDOM.integers(0, 1400, (2, 6, 5)).astype(np.uint16)
    colour = RANDOM.integers(0, 65536, (6, 5, 3)).astype(np.uint16)
    data = load(saved(tmp_path / "grey", a_png=grey[0], b_tif=grey[1]))
    assert np.array_equal(data.x[:, 0].numpy(), grey)
    assert data.source_dtype == "uint16"
    assert data.notes[0].startswith(f"numbers of uint16 from {grey.min()} to {grey.max()} are kept as they are")
    data = load(saved(tmp_path / "colour", a_png=png(colour)))
    assert np.array_equal(data.x[0].movedim(0, -1).numpy(), colour)
    floats = RANDOM.normal(-3, 1, (6, 5)).astype(np.float32)
    data = load(saved(tmp_path / "floats", a_tif=floats))
    assert np.array_equal(data.x[0, 0].numpy(), floats)
    assert data.source_dtype == "float32"
    signed = RANDOM.integers(-1000, 1000, (6, 5)).astype(np.int16)
    data = load(saved(tmp_path / "signed", a_tif=of_bits(signed, 16, signed.astype("<i2").tobytes(), ((339, 2),))))
    assert np.array_equal(data.x[0, 0].numpy(), signed)
    assert data.source_dtype == "int16"
    data = load(saved(tmp_path / "mixed", a_tif=floats, b_tif=(1000 * floats).astype(np.int32)))
    assert data.source_dtype == "float64"


def test_folders_with_bytes_are_read_as_bytes(tmp_path: Path) -> None:
    grey = RANDOM.integers(0, 65536, (6, 5)).astype(np.uint16)
    folder = saved(tmp_path / "some", a_png=grey, b_png=(grey // 257).astype(np.uint8))
    assert load(folder).x.dtype == torch.uint8
    assert load(folder, DataOptions(bits="full")).x.dtype == torch.uint8
    plain = saved(tmp_path / "plain", a_png=grey)
    assert load(plain, DataOptions(bits=8)).x.dtype == torch.uint8
    alpha = saved(tmp_path / "alpha", a_png=png(RANDOM.integers(0, 65536, (6, 5, 4)).astype(np.uint16)))
    assert load(alpha, DataOptions(bits=8)).x.dtype == torch.uint8


def test_resized_numbers_stay_within_their_image(tmp_path: Path) -> None:
    grey = RANDOM.integers(0, 65536, (24, 20)).astype(np.uint16)
    data = load(saved(tmp_path / "x", a_png=grey), DataOptions(size="10"))
    assert data.shape == (1, 10, 10)
    assert grey.min() <= data.x.min() < data.x.max() <= grey.max()
    constant = from_array(np.full((2, 20, 20), 1013.25))
    assert load(constant, DataOptions(size="8")).x.unique().tolist() == [1013.25]


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (DEEP["five channels"], {"channels": 3}, "with 5 channels cannot be made such with 3"),
        (DEEP["five channels"], {"bits": 8}, "images need 1, 3 or 4 channels"),
        (np.zeros((4, 5, 5), np.uint8), {"scale": "percentile"}, "which have a scale: leave out scale"),
        (DEEP["float16"], {"scale": "percentile", "range": "0,1"}, "both say how to scale numbers: give one"),
        (np.zeros((4, 5)), {"bits": "full"}, "vectors, which have no levels: leave out bits"),
        ("digits", {"bits": "full"}, "bits is for images from files"),
        (np.full((2, 4, 4), np.nan), {}, "holds nan"),
    ],
)
def test_what_makes_no_sense_is_refused(source: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(source, DataOptions(**options))


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", DEEP["five channels"])
    for words, text in (
        ([], "scaled by its range"), (["--scale", "mean-std"], "3 deviations below its mean"),
        (["--scale", "percentile"], "from 1% to 99%"), (["--range", "0", "900"], "scaled from 0 to 900"),
    ):  # fmt: skip
        assert main(["data", str(tmp_path / "x.npy"), *words, "--out", "x.png", "--force"]) == 0
        said = capsys.readouterr().out
        assert text in said
        assert "images, int16" in said
    assert main(["data", str(tmp_path / "x.npy"), "--bits", "8"]) == 2
    with Image.open("x.png") as sheet:
        assert sheet.mode == "RGB"


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_shards_keep_numbers_where_they_are_in_memory_and_are_not_streamed_with_fewer_bits(
    kind: str, tmp_path: Path
) -> None:
    values = RANDOM.integers(0, 1401, (12, 9, 8)).astype(np.uint16)
    path = tmp_path / f"scans.{kind}"
    if kind == "tar":
        write_tar(path, examples(list(values)))
    else:
        write_parquet(path, {"image": image_rows(list(values)), "label": ["a", "b"] * 6})
    found = load(path)
    assert (found.source_dtype, found.is_deep) == ("uint16", True)
    assert np.array_equal(found.x[:, 0].numpy(), values)
    assert torch.equal(load(path, DataOptions(bits="full")).x, found.x)
    assert load(path, DataOptions(bits=8)).x.dtype == torch.uint8
    with pytest.raises(UserError, match="images of uint16, which are streamed with 8 bits only: say bits=8, or"):
        load(path, DataOptions(stream="always"))
    assert load(path, DataOptions(stream="always", bits=8)).x.dtype == torch.uint8


@pytest.mark.parametrize("channels", [None, 3, 1])
def test_alpha_that_is_laid_on_white_has_that_white_in_note_and_range(channels: Any, tmp_path: Path) -> None:
    """Where that is asked for, and where most images have none; a model's scale is then that of the note."""
    values = RANDOM.integers(1000, 1400, (3, 6, 5, 4)).astype(np.uint16)
    values[0, 2:, 2:, 3] = 0
    folder = saved(tmp_path / "x", a_png=png(values[0]), b_png=png(values[1, ..., :3]), c_png=png(values[2, ..., :3]))
    data = load(folder, DataOptions(channels=channels, range="auto"))
    assert data.range == (data.x.min(), data.x.max())
    assert data.range[1] == 65535
    assert " to 65535 " in data.notes[0]
    assert "1 image with alpha laid on white: --background chooses another colour" in data.notes
    assert load(folder, DataOptions(channels=4, range="auto")).range[1] < 1400
    assert not any("white" in note for note in load(folder, DataOptions(background="grey")).notes)
