"""The built-in data sets."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from ganvas.data import BUILTIN, DataOptions, builtin, class_counts, load
from ganvas.errors import UserError
from ganvas.io.download import cache_dir
from tests.support.idx import write_idx
from tests.support.server import serving

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
LABELS = np.arange(5, dtype=np.uint8)


def test_emoji_are_in_the_package() -> None:
    solid, flat = load("emoji"), load("emoji-flat")
    assert solid.shape == flat.shape == (3, 32, 32)
    assert (len(solid), len(load("emoji", DataOptions(split="test")))) == (1358, 199)
    assert class_counts(solid) == class_counts(flat)
    assert class_counts(solid)["smileys"] == 147
    corner = solid.x[:, :, 0, 0].float().mean()
    assert corner > 250  # on white
    assert not torch.equal(solid.x, flat.x)


def test_the_packages_emoji_are_those_of_the_source(shared: Path) -> None:
    source = np.load(shared / "fluent_emoji_32.npz")
    for name, key in (("emoji", "a"), ("emoji-flat", "b")):
        for split in ("train", "test"):
            x = load(name, DataOptions(split=split)).x.movedim(1, -1).numpy()
            np.testing.assert_array_equal(x, source[f"{key}_{split}"])


def test_a_damaged_atlas_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = np.asarray
    monkeypatch.setattr(builtin.np, "asarray", lambda image: real(image) // 2)
    with pytest.raises(OSError, match=r"emoji.webp is damaged: install Ganvas again"):
        load("emoji")


def test_digits_have_1500_examples_to_learn_from() -> None:
    pytest.importorskip("sklearn")
    digits = load("digits")
    assert digits.shape == (1, 8, 8)
    assert (len(digits), len(load("digits", DataOptions(split="test")))) == (1500, 297)
    assert len(digits.classes) == 10
    assert digits.x.max() == 255


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r"pip install \"ganvas\[digits\]\""):
        load("digits")


@pytest.mark.parametrize(("name", "modes", "sigma"), [("ring", 8, 0.01), ("grid", 25, 0.05)])
def test_mixtures_are_those_of_pacgan(name: str, modes: int, sigma: float) -> None:
    data = load(name)
    assert data.x.shape == (100_000, 2)
    assert data.labels is not None
    for mode in range(modes):
        points = data.x[data.labels == mode]
        assert points.std(0).tolist() == pytest.approx([sigma, sigma], rel=0.05)
        centre = points.mean(0)
        if name == "ring":
            assert centre.norm().item() == pytest.approx(1, abs=0.002)
        else:
            assert (centre - centre.round()).abs().max() < 0.005
    centres, own = builtin.MIXTURES[name]
    assert (len(centres), own) == (modes, sigma)
    assert data.labels is not None
    assert (data.x.double() - torch.from_numpy(centres)[data.labels]).norm(dim=1).max() < 6 * sigma
    assert torch.equal(data.x, load(name).x)
    assert not torch.equal(load(name, DataOptions(split="test")).x[:100], data.x[:100])


def test_the_swiss_roll_is_a_spiral() -> None:
    x = load("swiss-roll").x
    radius = x.norm(dim=1)
    assert 0.5 < radius.min() < 0.7
    assert 1.9 < radius.max() < 2.15
    turns = torch.atan2(x[:, 1], x[:, 0]) / (2 * torch.pi)
    expected = radius / 2 * 2.25
    assert ((turns - expected) - (turns - expected).round()).abs().max() < 0.15


def test_names_come_with_a_suggestion() -> None:
    with pytest.raises(UserError, match="no data 'fashon-mnist'.*Did you mean \"fashion-mnist\""):
        load("fashon-mnist")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_mnist_and_fashion_mnist(name: str, shared: Path) -> None:
    data = load(name, DataOptions(data_dir=str(shared)))
    assert data.x.shape == (60_000, 1, 28, 28)
    assert len(data.classes) == 10
    assert len(load(name, DataOptions(data_dir=str(shared), split="test"))) == 10_000


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> builtin.PublishedDataset:
    """A small stand-in for MNIST, without mirrors, whose files are in the folder www."""
    (tmp_path / "www").mkdir()
    write_idx(tmp_path / "www", "train", IMAGES, LABELS, True)
    files = {path.name: sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "www").iterdir()}
    digest = sha256(IMAGES.tobytes() + LABELS.tobytes()).hexdigest()
    checksums = {"train": digest, "test": digest}
    small = replace(builtin.PUBLISHED["mnist"], mirrors=(), files=files, checksums=checksums)
    monkeypatch.setitem(builtin.PUBLISHED, "mnist", small)
    monkeypatch.setattr("ganvas.io.download.RETRIES", 0)
    return small


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """A server on this machine that has the files."""
    with serving(tmp_path / "www") as (address, _):
        yield address


def test_a_download_is_checked_and_kept(
    source: builtin.PublishedDataset, mirror: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(builtin.PUBLISHED, "mnist", replace(source, mirrors=(f"{mirror}nowhere/", mirror)))
    assert len(load("mnist")) == 5
    assert "downloading" in capsys.readouterr().err
    monkeypatch.setitem(builtin.PUBLISHED, "mnist", source)  # no mirror is needed the second time
    assert len(load("mnist")) == 5
    assert sorted(p.name for p in (cache_dir() / "mnist").iterdir()) == sorted(builtin.FILES["train"])


def test_a_download_with_a_wrong_checksum_is_thrown_away(
    source: builtin.PublishedDataset, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images, which come last: without them the labels are found by nobody, so nothing is in the way."""
    files = source.files | {"train-images-idx3-ubyte.gz": "0" * 64}
    monkeypatch.setitem(builtin.PUBLISHED, "mnist", replace(source, mirrors=(mirror,), files=files))
    with pytest.raises(UserError, match=r"could not be downloaded .*wrong checksum.*`data_dir`"):
        load("mnist")
    assert [path.name for path in (cache_dir() / "mnist").iterdir()] == ["train-labels-idx1-ubyte.gz"]
    monkeypatch.setitem(builtin.PUBLISHED, "mnist", replace(source, mirrors=(mirror,)))
    assert len(load("mnist")) == 5


def test_without_a_network_one_sentence_says_what_to_do(
    source: builtin.PublishedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(builtin.PUBLISHED, "mnist", replace(source, mirrors=("http://127.0.0.1:9/",)))
    with pytest.raises(
        UserError,
        match=r"could not be downloaded \(.*no connection\): put train-images.* and train-labels.* `data_dir`",
    ):
        load("mnist")


def test_a_file_with_other_data_under_the_name_is_refused(source: builtin.PublishedDataset, tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", x_train=255 - IMAGES, y_train=LABELS)
    with pytest.raises(UserError, match="does not hold the published mnist"):
        load("mnist", DataOptions(data_dir=str(tmp_path)))
    np.savez(tmp_path / "mnist.npz", x_train=IMAGES, y_train=LABELS)
    assert len(load("mnist", DataOptions(data_dir=str(tmp_path)))) == 5


def test_a_data_dir_without_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no mnist: looked for mnist.npz"):
        load("mnist", DataOptions(data_dir=str(tmp_path)))


def test_every_name_is_explained() -> None:
    assert all(function.__doc__ for function in BUILTIN.values())


def test_the_cache_needs_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", refuse)
    monkeypatch.setenv("GANVAS_CACHE", "cache")
    assert cache_dir() == Path("cache")
    monkeypatch.delenv("GANVAS_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(UserError, match="no home folder to keep files in: say where by GANVAS_CACHE=FOLDER"):
        cache_dir()
