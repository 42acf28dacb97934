"""Runs that are killed or stopped in a process of their own, and go on."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ganvas.cli.app import main
from ganvas.models import MODELS
from ganvas.training import fit, resume, signals
from ganvas.training.run_records import checkpoint_step
from tests.support.data import write_folder
from tests.support.folders import check_same_bits
from tests.support.models import IMAGE_MODELS

OPTIONS = ["--batch-size", "4", "--width", "4", "--checkpoint-every", "20", "--quiet"]
OF_MODEL = {
    "laddervae": ["--latents", "3,2"], "cyclegan": ["--blocks", "1", "--pool-size", "6"],
    "wgan": ["--latent", "3", "--initial-critic-steps", "3"], "cut": ["--blocks", "1"],
}  # fmt: skip
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}  # sums of another number of threads differ in the last bit
KILL_AT_33 = """
import os, sys
from ganvas.training import fit
from ganvas.cli.app import main
training = fit.training
def killed(*arguments):
    for step in training(*arguments):
        if step == 33:
            os.kill(os.getpid(), 9)
        yield step
fit.training = killed
main(sys.argv[1:])
"""


def command(model: str, folder: Path) -> list[str]:
    """40 steps of a small model."""
    domains = [str(folder)] if MODELS[model].n_domains == 1 else [str(folder), str(write_folder(folder.parent / "b"))]
    return ["train", model, *domains, "--steps", "40", *OPTIONS, *OF_MODEL.get(model, ["--latent", "3"])]


@pytest.mark.parametrize("model", list(IMAGE_MODELS))
def test_a_run_goes_on_to_the_same_bits_from_what_is_on_the_disk(
    model: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 steps straight, and from a copy at step 33 with the checkpoint of step 20, which is what a kill leaves."""
    training = fit.training

    def copied(*arguments: Any) -> Iterator[int]:
        for step in training(*arguments):
            if step == 33 and not Path("killed").exists():
                shutil.copytree("straight", "killed")
            yield step

    monkeypatch.setattr(fit, "training", copied)
    assert main([*command(model, folder), "--folder", "straight"]) == 0
    assert json.loads(Path("killed/log.jsonl").read_text().splitlines()[-1])["step"] > 20
    assert main(["resume", "killed", "--quiet"]) == 0
    check_same_bits("straight", "killed")


def test_a_killed_run_goes_on_to_the_same_bits(folder: Path) -> None:
    """The same with kill -9 of a process."""
    train = command("vae", folder)
    assert main([*train, "--folder", "straight"]) == 0
    killed = subprocess.run(
        [sys.executable, "-c", KILL_AT_33, *train, "--folder", "killed"], env=ONE_THREAD, check=False
    )
    assert killed.returncode == (9 if os.name == "nt" else -9)
    assert main(["resume", "killed", "--quiet"]) == 0
    check_same_bits("straight", "killed")


@pytest.mark.skipif(os.name == "nt", reason="signals as on Unix")
@pytest.mark.parametrize("number", [1, signal.SIGTERM])  # 1 is SIGHUP, which Windows lacks
def test_sighup_and_sigterm_save_then_stop(
    number: int, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training = fit.training

    def signalled(*arguments: Any) -> Iterator[int]:
        for step in training(*arguments):
            if step == 12:
                signal.raise_signal(number)
            yield step

    monkeypatch.setattr(fit, "training", signalled)
    before = signal.signal(number, lambda *_: None)  # the tests themselves may run under nohup
    try:
        assert main([*command("vae", folder), "--folder", "run"]) == 128 + number
    finally:
        signal.signal(number, before)
    step = checkpoint_step(Path("run"))
    assert 12 <= step <= 13
    assert f"stopped at step {step} of 40; go on with: ganvas resume run" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--seeds", "2"]], ids=["a run", "a group"])
def test_a_file_saves_then_stops(
    arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the studio asks, on Windows too; a group stops as one, and no request is left to the next process."""
    training = fit.training

    def asked(*states: Any) -> Iterator[int]:
        for step in training(*states):
            if step == 12:
                next(Path().glob("run*/.lock")).with_name(".stop").touch()
            yield step

    monkeypatch.setattr(fit, "training", asked)
    monkeypatch.setattr(signals, "LOOK_SECONDS", 0.0)
    assert main([*command("vae", folder), *arguments, "--folder", "run"]) == 128 + signal.SIGTERM
    assert len({checkpoint_step(path.parent) for path in Path().glob("run*/state.ckpt")}) == 1
    assert re.search(r"stopped at step 1[23] of 40; go on with: ganvas resume run", capsys.readouterr().err)
    assert not list(Path().glob("run*/.stop"))
    assert main(["resume", "run", "--steps", "14", "--quiet"]) == 0


@pytest.mark.parametrize("is_read", [False, True], ids=["while the data are read", "once they are"])
@pytest.mark.parametrize("arguments", [[], ["--seeds", "2"]], ids=["a run", "a group"])
def test_a_file_stops_a_run_that_is_about_to_go_on(
    arguments: list[str], is_read: bool, folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = ["train", "vae", str(folder), "--steps", "2", *OPTIONS, "--latent", "3"]
    assert main([*words, *arguments, "--folder", "run"]) == 0
    load_all = resume.load_all

    def asked(*sources: Any, **options: Any) -> Any:
        data = load_all(*sources, **options)
        next(Path().glob("run*/.lock")).with_name(".stop").touch()
        return data if is_read else load_all(*sources, **options)

    monkeypatch.setattr(resume, "load_all", asked)
    monkeypatch.setattr(signals, "LOOK_SECONDS", 0.0)
    assert main(["resume", "run", "--steps", "4", "--quiet"]) == 128 + signal.SIGTERM
    assert {checkpoint_step(path.parent) for path in Path().glob("run*/state.ckpt")} == {2}
    said = "stopped at step 2 of 4; go on with: ganvas resume run" if is_read else "were read: it is as it was"
    assert said in capsys.readouterr().err
    monkeypatch.setattr(resume, "load_all", load_all)
    assert main(["resume", "run", "--steps", "4", "--quiet"]) == 0


@pytest.mark.skipif(os.name == "nt", reason="signals as on Unix")
def test_ctrl_c_saves_then_stops(tmp_path: Path) -> None:
    """A process of its own, at a moment that it has not chosen."""
    folder, number = write_folder(tmp_path / "pets"), signal.SIGINT
    words = [sys.executable, "-m", "ganvas", "train", "vae", str(folder), "--steps", "1000000", *OPTIONS[:-3]]
    words += ["--checkpoint-every", "900000", "--folder", "run"]
    before = signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=ONE_THREAD)
    finally:
        signal.signal(number, before)
    with process:
        assert process.stderr is not None
        process.stderr.readline()  # "run ..."
        until = time.monotonic() + 60
        while not Path("run/weights.safetensors").exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(number)
        try:
            _, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 128 + number
    assert "stopping: the step under way is finished, then all is saved; a second Ctrl-C ends at once" in errors
    assert "go on with: ganvas resume run" in errors
    assert "Traceback" not in errors
    step = checkpoint_step(Path("run"))
    assert f"stopped at step {step} of 1000000" in errors
    assert step > 0
    with Image.open("run/training.webp") as animation:
        assert animation.n_frames == len(list(Path("run/previews").iterdir())) > 1  # type: ignore[attr-defined]
    assert main(["resume", "run", "--steps", str(step + 2), "--quiet"]) == 0
    assert checkpoint_step(Path("run")) == step + 2
