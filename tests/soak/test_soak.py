"""A little of `python3 dev.py soak`, always the same; and that it finds what is wrong."""

import errno
import os
import shutil
import sys
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from ganvas.errors import UserError
from ganvas.training import fit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks of a process with torch, and /proc")
if sys.platform == "linux":
    from . import growth
    from .cases import Case
    from .damage import damage, whole
    from .faults import FAILED, KILLED, REFUSED, in_child, install
    from .fuzz import fuzz, read_batch
    from .runs import Report, Subject, fill_disk, kill_runs


@pytest.fixture(autouse=True)
def clock_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the soak changes of this process is as it was for the next test."""
    for name in ("FIRST_SAVE_SECONDS", "SAVE_INTERVAL_SECONDS", "draw_curves", "encode_previews"):
        monkeypatch.setattr(fit, name, getattr(fit, name))
    monkeypatch.setattr(os, "fsync", os.fsync)


def test_killed_runs_go_on_to_the_same_bits(tmp_path: Path) -> None:
    for report in kill_runs(["vae", "gan"], tmp_path, seed=0):
        assert not report.findings
        if report.counts["half"] and report.counts["before"]:  # how many of them there were, the clock says
            break
    assert not list(tmp_path.glob("killed-*"))  # what is as it should be is removed
    subject = Subject("vae", tmp_path)
    for name, said in (("state.ckpt", "the run does not go on: UserError: "), ("previews/0000002.png", "not as in")):
        shutil.copytree(tmp_path / "vae-undisturbed", tmp_path / "damaged", dirs_exist_ok=True)
        (tmp_path / "damaged" / name).write_bytes(b"damage")
        subject.check(tmp_path / "damaged", "damaged", report := Report())
        assert len(report.findings) == 1
        assert said in report.findings[0]


@pytest.mark.usefixtures("real_pages")
def test_runs_survive_a_full_disk(tmp_path: Path) -> None:
    *_, report = islice(fill_disk(["gan"], tmp_path, seed=1), 3)
    assert not report.findings
    assert report.counts["runs"] == 3
    assert report.counts["refused"]
    assert report.counts["places"] > 100
    assert report.counts["kinds of files"] == 12


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    """Of every kind of which the library is there."""
    *_, report = fuzz(tmp_path, seed=0, count=125, models=("vae",))
    assert not report.findings
    assert report.counts["inputs"] == 125
    assert report.readers.keys() >= {"images", "archives", "CIFAR", "npy", "IDX", "tables", "options", "state.ckpt"}


def test_long_runs_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "LOOK_EVERY", 1)
    *_, report = growth.grow(["discogan"], tmp_path, steps=2)
    assert (report.findings, report.counts["runs"], report.counts["steps"]) == ([], 2, 4)
    monkeypatch.setattr(growth, "MOST_GROWTH", -1.0)
    *_, report = growth.grow(["autoencoder"], tmp_path, steps=2)
    assert ["grew by" in finding for finding in report.findings] == [True, True]


def test_faults_are_at_the_kth_write(tmp_path: Path) -> None:
    def write(kind: str, at: int) -> tuple[int, dict[str, str]]:
        folder = tmp_path / f"{kind}-{at}"
        folder.mkdir()

        def work(say: object) -> None:
            install(kind, at, folder)  # type: ignore[arg-type]
            (tmp_path / "elsewhere").write_text("no fault")
            (folder / "a").write_text("12345678")
            (folder / "b").write_text("1234567890123456")
            (folder / "b").replace(folder / "c")

        outcome = in_child(work)
        return outcome.code, {path.name: path.read_text() for path in folder.iterdir()}

    a, b = {"a": "12345678"}, {"b": "1234567890123456"}
    assert write("before", 1) == (KILLED, {})
    assert write("before", 2) == (KILLED, a)
    assert write("half", 2) == (KILLED, {"a": "1234"})
    assert write("half", 3) == (KILLED, a | {"b": "12345678"})
    assert write("before", 4) == (0, a | {"c": b["b"]})
    assert write("full", 2) == (FAILED, a)
    assert write("short", 2) == (FAILED, a | {"b": "1234567890"})


def test_what_children_say_is_told(tmp_path: Path) -> None:
    def refuse(say: object) -> None:
        raise UserError("x: do y")

    assert in_child(refuse).code == REFUSED
    assert in_child(refuse).said == "UserError: x: do y"
    assert in_child(lambda say: os.read(os.pipe()[0], 1), kill_after=0.1).code == KILLED


@pytest.mark.parametrize("what", ["error", "slow", "outside", "crash"])
def test_what_readers_must_not_do_is_found(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.soak.fuzz.CPU_SECONDS", 0.1)

    def read(path: Path, random: Random) -> None:
        if what == "error":
            raise OSError(errno.EIO, "no sentence of ours")
        while what == "slow":
            pass
        if what == "outside":
            (tmp_path / "elsewhere").write_text("x")
        os._exit(9)

    (tmp_path / "fuzz").mkdir()
    case = Case("any", whole("x.bin", bytes(9)), read)
    outcome = in_child(read_batch([case], 0, 0, 1, tmp_path / "fuzz"))
    expected = {"error": "OSError", "slow": "TooSlow", "outside": "0\n", "crash": "0\n"}
    assert expected[what] in outcome.said
    assert (outcome.code == 0) == (what in ("error", "slow"))


def test_damage_is_a_function_of_the_seed() -> None:
    text = b'{"a": [1, 2], "b": {"c": "d"}}'
    made = [damage(text, Random(i), b"other") for i in range(50)]
    assert made == [damage(text, Random(i), b"other") for i in range(50)]
    assert len(set(made)) > 30
