"""Processes that decode the files of a folder: the same data as by threads, whatever happens to them."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.data import DataOptions, Dataset, decoded, decoder, decoder_processes, load
from ganvas.data.decoder_processes import Answer, Decoders, Process
from ganvas.data.listing import File, list_files
from tests.support.images import png

Patch = pytest.MonkeyPatch
RANDOM = np.random.default_rng(0)


@pytest.fixture
def started(monkeypatch: Patch) -> list[Process]:
    """Two processes decode, also of a few files; those that were started."""
    processes, start = list[Process](), decoder_processes.start
    monkeypatch.setattr(decoder_processes, "MIN_IMAGES", 1)
    monkeypatch.setattr(decoder_processes, "GROUP", 5)
    monkeypatch.setattr(decoder_processes, "CORES", 2)
    monkeypatch.setattr(decoded, "MIN_IMAGES", 2)
    monkeypatch.setattr(decoder_processes, "start", lambda: processes.append(start()) or processes[-1])
    return processes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """40 files of all kinds, two of them damaged, one of which makes Pillow warn."""
    where = tmp_path / "photos"
    where.mkdir()
    exif = Image.Exif()
    exif[274] = 6
    for i in range(30):
        image = Image.fromarray(RANDOM.integers(0, 256, (12, 12, 4), np.uint8))
        if i % 3 == 0:
            image.putalpha(255)
        mode, suffix = ("RGB", "L", "RGBA", "P", "1")[i % 5], (".png", ".webp", ".bmp")[i % 3]
        image.convert(mode).save(where / f"{i:02d}{suffix if mode in ('RGB', 'L') else '.png'}")
        if i < 8:
            image.convert("RGB").resize((24, 24)).save(where / f"turned {i} é.jpg", exif=exif)
    (where / "cut.jpg").write_bytes((where / "turned 1 é.jpg").read_bytes()[:-300])
    (where / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    mpo = bytearray((where / "turned 0 é.jpg").read_bytes())
    (where / "warns.jpg").write_bytes(mpo[:2] + b"\xff\xe2\x00\x0cMPF\0nonsense"[:14] + mpo[2:])
    frames = [Image.fromarray(RANDOM.integers(0, 256, (12, 12, 3), np.uint8)) for _ in range(3)]
    for suffix in ("gif", "png", "tif", "webp"):
        frames[0].save(where / f"several.{suffix}", save_all=True, append_images=frames[1:])
    (where / "deep.png").write_bytes(png(RANDOM.integers(0, 65536, (12, 12, 3))))
    return where


def by_threads(source: Path, options: DataOptions, monkeypatch: Patch) -> Dataset:
    with monkeypatch.context() as patch:
        patch.setattr(decoder_processes, "MIN_IMAGES", 10**9)
        patch.setenv(decoded.LIMIT_VARIABLE, "0")
        return load(source, options)


def check_same(a: Dataset, b: Dataset) -> None:
    assert torch.equal(a.x, b.x)
    for field in fields(Dataset):
        if field.name not in ("x", "labels"):
            assert getattr(a, field.name) == getattr(b, field.name), field.name


@pytest.mark.parametrize(
    "options",
    [
        {"size": "12"},
        {"size": "6", "crop": "tiles", "channels": 4},
        {"size": "7x5", "crop": "random", "background": "white", "range": "0 100"},
        {"size": "5", "pages": "all", "holdout": 0.2, "channels": 1},
    ],
    ids=str,
)
def test_the_data_are_those_of_threads(
    options: dict[str, Any], photos: Path, started: list[Process], monkeypatch: Patch
) -> None:
    asked, read = DataOptions(**options), list[Answer]()
    plain = by_threads(photos, asked, monkeypatch)
    assert not started

    def decode(self: Decoders, files: Sequence[tuple[File, int]], decode: Any = Decoders.decode) -> list[Answer]:
        read.extend(answers := decode(self, files))
        return list(answers)

    monkeypatch.setattr(Decoders, "decode", decode)
    data = load(photos, asked)
    check_same(plain, data)
    notes = " ".join(data.notes)
    assert "2 files skipped (broken.png: " in notes
    assert "the decoder warns: " in notes
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)
    assert len(read) > len([answer for answer in read if answer]) > 25


def files_of(where: Path) -> list[tuple[File, int]]:
    return [(file, 0) for file in list_files(where).images]


def test_what_is_not_plain_is_left_to_threads(photos: Path, started: list[Process]) -> None:
    """What fails, or makes Pillow warn, has other formats than most, or more than 8 bits."""
    with Decoders(None) as decoders:
        answers = decoders.decode(files := files_of(photos))
    left = {str(file) for (file, _), answer in zip(files, answers, strict=True) if answer is None}
    assert left == {"cut.jpg", "broken.png", "warns.jpg", "deep.png", "several.gif", "several.tif"}


def test_large_images_and_files_are_left_to_threads(tmp_path: Path, monkeypatch: Patch) -> None:
    Image.new("L", (1024, 1025)).save(tmp_path / "a.png")
    Image.new("L", (1024, 1025)).save(tmp_path / "b.jpg")
    Image.new("L", (9, 9)).save(tmp_path / "c.bmp")
    with Decoders((64, 64)) as decoders:
        (a, b, _) = decoders.decode(files := files_of(tmp_path))
        monkeypatch.setattr(decoder_processes, "WHOLE_FILE_BYTES", 1000)
        assert [answer is None for answer in decoders.decode(files)] == [True, True, files[2][0].n_bytes >= 1000]
    assert a is None
    assert isinstance(b, tuple)
    assert b[0].values.shape == (129, 128, 1)  # reduced, as a thread would


def test_a_killed_process_makes_no_difference(photos: Path, started: list[Process], monkeypatch: Patch) -> None:
    options = DataOptions(size="12")
    plain, ask, asked = by_threads(photos, options, monkeypatch), Decoders.ask, list[int]()

    def ask_after(self: Decoders, process: Process, files: Sequence[tuple[File, int]]) -> list[Answer]:
        asked.append(len(files))
        if len(asked) in (1, 4):
            process.kill()
        return ask(self, process, files)

    monkeypatch.setattr(Decoders, "ask", ask_after)
    check_same(plain, load(photos, options))
    assert len(started) == 4
    assert len(decoded.entries()) == 1


def test_a_file_that_ends_its_process_is_left_out_with_a_note(
    photos: Path, started: list[Process], tmp_path: Path, monkeypatch: Patch
) -> None:
    """And the images are not kept, since the next start may read it."""
    line, end = "    with FileIO(path) as file:", "import os; os.kill(os.getpid(), signal.SIGSEGV)"
    reason = "was ended by SIGSEGV" if os.name == "posix" else "has ended with status 7"
    text = Path(decoder.__file__).read_text(encoding="utf-8")
    assert line in text
    text = text.replace(line, f"    if '04.' in path: {end if os.name == 'posix' else 'sys.exit(7)'}\n{line}")
    (tmp_path / "decoder.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(decoder, "__file__", str(tmp_path / "decoder.py"))
    data = load(photos, DataOptions(size="12"))
    assert f"04.png: the process that decoded it {reason}" in data.notes[0]
    assert "04.png" not in data.files
    assert data.notes[-1] == f"{decoded.NOT_KEPT}: some could not be read this time"
    assert not decoded.entries()
    assert len(started) <= 5


@pytest.mark.parametrize("executable", ["/nowhere/python", "/nowhere/blender", "", "false"])
def test_threads_read_all_where_python_cannot_be_started(
    executable: str, photos: Path, started: list[Process], tmp_path: Path, monkeypatch: Patch
) -> None:
    options = DataOptions(size="12")
    plain = by_threads(photos, options, monkeypatch)
    if executable == "false":  # one that ends at once
        monkeypatch.setattr(decoder, "__file__", str(tmp_path / "nothing.py"))
    else:
        monkeypatch.setattr(sys, "executable", executable)
    check_same(plain, load(photos, options))
    assert not started


def test_an_interrupt_leaves_neither_processes_nor_files(photos: Path, started: list[Process]) -> None:
    def interrupt(n: int, total: int) -> None:
        if n == 12:
            raise KeyboardInterrupt  # as Python does at SIGINT, unless who started it ignores that

    with pytest.raises(KeyboardInterrupt):
        load(photos, DataOptions(size="12"), progress=interrupt)
    assert started
    assert all(process.returncode is not None for process in started)
    assert not [*decoded.folder().iterdir()]


def test_a_process_leaves_ctrl_c_to_others_and_ends_when_nobody_asks(photos: Path) -> None:
    process, files = decoder_processes.start(), files_of(photos)[:1]
    if os.name == "posix":
        process.send_signal(signal.SIGINT)
    (answer,) = Decoders(None).ask(process, files)
    assert isinstance(answer, tuple)
    assert process.stdin
    with process:
        process.stdin.close()
        assert process.wait(10) == 0


def test_it_imports_nothing_large() -> None:
    code = "import sys, decoder; print(*{name.partition('.')[0] for name in sys.modules})"
    path = os.pathsep.join([str(Path(decoder.__file__).parent), str(Path(Image.__file__).parents[1])])
    words = [sys.executable, "-s", "-S", "-c", code]
    run = subprocess.run(words, env=os.environ | {"PYTHONPATH": path}, check=True, capture_output=True, text=True)
    assert not {"torch", "numpy", "ganvas", "pydantic"} & set(run.stdout.split())


def test_how_many_processes_are_worth_their_start(photos: Path, monkeypatch: Patch) -> None:
    files = [file for file, _ in files_of(photos)] * 100
    monkeypatch.setattr(decoder_processes, "CORES", 8)
    assert decoder_processes.count_processes(files) == 8
    assert decoder_processes.count_processes(files[:1600]) == 3
    assert decoder_processes.count_processes(files[:900]) == 0
    monkeypatch.setattr(decoder_processes, "CORES", 1)
    assert decoder_processes.count_processes(files) == 0
