"""Runs that are killed or stopped in a process of their own, and go on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganvas.cli.app import main
from ganvas.models import MODELS
from tests.support.data import write_folder

OPTIONS = ["--batch-size", "4", "--width", "4", "--checkpoint-every", "20", "--quiet"]
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}  # sums of another number of threads differ in the last bit
KILL_AT_33 = """
import os, sys
from ganvas.training import run as runs
from ganvas.cli.app import main
real = runs.training
def killed(*arguments):
    for step in real(*arguments):
        if step == 33:
            os.kill(os.getpid(), 9)
        yield step
runs.training = killed
main(sys.argv[1:])
"""


@pytest.mark.parametrize("model", list(MODELS))
def test_a_killed_run_goes_on_to_the_same_bits(model: str, folder: Path) -> None:
    """40 steps straight, and 33 + kill -9 + the rest from the checkpoint of step 20: the same files, bit for bit."""
    domains = [str(folder)] if MODELS[model].n_domains == 1 else [str(folder), str(write_folder(folder.parent / "b"))]
    train = ["train", model, *domains, "--steps", "40", *OPTIONS]
    own = {"laddervae": ["--latents", "3,2"], "cyclegan": ["--blocks", "1", "--pool-size", "6"]}
    train += own.get(model, ["--latent", "3"])
    assert main([*train, "--folder", "straight"]) == 0
    killed = subprocess.run(
        [sys.executable, "-c", KILL_AT_33, *train, "--folder", "killed"], env=ONE_THREAD, check=False
    )
    assert killed.returncode == (9 if os.name == "nt" else -9)
    assert json.loads(Path("killed/log.jsonl").read_text().splitlines()[-1])["step"] > 20
    assert main(["resume", "killed", "--quiet"]) == 0
    for name in ("weights.safetensors", "state.ckpt", *(f"previews/{step:07d}.png" for step in (0, 20, 40))):
        assert Path("straight", name).read_bytes() == Path("killed", name).read_bytes(), name
    logs = [
        [json.loads(line) for line in Path(run, "log.jsonl").read_text().splitlines()] for run in ("straight", "killed")
    ]
    for straight, resumed in zip(*logs, strict=True):
        del straight["seconds"], resumed["seconds"]
        assert straight == resumed


@pytest.mark.skipif(os.name == "nt", reason="signals as on Unix")
@pytest.mark.parametrize("number", [1, signal.SIGINT, signal.SIGTERM])  # 1 is SIGHUP, which Windows lacks
def test_ctrl_c_and_sigterm_save_then_stop(number: signal.Signals, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pets")
    command = [sys.executable, "-m", "ganvas", "train", "vae", str(folder), "--steps", "1000000", *OPTIONS[:-3]]
    command += ["--checkpoint-every", "900000", "--folder", "run"]
    before = signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ONE_THREAD)
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
            _, said = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 128 + number
    assert "stopping: the step under way is finished, then all is saved; a second Ctrl-C ends at once" in said
    assert "go on with: ganvas resume run" in said
    assert "Traceback" not in said
    from ganvas.training.run_folder import checkpoint_step

    step = checkpoint_step(Path("run"))
    assert f"stopped at step {step} of 1000000" in said
    assert step > 0
    assert main(["resume", "run", "--steps", str(step + 2), "--quiet"]) == 0
    assert checkpoint_step(Path("run")) == step + 2
