"""Files are there whole or not at all, whatever stops the writing; what stopped it is told with the file's name."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import ganvas
from ganvas.cli.app import main
from ganvas.data import Dataset
from ganvas.data.listing import File
from ganvas.errors import UserError, WriteError
from ganvas.inference import translation
from ganvas.io import atomic, safetensors
from ganvas.io.run_folder import RunFolder
from ganvas.models import MODELS
from ganvas.training import checkpoint, run_records
from ganvas.training.loop import initialize_state
from ganvas.viz.images import Examples, save_pictures
from tests.support.data import write_folder
from tests.support.models import small

BYTES, WORDS = (
    translation.InputImage(File(("x.png",), "x.png"), torch.zeros(3, 8, 8), np.dtype(kind))
    for kind in (np.uint8, np.uint16)
)
IMAGES = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
CPU = torch.device("cpu")
FSYNC = os.fsync
"""the real one: none of a test is"""
OPTIONS: dict[str, Any] = {"batch_size": 8, "steps": 2, "checkpoint_every": 2, "quiet": True, "seed": 3}


def weights(path: Path) -> None:
    model = small(MODELS["vae"])
    state = initialize_state(model, (3, 8, 8), 0, CPU)
    ganvas.Trained(model, (3, 8, 8), state.ema_nets).save(path)


def state(path: Path) -> None:
    checkpoint.save(initialize_state(small(MODELS["vae"]), (3, 8, 8), 0, CPU), path, {})


def translations(path: Path) -> None:
    """Those of a folder of images, whose record is what is written first."""
    model, source = small(MODELS["cyclegan"]), path.parent.parent / "images"
    nets = initialize_state(model, ((3, 8, 8), (3, 8, 8)), 0, CPU).ema_nets
    if not source.exists():
        write_folder(source)
    translation.translate_files(ganvas.Trained(model, ((3, 8, 8), (3, 8, 8)), nets), source, path.parent)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "grid.png": lambda path: Examples(IMAGES).save(path),
    "grid.webp": lambda path: Examples(IMAGES).save(path),
    "walk.gif": lambda path: Examples(IMAGES, 3, is_walk=True).save(path),
    "array.npy": lambda path: Examples(IMAGES).save(path),
    "array.npz": lambda path: Examples(IMAGES).save(path),
    "00000.png": lambda path: Examples(IMAGES).save(path.parent),
    "two.png": lambda path: save_pictures([Examples(IMAGES), Examples(IMAGES)], path),
    "weights.safetensors": weights,
    "state.ckpt": state,
    "config.json": lambda path: RunFolder(path.parent).write_config({}),
    "log.jsonl": lambda path: RunFolder(path.parent).write_log([{"step": 3}]),
    "translation.png": lambda path: translation.write_image(path, IMAGES[0] / 255, BYTES),
    "translation.jpg": lambda path: translation.write_image(path, IMAGES[0] / 255, BYTES),
    "deep.png": lambda path: translation.write_image(path, IMAGES[0] / 255, WORDS),
    ".ganvas.json": translations,
}


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_file_keeps_its_old_content_until_the_new_one_is_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends where the new content is on the disk, but has not taken its name yet."""
    path = tmp_path / "folder" / name
    path.parent.mkdir()
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "replace_file", full)
        with pytest.raises(WriteError, match="cannot write .*: no space left on device: make room, then try again"):
            WRITERS[name](path)
        assert path.read_text() == "old"
        assert {p.name for p in path.parent.iterdir()} == {name}
    WRITERS[name](path)
    assert path.read_bytes() != b"old"
    assert not list(path.parent.glob(".*.tmp"))


class Disk:
    """A disk on which the k-th file that is written, or the k-th line of a log, finds no more room."""

    def __init__(self, k: int) -> None:
        self.left, self.failed = k, ""

    def sync(self, descriptor: int) -> None:
        self.write("")

    def append(self, path: Path, text: str) -> None:
        try:
            self.write(path.name)
        except OSError as error:
            with path.open("a") as file:
                file.write(text[: len(text) // 2])
            raise atomic.write_error(path, error) from error
        with path.open("a") as file:
            file.write(text)

    def write(self, name: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def bits(run: str) -> dict[str, bytes]:
    """What a run has made, but for its clock."""
    names = ("weights.safetensors", "last.safetensors", "state.ckpt", "previews/0000000.png", "previews/0000002.png")
    return {name: Path(run, name).read_bytes() for name in names}


def lines(run: str) -> list[dict[str, Any]]:
    """Its log, but for the clock."""
    return [{k: v for k, v in line.items() if k not in ("seconds", "samples")} for line in run_records.read_log(run)]


def test_a_run_survives_a_full_disk_at_each_of_its_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever file it is, it is named, and the run then goes on to the same bits."""
    data = Dataset(x=torch.zeros(8, 1, 4, 4, dtype=torch.uint8), name="dark")
    model = MODELS["gan"](width=2, latent=2)  # type: ignore[call-arg]
    ganvas.train(model, data, folder="straight", **OPTIONS)
    named = set()
    for k in range(1, 100):
        run, disk = f"run{k}", Disk(k)
        with monkeypatch.context() as patch:
            patch.setattr(atomic.os, "fsync", disk.sync)
            patch.setattr(ganvas.io.run_folder, "append_text", disk.append)
            try:
                ganvas.train(model, data, folder=run, **OPTIONS)
            except WriteError as error:
                named.add(Path(str(error.filename)).name)
        if disk.left > 0:
            break
        if Path(run, "config.json").exists():
            ganvas.resume(run, data=data, quiet=True)
        else:
            ganvas.train(model, data, folder=run, **OPTIONS)
        assert bits(run) == bits("straight"), k
        assert lines(run) == lines("straight"), k
    assert k > 12
    assert {"config.json", "log.jsonl", "curves.png", "state.ckpt", "weights.safetensors", "0000002.png"} <= named
    assert "training.webp" in named


@pytest.mark.parametrize("name", ["state.ckpt", "weights.safetensors"])
@pytest.mark.parametrize("damage", ["bit", "end"])
def test_the_last_file_is_kept_where_the_disk_does_not_hold_the_new_one(
    damage: str, name: str, vectors: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the run goes on from it to the same bits."""
    options: dict[str, Any] = {"batch_size": 8, "checkpoint_every": 2, "quiet": True}
    model = small(MODELS["vae"])
    ganvas.train(model, vectors, folder="straight", steps=4, **options)
    ganvas.train(model, vectors, folder="run", steps=2, **options)
    before = Path("run", name).read_bytes()

    def save_badly(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        save_file(tensors, path, metadata)
        if name not in path.name:
            return
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content if damage == "bit" else content[:-1])

    with monkeypatch.context() as patch:
        patch.setattr(safetensors, "save_file", save_badly)
        with pytest.raises(WriteError, match=f"cannot write run/{name}: what the disk holds is not what was written"):
            ganvas.resume("run", vectors, steps=4, quiet=True)
    assert Path("run", name).read_bytes() == before
    ganvas.resume("run", vectors, steps=4, quiet=True)
    assert Path("run", name).read_bytes() == Path("straight", name).read_bytes()


def test_numbers_that_are_none_are_read_back_too(tmp_path: Path) -> None:
    state = {"moments": torch.tensor([float("nan"), -0.0]), "step": torch.tensor(3.0), "none": torch.zeros(0, 2)}
    state |= {"turned": torch.arange(6).view(2, 3).T, "is": torch.tensor([True])}
    safetensors.write_safetensors(
        tmp_path / "a", {}, state | {"turned": torch.arange(6).view(2, 3).T, "is": torch.tensor([True])}
    )


@pytest.mark.skipif(os.name == "nt", reason="limits of a process as on Unix")
def test_a_file_that_grows_too_large_is_named_by_all_writers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The system refuses, in the middle of the writing: safetensors' own error, Pillow's and Python's."""
    import resource

    folder = write_folder(tmp_path / "pets")
    words = "--net conv --steps 2 --batch-size 4 --width 4 --latent 3 --quiet"
    train = ["train", "vae", str(folder), *words.split()]
    assert main([*train, "--folder", "run"]) == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for command, named in (
        ([*train, "--folder", "other"], "other/weights.safetensors"),
        (["resume", "run", "--steps", "4", "--quiet"], "run/weights.safetensors"),
        (["sample", "run", "--out", "grid.png"], "grid.png"),
        (["sample", "run", "--out", "singles"], "singles/00000.png"),
        (["sample", "run", "-n", "4000", "--out", "all.npy"], "all.npy"),
    ):
        limit = {"singles/00000.png": 100, "grid.png": 2000}.get(named, 4000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        capsys.readouterr()
        try:
            code = main(command)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert code == 1
        assert f"ganvas: cannot write {named}: file too large: make room" in capsys.readouterr().err
    assert not Path("grid.png").exists()
    assert main(["resume", "run", "--steps", "4", "--quiet"]) == 0


def test_a_place_where_nothing_can_be_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*folder.png: is a directory: give another name"):
        translation.write_image(tmp_path / "folder.png", IMAGES[0] / 255, BYTES)
    with pytest.raises(UserError, match=r"cannot write .*: file name too long: give another name"):
        translation.write_image(tmp_path / f"{'a' * 300}.png", IMAGES[0] / 255, BYTES)


def test_long_names_of_files_and_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As long as a file system takes, so that nothing can be added to them."""
    name = "b" * 250
    folder = write_folder(tmp_path / name)
    assert main(["data", str(folder)]) == 0
    train = [
        "train",
        "vae",
        str(folder),
        "--steps",
        "2",
        "--batch-size",
        "4",
        "--width",
        "4",
        "--latent",
        "3",
        "--quiet",
    ]
    assert main(train) == 0
    assert main(["sample", "last", "-n", "2", "--out", f"{name}.png"]) == 0
    capsys.readouterr()


def test_weights_are_synced_once_and_then_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events, sync, check = list[str](), os.fsync, safetensors.check_copy
    monkeypatch.setattr(atomic.os, "fsync", lambda file: (events.append("sync"), sync(file)))
    monkeypatch.setattr(safetensors, "check_copy", lambda *words: (events.append("check"), check(*words)))
    monkeypatch.setattr(atomic, "sync_folder", lambda _: events.append("folder"))
    safetensors.write_safetensors(tmp_path / "a", {}, {"x": torch.ones(3)})
    assert events == ["sync", "check", "folder"]


@pytest.mark.skipif(os.name == "nt", reason="Windows syncs no folders")
def test_the_folder_is_on_the_disk_once_a_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is synced after the rename; a file system that cannot is no error, a disk that fails is one."""
    synced, failures = list[tuple[bool, bool]](), [0, errno.EINVAL, errno.EIO]

    def sync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((is_folder, (tmp_path / "a").exists()))
        if is_folder and (number := failures.pop(0)):
            raise OSError(number, os.strerror(number))
        FSYNC(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", sync)
    for _ in range(2):
        with atomic.atomic_write(tmp_path / "a") as temporary:
            temporary.write_text("x")
    assert synced[:2] == [(False, False), (True, True)]
    with pytest.raises(WriteError, match="a: input/output error"), atomic.atomic_write(tmp_path / "a"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
