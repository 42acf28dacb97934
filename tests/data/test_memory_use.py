"""What reading data costs in memory: little more than the data."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.data import DataOptions, Dataset, load, memory
from ganvas.data.duplicates import find_duplicates
from ganvas.data.report import describe_dataset
from ganvas.errors import UserError
from ganvas.models import VAE

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
ROOM = 40 * 2**20
"""bytes for what is imported and started on the way"""


def peak() -> int:
    """The most memory that this process has had since `RESET`, in bytes."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


@pytest.fixture
def cost() -> Callable[[Callable[[], object]], int]:
    """A function that says how much more memory another one takes at its peak than there was before."""
    if not RESET.exists():
        pytest.skip("needs Linux")

    def measure(function: Callable[[], object]) -> int:
        RESET.write_text("5")
        before = peak()
        function()
        return peak() - before

    return measure


def known(collection: Dataset) -> Dataset:
    """The same, all facts of which have been computed."""
    describe_dataset(collection, find_duplicates(collection))
    return collection


def test_arrays_are_read_in_their_own_memory(cost: Callable[[Callable[[], object]], int], tmp_path: Path) -> None:
    """Channels last become channels first, and a tenth is held out, in the memory of the array itself."""
    x = np.random.default_rng(0).integers(0, 256, (9000, 64, 64, 3), np.uint8)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x_train=x)
    size = x.nbytes
    del x
    for name in ("x.npy", "x.npz"):
        assert cost(lambda name=name: known(load(tmp_path / name))) < 1.5 * size + ROOM  # type: ignore[misc]
    grey = lambda: load(tmp_path / "x.npy", DataOptions(channels=1, size="32"))  # noqa: E731
    assert cost(grey) < 1.5 * size + ROOM


def test_examples_kept_in_the_memory_of_all(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (300, 80, 90), np.uint8)
    y = np.arange(300) % 7
    np.savez(tmp_path / "x.npz", x=x, y=y)
    train, test = (load(tmp_path / "x.npz", DataOptions(split=split, holdout=0.3)) for split in ("train", "test"))
    every = np.concatenate([train.x.numpy(), test.x.numpy()])[:, 0]
    assert 60 < len(test) < 120
    assert sorted(map(bytes, every)) == sorted(map(bytes, x))
    index = {bytes(image): label for image, label in zip(x, y, strict=True)}
    for part in (train, test):
        assert part.labels is not None
        assert [index[bytes(image)] for image in part.x[:, 0].numpy()] == part.labels.tolist()


def test_images_are_read_in_their_own_memory(cost: Callable[[Callable[[], object]], int], tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (60, 800, 800, 3), np.uint8)
    for i, image in enumerate(x):
        Image.fromarray(image).save(tmp_path / f"{i}.bmp")
    size = x.nbytes
    del x
    assert cost(lambda: known(load(tmp_path))) < 1.5 * size + ROOM


def test_colours_are_checked_a_part_at_a_time(cost: Callable[[Callable[[], object]], int]) -> None:
    """Whether data suit a likelihood is found a part at a time: their products with alpha take ten times as much."""
    x = np.random.default_rng(0).integers(0, 2, (4000, 4, 64, 64), np.uint8) * np.uint8(255)
    data = Dataset(x=torch.from_numpy(x))
    for model in (VAE(), VAE(likelihood="bernoulli")):
        assert cost(lambda model=model: model.validate_data(data)) < 0.8 * x.nbytes  # type: ignore[misc]
    x[-1, 1] = 7
    with pytest.raises(UserError, match="values between black and white"):
        VAE(likelihood="bernoulli").validate_data(data)


def test_more_than_the_free_memory_is_refused(tmp_path: Path) -> None:
    assert 2**20 < memory.available_memory() < 2**50
    with pytest.raises(UserError, match=r"x would take 1,000,000 GiB of memory, and .* GiB are free: give less"):
        memory.check_memory(10**6 * 2**30, "x", "give less")


@pytest.mark.parametrize("version", [1, 2])
def test_control_groups_of_both_versions_limit_memory(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of the group around that of the process counts as well, and files that are cached do not."""
    limit, use, cache, none, place, listed = {
        1: ("limit_in_bytes", "usage_in_bytes", "total_inactive_file", 2**63 - 4096, "memory", "5:cpu:/\n4:memory:"),
        2: ("max", "current", "inactive_file", "max", "", "0::"),
    }[version]
    root = tmp_path / "sys/fs/cgroup" / place
    for folder, most in ((root, none), (root / "job", 9000), (root / "job" / "step", 10_000)):
        folder.mkdir(parents=True)
        for name, text in ((limit, most), (use, 8000), ("stat", f"anon 1\n{cache} 500")):
            (folder / f"memory.{name}").write_text(f"{text}\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"{listed}/job/step\n")
    monkeypatch.setattr(memory, "Path", lambda path: tmp_path / path.lstrip("/"))
    assert memory.available_memory() == 1500
    shutil.rmtree(root / "job")  # as in a container, whose own group is the root that it sees
    (root / f"memory.{limit}").write_text("9500\n")
    assert memory.available_memory() == 2000
