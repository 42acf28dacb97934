"""What `ganvas data` finds: duplicates, blank images, leakage, and what they mean for training."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.cli.app import main
from ganvas.data import Dataset, from_array
from ganvas.data.duplicates import difference_hash, find_duplicates, near_duplicates, thumbnail
from ganvas.data.report import describe_dataset
from tests.support.cli import said, told
from tests.support.pages import Page


def drawings(n: int, side: int = 32, seed: int = 0, cells: int = 6) -> np.ndarray:
    """n x side x side x 3 bytes from 60 to 210, smooth, of more light than colour, as photographs are."""
    random = np.random.default_rng(seed)
    light, colour = random.integers(-60, 60, (n, cells, cells, 1)), random.integers(-20, 20, (n, 3, 3, 3))
    return np.stack(
        [enlarge(a.repeat(3, -1), side) + enlarge(b, side) - 128 for a, b in zip(light, colour, strict=True)]
    )


def enlarge(x: np.ndarray, side: int) -> np.ndarray:
    """Numbers around 0 as bytes around 128."""
    return np.asarray(Image.fromarray((x + 128).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC))


def jpeg(x: np.ndarray, quality: int = 60) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(x).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def write(folder: Path, images: dict[str, np.ndarray]) -> Path:
    for name, x in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x).save(folder / name)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Train and test parts with 2 exact and 2 near duplicates, 2 blank images, and 1 exact and 1 near leak."""
    x = drawings(60)
    train = {f"train/{i:02d}.png": image for i, image in enumerate(x[:40])}
    train |= {"train/same.png": x[3], "train/again.png": x[3], "train/bright.png": x[5] + 12}
    train |= {"train/encoded.png": jpeg(x[7]), "train/white.png": np.full_like(x[0], 255)}
    train |= {"train/black.png": np.zeros_like(x[0])}
    test = {f"test/{i:02d}.png": image for i, image in enumerate(x[40:])}
    return write(tmp_path / "photos", train | test | {"test/leak.png": x[0], "test/near.png": jpeg(x[1])})


def test_each_count_is_that_of_the_duplicates_that_were_made(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = told(capsys, "data", str(photos))
    found = {key: {frozenset(map(base, pair)) for pair in report[key]["first"]} for key in report if is_pairs(key)}
    assert found["exact duplicates"] == {frozenset(("03", "again")), frozenset(("03", "same"))}
    assert found["near duplicates"] == {frozenset(("05", "bright")), frozenset(("07", "encoded"))}
    assert found["exact leakage"] == {frozenset(("leak", "00"))}
    assert found["near leakage"] == {frozenset(("near", "01"))}
    assert [report[key]["count"] for key in found] == [2, 2, 1, 1]
    assert report["test examples"] == 22
    assert set(map(base, report["blank images"]["first"])) == {"white", "black"}
    advice = " ".join(report["advice"])
    assert "only 46 images" in advice
    assert "4 of 46 examples (9%) repeat an earlier one" in advice
    assert "2 images of one colour" in advice
    assert "test examples with a duplicate in the train part, 2 of 22" in advice


def is_pairs(key: str) -> bool:
    return key.endswith(("duplicates", "leakage"))


def base(name: str) -> str:
    return Path(name).stem


def test_the_page_is_whole_and_shows_every_pair(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "data", str(photos), "--out", "report.html").endswith("report.html")
    text = Path("report.html").read_text(encoding="utf-8")
    parsed = Page()
    parsed.feed(text)
    assert parsed.open == []
    assert len(parsed.images) == 2 + 2 + 2 + 1 + 1 + 2  # sheet and values; exact, near, both leaks; blank
    assert all(image.startswith("data:image/png;base64,") for image in parsed.images)
    words = " ".join(parsed.text)
    for title in ("What it means for training", "Near duplicates", "Images of one colour", "bright.png"):
        assert title in words
    assert main(["data", str(photos), "--out", "report.html"]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["data", str(photos), str(photos), "--out", "two.html"]) == 0
    assert main(["data", "swiss-roll", "--out", "vectors.html"]) == 0
    capsys.readouterr()
    assert main(["data", str(photos), "--out", "report.htmx"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_different_drawings_are_no_duplicates() -> None:
    found = find_duplicates(from_array(drawings(400)), from_array(drawings(100, seed=1)))
    assert [found.exact, found.near, found.leaked_exact, found.leaked_near, found.blank] == [[]] * 5
    assert found.n_test == 100


def test_near_duplicates_are_those_of_all_pairs() -> None:
    """The search by bands finds what comparing all pairs does, in reverse order and of another size too."""
    x = drawings(300)
    copies = np.stack([jpeg(image, 40) for image in x[:100]])
    levels = torch.from_numpy(np.concatenate([x, copies[::-1]])).movedim(-1, 1).float()
    twins = near_duplicates(difference_hash(levels), thumbnail(levels))
    assert twins[:300].tolist() == list(range(300))
    assert (twins[300:] == np.arange(100)[::-1]).mean() >= 0.95


def test_many_images_with_one_hash_are_searched_among_neighbours() -> None:
    """Faint images, whose hashes are all 0: no work of n^2, and copies are found by their thumbnails."""
    faint = (drawings(500, cells=3).astype(float) / 40 + 100).round().astype(np.uint8)
    levels = torch.from_numpy(np.concatenate([faint, faint[:50] + 1])).movedim(-1, 1).float()
    bits = difference_hash(levels)
    assert not bits.any()
    twins = near_duplicates(bits, thumbnail(levels))
    assert (twins[500:] < 500).mean() > 0.8  # what is a level or two apart is rounded in a thumbnail


def test_images_with_alpha_and_deep_images_and_vectors() -> None:
    x = drawings(20)
    alpha = np.concatenate([x, np.full_like(x[..., :1], 255)], -1)
    alpha[:, :8, :, 3] = 0
    hidden = alpha[:1].copy()
    hidden[:, :8, :, :3] = 7  # where nobody sees it
    assert find_duplicates(from_array(np.concatenate([alpha, hidden]))).exact == [(20, 0)]
    deep = x[..., 0].astype(np.uint16) * 200
    found = find_duplicates(from_array(np.concatenate([deep, deep[2:3], deep[4:5] + 900]), channels_last=False))
    assert (found.exact, found.near) == ([(20, 2)], [(21, 4)])
    vectors = np.random.default_rng(0).standard_normal((10, 3))
    assert find_duplicates(from_array(vectors[[*range(10), 4]])).exact == [(10, 4)]


def advice_on(dataset: Dataset) -> str:
    return " ".join(describe_dataset(dataset, find_duplicates(dataset))["advice"])


def test_advice_has_what_the_data_are() -> None:
    x = drawings(40)
    labels = [0] * 37 + [1] * 3
    text = advice_on(from_array(x, labels, classes=["cat", "dog"]))
    assert "class cat has 12.33 times the examples of dog (37 and 3): --balanced" in text
    assert "different classes, 1 in all, the first 3 and 0" in advice_on(from_array(x[[0, 1, 2, 0]], [0, 0, 1, 1]))
    grey = np.repeat(x[..., :1], 3, -1)
    assert "--channels 1" in advice_on(from_array(grey))
    assert "--channels 1" not in text
    assert "begin with --size 64" in advice_on(from_array(drawings(2, 200)))
    opaque = np.concatenate([x, np.full_like(x[..., :1], 255)], -1)
    assert "alpha is opaque everywhere: --channels 3" in advice_on(from_array(opaque))
    opaque[..., 3] = 90
    assert "a fourth channel" in advice_on(from_array(opaque))
    assert "256 levels (uint16)" in advice_on(from_array(x.astype(np.uint16) * 200))
    assert advice_on(from_array(np.random.default_rng(0).standard_normal((10, 3)))) == ""


def test_mixed_sizes_get_a_size_that_hardly_any_image_is_below(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = {f"{i}.png": drawings(1, 40 + i)[0] for i in range(19)}
    report = told(capsys, "data", str(write(tmp_path / "sizes", images | {"tiny.png": drawings(1, 9)[0]})))
    assert any("--size 32 (nine of ten have sides of 41 pixels or more" in text for text in report["advice"])


def test_a_test_part_of_another_shape_is_said_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = {"train/a.png": drawings(1)[0], "train/b.png": drawings(2)[1], "test/a.png": drawings(1, 20)[0]}
    report = told(capsys, "data", str(write(tmp_path / "parts", images)))
    assert "test examples" not in report
    assert any("another shape" in note for note in report["notes"])
    report = told(capsys, "data", str(tmp_path / "parts"), "--split", "test")
    assert "test examples" not in report
    assert report["advice"] == []  # nobody learns from the test part


def test_each_note_has_a_line_and_none_is_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = {f"{i}.png": drawings(1, seed=i)[0] for i in range(3)} | {"large.png": drawings(1, 40)[0]}
    a, b = (write(tmp_path / name, images) for name in "ab")
    (a / "notes.txt").write_text("no image")
    lines = [line.split(maxsplit=1) for line in said(capsys, "data", str(a), "--size", "32").splitlines()]
    assert ["note", "1 file left out: 1 .txt"] in lines
    assert ["sizes", "32 x 32: 3, 40 x 40: 1"] in [
        x.split(maxsplit=1) for x in said(capsys, "data", str(a)).splitlines()
    ]
    text = said(capsys, "data", str(a), str(b))
    few = "fewer than 100 examples: none is held out for tests, unless --holdout 0.1 asks for it"
    assert all(f"note {side}{' ' * 11}{few}" in text for side in "AB")
    assert "warning          a has only 4 examples" in text
