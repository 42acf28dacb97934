"""The run folder: what goes on when files are missing, who may write there, what killed runs leave."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ganvas
from ganvas.data import Dataset
from ganvas.errors import TrainingStopped, UserError
from ganvas.io import lock
from ganvas.io.atomic import atomic_write, temporary_name
from ganvas.models import MODELS
from ganvas.training import fit, run_records
from ganvas.training.fit import Run
from ganvas.training.signals import catch_stop_signals
from tests.support.data import interrupted
from tests.support.models import small

TINY: dict[str, Any] = {"steps": 4, "batch_size": 8, "checkpoint_every": 2, "quiet": True}


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def begun(images: Dataset, folder: str = "run", model: str = "vae") -> Path:
    ganvas.train(small(MODELS[model]), images, folder=folder, **TINY)
    return Path(folder)


def gone(*names: str) -> Callable[[Path], None]:
    """Removes these files of a run."""

    def remove(run: Path) -> None:
        for name in names:
            path = run / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


@pytest.mark.parametrize("steps", [None, 8])
@pytest.mark.parametrize(
    "lose",
    [
        gone("state.ckpt"),
        gone("state.ckpt", "log.jsonl"),
        gone("state.ckpt", "log.jsonl", "curves.png", "previews"),
        gone("state.ckpt", "log.jsonl", "curves.png", "weights.safetensors"),
        gone("state.ckpt", "weights.safetensors"),
    ],
)
def test_a_run_without_its_checkpoint_does_not_begin_again(
    lose: Callable[[Path], None], steps: int | None, images: Dataset
) -> None:
    run = begun(images)
    lose(run)
    before = content(run)
    with pytest.raises(UserError, match=r"state.ckpt is missing, so the run cannot go on; start a new run in another"):
        ganvas.resume("run", steps=steps, data=images, quiet=True)
    assert content(run) == before


def test_last_weights_alone_are_a_sign_of_steps_too(images: Dataset) -> None:
    run = begun(images, model="gan")
    gone("state.ckpt", "log.jsonl", "curves.png", "previews", "weights.safetensors")(run)
    before = content(run)
    with pytest.raises(UserError, match=r"state.ckpt is missing"):
        ganvas.resume("run", data=images, quiet=True)
    assert content(run) == before
    (run / "last.safetensors").write_bytes(b"")  # nothing tells which step they were of
    with pytest.raises(UserError, match=r"state.ckpt is missing"):
        ganvas.resume("run", data=images, quiet=True)


@pytest.mark.parametrize("size", [0, 100])
def test_a_damaged_checkpoint_leaves_everything_as_it_is(size: int, images: Dataset) -> None:
    run = begun(images)
    (run / "state.ckpt").write_bytes((run / "state.ckpt").read_bytes()[:size])
    before = content(run)
    with pytest.raises(UserError, match=r"state.ckpt is damaged"):
        ganvas.resume("run", data=images, quiet=True)
    assert content(run) == before


@pytest.mark.parametrize("model", ["vae", "gan", "r3gan"])
@pytest.mark.parametrize("dies", ["config", "weights"])
def test_a_run_killed_before_its_first_checkpoint_becomes_the_same(
    dies: str, model: str, vectors: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After config.json, or after the weights of step 0: what is not in a checkpoint is computed again."""
    straight = begun(vectors, "straight", model)

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, {"config": "fit", "weights": "save_checkpoint"}[dies], killed)
        with pytest.raises(KeyboardInterrupt):
            begun(vectors, "killed", model)
    assert not Path("killed/state.ckpt").exists()
    ganvas.resume("killed", data=vectors, quiet=True)
    for name in ("weights.safetensors", "state.ckpt"):
        assert (straight / name).read_bytes() == Path("killed", name).read_bytes()


def test_a_folder_whose_run_never_began_is_taken(images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the folder's making and its config.json; other things in a folder are nobody's to lose."""
    run = Path("run")
    run.mkdir()
    (run / temporary_name("config.json", 123)).write_text("{")
    (run / ".lock").write_text("123")
    with pytest.raises(UserError, match=r"run is no run folder: it has no config.json; its run ended before it began"):
        ganvas.resume(run)
    begun(images)
    assert sorted(content(run)) == ["config.json", "curves.png", "log.jsonl"] + [
        f"previews/000000{step}.png" for step in (0, 2, 4)
    ] + ["report.html", "state.ckpt", "training.webp", "weights.safetensors"]
    Path("other").mkdir()
    Path("other/mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"other exists"):
        begun(images, "other")


@pytest.mark.parametrize("model", ["vae", "gan"])
def test_weights_that_are_gone_are_those_of_the_checkpoint(
    model: str, images: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begun(images, model=model)
    (run / "weights.safetensors").unlink()
    assert ganvas.resume(run, data=images).metadata["step"] == 4
    assert "weights.safetensors is missing: the averaged weights of step 4 take its place" in capsys.readouterr().err
    assert ganvas.load(run).metadata["step"] == 4


def test_a_log_that_is_gone_is_said(images: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    run = begun(images)
    (run / "log.jsonl").unlink()
    ganvas.resume(run, steps=6, data=images)
    assert "log.jsonl is missing: the log begins anew after step 4" in capsys.readouterr().err
    assert [line["step"] for line in run_records.read_log(run)] == [5, 6]


HOLDS = """
import subprocess, sys, time
from pathlib import Path
from ganvas.io.lock import run_lock
with run_lock(Path(sys.argv[1]), print):
    if "child" in sys.argv:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
        print(child.pid, flush=True)
    print("held", flush=True)
    time.sleep(60)
"""


def holding(run: Path, *words: str) -> "subprocess.Popen[str]":
    """A process that has the lock of a run folder."""
    return subprocess.Popen([sys.executable, "-c", HOLDS, str(run), *words], stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="signals as on Unix")
def test_one_process_at_a_time_and_a_dead_one_is_none(images: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a file that is left nor a child that lives on keeps the lock of a process that was killed."""
    from ganvas.cli.app import main

    run = begun(images)
    with holding(run, "child") as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert process.stdout.readline() == "held\n"
        before = content(run)
        said = f"run is being trained by process {process.pid}: wait until it is done, or stop it first"
        with pytest.raises(UserError, match=said):
            ganvas.resume(run, steps=9, data=images)
        assert main(["fit-prior", "run", "emoji"]) == 2
        assert said in capsys.readouterr().err
        assert content(run) == before
        process.kill()
        process.wait()
        try:
            ganvas.resume(run, steps=5, data=images, quiet=True)
        finally:
            os.kill(child, signal.SIGKILL)
    assert not (run / ".lock").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    with lock.run_lock(tmp_path, print):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
    try:
        with lock.run_lock(tmp_path, print) as sure:
            assert sure
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_two_trainings_in_one_process_are_two(tmp_path: Path) -> None:
    with (
        lock.run_lock(tmp_path, print),
        pytest.raises(UserError, match=f"trained by process {os.getpid()}"),
        lock.run_lock(tmp_path, print),
    ):
        pass


def test_a_file_system_without_locks_is_said_once(
    images: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(descriptor: int) -> None:
        raise OSError(lock.errno.ENOLCK, "no locks available")

    monkeypatch.setattr(lock, "lock_file", none)
    ganvas.train(small(MODELS["vae"]), images, folder="run", **TINY | {"quiet": False})
    assert capsys.readouterr().err.count("has no locks: see to it that nothing else trains in that folder") == 1


def test_temporary_files_of_killed_runs_are_removed_and_no_others(images: Dataset) -> None:
    run = begun(images)
    ours = [run / ".curves.png.17.tmp", run / ".state.ckpt.17.tmp", run / "previews" / ".0000002.png.17.tmp"]
    others = [run / ".samples.png.17.tmp", run / ".mine.tmp", run / "curves.png.17.tmp", run / "previews" / "a.tmp"]
    for path in (*ours, *others):
        path.write_text("half")
    with lock.run_lock(run, print), pytest.raises(UserError, match="is being trained"):
        ganvas.resume(run, data=images, quiet=True)
    assert all(path.exists() for path in (*ours, *others))
    ganvas.resume(run, data=images, quiet=True)
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in others)


def test_long_names_have_short_temporary_ones(tmp_path: Path, images: Dataset) -> None:
    path = tmp_path / ("\N{GREEK SMALL LETTER ALPHA}" * 127)
    with atomic_write(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert temporary_name("a" * 200, 1) != temporary_name("a" * 199, 1)
    trained = ganvas.train(small(MODELS["vae"]), images, folder=None, **TINY)
    assert trained.folder is not None
    long = Dataset(x=images.x, name="\N{CJK UNIFIED IDEOGRAPH-65E5}" * 84)
    trained = ganvas.train(small(MODELS["vae"]), long, **TINY)
    assert trained.folder is not None
    assert len(os.fsencode(trained.folder.name)) <= 100
    assert json.loads((trained.folder / "config.json").read_text())["data"]["name"] == long.name


def test_a_stopped_run_gives_its_lock_back(images: Dataset) -> None:
    with interrupted(1), pytest.raises(KeyboardInterrupt):
        begun(images)
    assert not Path("run/.lock").exists()
    ganvas.resume("run", data=images, quiet=True)


@pytest.mark.parametrize("model", ["vae", "gan"])
def test_saving_by_the_clock_changes_nothing(model: str, images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 50 seconds: a picture after the first, then a checkpoint after every second one."""
    options = {"steps": 12, "batch_size": 8, "checkpoint_every": 10, "quiet": True}
    ganvas.train(small(MODELS[model]), images, folder="straight", **options)
    clock, real = 0.0, fit.training

    def slow(*arguments: Any) -> Iterator[int]:
        nonlocal clock
        for step in real(*arguments):
            clock += 50.0
            yield step
            if step == 8:
                assert run_records.checkpoint_step(Path("slow")) >= 7
                assert lock.os.path.exists("slow/previews/0000001.png")

    with monkeypatch.context() as patch:
        patch.setattr(fit, "training", slow)
        patch.setattr(fit.time, "monotonic", lambda: clock)
        ganvas.train(small(MODELS[model]), images, folder="slow", **options)
    for path in Path("straight").rglob("*.*"):
        if path.name not in ("config.json", "log.jsonl", "training.webp"):  # the last shows all pictures
            assert path.read_bytes() == (Path("slow") / path.relative_to("straight")).read_bytes(), path
    shown = [p.stem for p in sorted(Path("slow/previews").iterdir())]
    assert [int(stem) for stem in shown] == [0, 1, 3, 5, 7, 9, 10, 12]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_request_says_at_once_what_a_second_costs(
    number: signal.Signals, images: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, heard = fit.training, []

    def training(*arguments: Any) -> Iterator[int]:
        for step in real(*arguments):
            if step == 5:
                signal.raise_signal(number)
                heard.append(capsys.readouterr().err)
                if number == signal.SIGINT:
                    signal.raise_signal(signal.SIGINT)
            yield step

    monkeypatch.setattr(fit, "training", training)
    said = r"ended at once; run keeps the checkpoint of step 4 of 8" if number == signal.SIGINT else "stopped at step 5"
    with pytest.raises(TrainingStopped, match=f"{said}.*; go on with: ganvas resume run"):
        ganvas.train(small(MODELS["vae"]), images, folder="run", steps=8, batch_size=8, checkpoint_every=2, quiet=True)
    assert "a second Ctrl-C ends at once and loses 1 step, back to step 4" in heard[0].replace("\n", " ")
    monkeypatch.setattr(fit, "training", real)
    ganvas.train(small(MODELS["vae"]), images, folder="straight", steps=8, batch_size=8, checkpoint_every=2, quiet=True)
    ganvas.resume("run", data=images, quiet=True)
    assert Path("run/state.ckpt").read_bytes() == Path("straight/state.ckpt").read_bytes()


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.default_int_handler])
def test_a_second_request_ends_even_what_ignored_the_first(before: Any) -> None:
    """A process in a shell's background begins with Ctrl-C ignored."""
    own = signal.signal(signal.SIGINT, before)
    try:
        with catch_stop_signals(lambda: "") as asked:
            signal.raise_signal(signal.SIGINT)
            assert asked.signal == signal.SIGINT
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == before
    finally:
        signal.signal(signal.SIGINT, own)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals as on Unix")
def test_what_ignores_a_hangup_goes_on_doing_so() -> None:
    """Under nohup; and a terminal that closes may hang up more than once."""
    own = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catch_stop_signals(lambda: "") as asked:
            signal.raise_signal(signal.SIGHUP)
            assert not asked.signal
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with catch_stop_signals(lambda: "") as asked:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)
            assert asked.signal == signal.SIGHUP
    finally:
        signal.signal(signal.SIGHUP, own)


def test_weights_that_are_not_the_last_are_named(images: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    from ganvas.cli.app import main

    def said(run: str) -> str:
        capsys.readouterr()
        assert main(["sample", run, "-n", "2", "--out", "grid.png", "--force"]) == 0
        return capsys.readouterr().err

    begun(images)
    assert said("run") == ""
    with interrupted(3), pytest.raises(TrainingStopped):
        begun(images, "stopped")
    assert said("stopped") == "note: weights of step 3 of 4: the run can go on\n"
    shutil.copy("run/state.ckpt", "stopped/state.ckpt")
    assert said("stopped") == "note: weights of step 3 of 4; state.ckpt has those of step 4\n"


def test_the_best_weights_are_named_as_such(images: Dataset) -> None:
    run = begun(images, model="gan")
    trained = ganvas.load(run)
    best = replace(trained, metadata=trained.metadata | {"step": 2, "samples": {}})
    assert run_records.weights_notes(best) == [
        "weights of step 2 of 4, whose samples are the best; last.safetensors has those of step 4"
    ]
    assert run_records.weights_notes(replace(best, folder=None)) == []


def test_a_stopped_run_is_as_far_as_its_checkpoint(images: Dataset) -> None:
    ganvas.train(small(MODELS["vae"]), images, steps=4, batch_size=8, checkpoint_every=40, quiet=True, folder="run")
    log = Path("run/log.jsonl")
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:1]))
    assert run_records.summarize_run(Path("run"))["step"] == 4
