"""What commands import: seconds of starting are seconds of importing."""

import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ganvas
from ganvas.cli import main

HEAVY = ("torch", "numpy", "pydantic", "PIL", "safetensors", "rich.progress")
"""what help and the version need nothing of"""
COMPILER = ("torch._dynamo", "torch._inductor", "torch.onnx", "sympy")
"""PyTorch's compiler, and what it imports; this takes about as long as PyTorch itself"""
NEVER = (*COMPILER, "torch.distributed.launcher", "matplotlib", "scipy", "sklearn", "jinja2", "yaml")
"""what the usual commands need nothing of"""
IMAGES = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), dtype=np.uint8)
SCRIPT = """
import json, os, sys
from ganvas.cli import main
spins, names, imported = os.environ["OMP_WAIT_POLICY"], json.loads(sys.argv[1]), []
for words in json.loads(sys.argv[2]):
    main(words)
    imported.append([name for name in names if name in sys.modules])
print(json.dumps([spins, imported]))
"""


def imported_by(commands: list[list[str]], names: tuple[str, ...], folder: Path) -> list[list[str]]:
    """Those of the modules that are there after each command, in a process of its own."""
    words = [sys.executable, "-c", SCRIPT, json.dumps(names), json.dumps(commands)]
    result = subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=120, check=True)
    wait_policy, imported = json.loads(result.stdout.splitlines()[-1])
    assert wait_policy == "PASSIVE"
    return imported


def test_help_and_version_import_nothing_that_computes(tmp_path: Path) -> None:
    assert imported_by([["--version"], ["--help"]], HEAVY, tmp_path) == [[], []]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("startup") / "run"
    ganvas.train(ganvas.DCGAN(width=4), IMAGES, steps=1, batch_size=4, folder=folder, quiet=True)
    return folder


def test_commands_import_no_compiler_and_no_plots(run: Path) -> None:
    commands = [
        ["train", "dcgan", "no-such-data"], ["train", "--help"], ["resume", "no-such-run"], ["features"],
        ["runs", "--runs-dir", str(run.parent)], ["doctor", str(run)], ["data", str(run / "previews")],
        ["sample", str(run), "-n", "4", "--out", "samples.png", "--force"],
        ["sample", str(run), "-n", "4", "--out", "samples", "--force"],
    ]  # fmt: skip
    imported = imported_by(commands, NEVER, run.parent)
    assert {" ".join(words[:2]): names for words, names in zip(commands, imported, strict=True) if names} == {}
    assert (run.parent / "samples.png").exists()


def test_training_imports_no_compiler(run: Path) -> None:
    """PyTorch's own optimisers do, at their first step."""
    np.save(run.parent / "images.npy", IMAGES)
    options = ["--width", "4", "--steps", "1", "--batch-size", "4", "--folder", "new", "--quiet"]
    commands = [["train", "r3gan", "images.npy", *options], ["resume", "new", "--steps", "2", "--quiet"]]
    assert imported_by(commands, COMPILER, run.parent) == [[], []]
    assert '"step": 2' in (run.parent / "new" / "log.jsonl").read_text()


COLLECTION = """
import gc, sys
from ganvas.cli import main
sys.argv = ["ganvas", *sys.argv[1:]]
main()
print(gc.isenabled(), gc.get_freeze_count() > 100_000)
"""


@pytest.mark.parametrize("words", [["runs"], ["train", "dcgan", "no-such-data"], ["train", "no-such-model"]])
def test_garbage_is_collected_after_the_imports_and_not_among_them(words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", COLLECTION, *words]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=True)
    assert result.stdout.splitlines()[-1] == "True True"


def test_a_process_that_runs_a_command_keeps_its_garbage_collection() -> None:
    count = gc.get_freeze_count()
    assert main(["--version"]) == 0
    assert gc.isenabled()
    assert gc.get_freeze_count() == count
