"""Folders of images."""

import json
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas.cli.app import main
from ganvas.data import DataOptions, class_counts, load
from ganvas.data.crop import resize_and_crop
from ganvas.errors import UserError
from tests.support.data import write_folder

WHITE = "1 image with alpha laid on white: --background chooses another colour"


def save(path: Path, pixels: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_sub_folders_are_classes(folder: Path) -> None:
    collection = load(folder, DataOptions(holdout=0))
    assert collection.shape == (3, 8, 9)
    assert class_counts(collection) == {"cat": 6, "dog": 6}
    assert collection.name == "pets"
    assert collection.notes == ()
    assert torch.equal(load(folder).x, collection.x)


def test_images_side_by_side_have_no_labels(tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path / "flat" / f"{i}.png", pixels(4, 4, 3, seed=i))
    collection = load(tmp_path / "flat")
    assert collection.labels is None
    np.testing.assert_array_equal(collection.x[1].movedim(0, -1).numpy(), pixels(4, 4, 3, seed=1))


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4), ("P", 3), ("1", 1)])
def test_channels_are_kept(mode: str, channels: int, tmp_path: Path) -> None:
    assert load(write_folder(tmp_path / mode, mode=mode)).shape == (channels, 8, 9)


def test_images_with_alpha_are_said_to_be_laid_on_white(tmp_path: Path) -> None:
    save(tmp_path / "sprites" / "alpha.png", pixels(8, 9, 4))
    assert WHITE in load(tmp_path / "sprites", DataOptions(channels=3)).notes
    for options in (DataOptions(), DataOptions(channels=3, background="black")):
        assert WHITE not in load(tmp_path / "sprites", options).notes


def test_different_channels_become_those_of_the_majority_and_a_note_says_so(folder: Path) -> None:
    save(folder / "cat" / "grey.png", pixels(8, 9))
    collection = load(folder)
    assert collection.shape[0] == 3
    assert collection.notes[0] == "images with different channels (12 RGB, 1 L) were all made RGB"
    save(folder / "cat" / "alpha.png", pixels(8, 9, 4))
    assert load(folder).shape[0] == 3  # not all of them RGBA for one
    said = "images with different channels (12 RGB, 1 RGBA, 1 L) were all made RGB: --channels 4 keeps alpha"
    assert load(folder).notes[:2] == (said, WHITE)
    for channels in (1, 3, 4):
        assert load(folder, DataOptions(channels=channels)).shape[0] == channels


@pytest.mark.parametrize(
    ("have", "get"),
    [((3, 0, 2), 1), ((2, 1, 2), 3), ((1, 1, 0), 3), ((0, 2, 2), 3), ((0, 2, 3), 4), ((2, 0, 3), 4), ((4, 3, 0), 1)],
)
def test_which_channels_a_majority_takes(have: tuple[int, int, int], get: int, tmp_path: Path) -> None:
    for n, shape in zip(have, ((5, 5), (5, 5, 3), (5, 5, 4)), strict=True):
        for i in range(n):
            save(tmp_path / "x" / f"{len(shape)}{shape[-1]}-{i}.png", pixels(*shape, seed=i))
    assert load(tmp_path / "x").shape[0] == get
    assert ("keeps colours" in load(tmp_path / "x").notes[0]) == (have == (4, 3, 0))


def test_alpha_that_hides_nothing_is_dropped(folder: Path) -> None:
    for i in range(30):
        opaque = pixels(8, 9, 4, seed=i)
        opaque[:, :, 3] = 255
        save(folder / "dog" / f"opaque{i}.png", opaque)
    data = load(folder)
    assert data.shape[0] == 3
    assert data.notes[0] == "alpha that is opaque everywhere was dropped, of 30 images: --channels 4 keeps it"
    assert np.array_equal(data.x[-1].movedim(0, -1), pixels(8, 9, 4, seed=9)[:, :, :3])
    kept = load(folder, DataOptions(channels=4))
    assert kept.x[:, 3].unique().tolist() == [255]
    assert not any("alpha" in note for note in kept.notes)
    save(folder / "dog" / "a.png", pixels(8, 9, 4))
    assert load(folder).shape[0] == 3


def test_runs_of_before_have_the_channels_that_they_had(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            image.convert("RGBA").save(path)
    trained = ganvas.train(ganvas.VAE(net="mlp", width=4), folder, steps=1, batch_size=4, channels=4, quiet=True)
    assert trained.folder is not None
    file = trained.folder / "config.json"
    config = json.loads(file.read_text())
    config["data"]["options"] = {"split": "train", "classes": [], "size": None, "channels": None, "data_dir": None}
    file.write_text(json.dumps(config))
    ganvas.resume(trained.folder, steps=2, quiet=True)
    assert len(trained.encode(folder)) == 12


def test_a_folder_of_many_sizes_and_channels_is_reported_not_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(folder / "cat" / "large.png", pixels(40, 30))
    for i in range(12):
        save(folder / "dog" / f"size{i}.png", pixels(20 + i, 30, 4))
    assert main(["data", str(folder), "--json", "--out", "sheet.png"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["examples"] == 25
    assert report["shape"] == "3 x 8 x 9 (c x h x w)"
    assert next(iter(report["sizes"].items())) == ("9 x 8", 12)
    assert report["sizes"]["of 4 other sizes"] == 4
    assert report["channels"] == {"RGB": 12, "RGBA": 12, "L": 1}
    assert report["notes"][0].startswith(
        "images of 14 sizes: to train, ask for one, as this report did with --size 8x9"
    )
    assert main(["data", str(folder), str(folder)]) == 0
    assert "9 x 8: 12, " in capsys.readouterr().out
    assert main(["data", str(folder), "--size", "16", "--json"]) == 0
    assert "sizes" not in json.loads(capsys.readouterr().out)
    assert main(["train", "vae", str(folder)]) == 2
    assert "holds images of 14 sizes (12 of 9 x 8, " in capsys.readouterr().err


def test_a_resize_averages_what_is_finer_than_a_pixel(tmp_path: Path) -> None:
    """Stripes of one pixel become grey, as they look from afar; without antialiasing they stay stripes, or vanish."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    save(tmp_path / "x" / "a.png", stripes)
    small = load(tmp_path / "x", DataOptions(size="20")).x.float()
    assert (small[..., 2:-2] - 127.5).abs().max() < 30
    assert torch.equal(resize_and_crop(torch.from_numpy(stripes).movedim(-1, 0)[None], (20, 20)).float(), small)


def test_what_cannot_be_read_is_skipped_and_counted(folder: Path) -> None:
    (folder / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    good = (folder / "dog" / "0.png").read_bytes()
    (folder / "dog" / "cut.png").write_bytes(good[: len(good) // 2])
    collection = load(folder)
    assert len(collection) == 12
    assert "2 files skipped" in collection.notes[0]
    assert "broken.png" in collection.notes[0]
    assert "cut.png" in collection.notes[0]


def test_a_folder_in_which_nothing_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"no")
    with pytest.raises(UserError, match="none of its 1 images can be read"):
        load(tmp_path / "bad")


def test_images_of_different_sizes_need_a_size(folder: Path) -> None:
    save(folder / "cat" / "large.png", pixels(40, 30, 3))
    with pytest.raises(
        UserError, match=r"2 sizes \(12 of 9 x 8, 1 of 30 x 40; large.*such as the most common, size=8x9"
    ):
        load(folder)
    assert load(folder, DataOptions(size="8x9")).shape == (3, 8, 9)


def test_images_stand_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    image = pixels(4, 6, 3)
    save(tmp_path / "turned" / "a.png", image, exif=exif)
    np.testing.assert_array_equal(load(tmp_path / "turned").x[0].movedim(0, -1).numpy(), np.rot90(image, -1))


def test_16_bits_are_rounded_to_8_not_cut_off(tmp_path: Path) -> None:
    deep = (pixels(5, 5).astype(np.uint16) * 257).astype(np.uint16)
    save(tmp_path / "deep" / "a.png", deep)
    collection = load(tmp_path / "deep", DataOptions(bits=8))
    np.testing.assert_array_equal(collection.x[0, 0].numpy(), deep // 257)
    assert collection.notes == ("16-bit images were rounded to 8 bits: their numbers are from 2570 to 63736",)


def test_train_and_test_folders_are_splits(tmp_path: Path) -> None:
    write_folder(tmp_path / "data" / "train")
    write_folder(tmp_path / "data" / "test")
    (tmp_path / "data" / "test" / "cat" / "0.png").unlink()
    assert len(load(tmp_path / "data")) == 12
    assert len(load(tmp_path / "data", DataOptions(split="test"))) == 11


def test_hidden_files_are_left_alone(folder: Path) -> None:
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "a.png").write_bytes(b"x")
    assert load(folder, DataOptions(holdout=0)).notes == ()


def test_loose_images_beside_class_folders_leave_all_without_labels(folder: Path) -> None:
    save(folder / "loose.png", pixels(8, 9, 3))
    collection = load(folder)
    assert collection.labels is None
    assert "1 image lies beside the class folders" in collection.notes[0]


def test_a_jpeg_is_decoded_smaller_but_never_below_the_size(tmp_path: Path) -> None:
    x, y = np.meshgrid(np.linspace(0, 255, 256), np.linspace(0, 255, 256))
    save(tmp_path / "jpg" / "a.jpg", np.stack([x, y, x], -1).astype(np.uint8), quality=95)
    small = load(tmp_path / "jpg", DataOptions(size="32")).x[0].float()
    expected = torch.linspace(4, 251, 32)
    assert (small[0].mean(0) - expected).abs().max() < 4
    assert (small[1].mean(1) - expected).abs().max() < 4


def test_a_decoder_that_fails_in_its_own_way_costs_one_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, damaged = Image.open, [path.read_bytes() for path in folder.rglob("3.png")]

    def fragile(content: BytesIO) -> Image.Image:
        if content.getvalue() in damaged:
            raise struct.error("unpack requires a buffer of 4 bytes")
        return real(content)

    monkeypatch.setattr(Image, "open", fragile)
    collection = load(folder)
    assert len(collection) == 10
    assert "2 files skipped" in collection.notes[0]


def test_the_previews_of_a_run_are_no_data(folder: Path) -> None:
    before = load(folder).fingerprint()
    write_folder(folder / "runs" / "a" / "previews", size=(30, 30))
    for name in ("config.json", "log.jsonl"):
        (folder / "runs" / "a" / name).write_text("")
    assert load(folder).fingerprint() == before


def test_progress_is_told(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    load(folder, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (12, 12)
