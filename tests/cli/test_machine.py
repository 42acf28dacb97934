"""`ganvas doctor --machine`: what there is, and each problem with a remedy."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ganvas.cli import machine
from ganvas.cli.app import main
from ganvas.io import atomic, lock


def report(capsys: pytest.CaptureFixture[str], code: int) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["doctor", "--machine", "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_machine_without_problems(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LONG_WRITE", 1e9)  # other processes may be busy writing
    result = report(capsys, 0)
    assert result["problems"] == []
    assert f"torch {torch.__version__}" in result["versions"]
    assert str(Path().resolve()) in result["disk"], "runs would be there"
    assert main(["doctor", "--machine"]) == 0
    assert capsys.readouterr().out.endswith("\nnothing found\n")
    assert not list(Path().iterdir()), "nothing is left behind"


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def without_locks(descriptor: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def wrong_in_float32(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a * b if a.is_floating_point() else torch.matmul(a, b)


@pytest.mark.parametrize(
    ("place", "name", "value", "problem"),
    [
        (atomic, "replace_file", full, "no space left on device: make room"),
        (lock, "lock_file", without_locks, "has no locks: see to it that nothing else trains in that folder"),
        (machine, "LONG_WRITE", -1.0, "use --runs-dir elsewhere"),
        (machine, "available_memory", lambda: 2**20, "only 1 MiB of memory are free: end other programs"),
        (machine, "LITTLE_DISK", 2**70, "of disk are free in"),
        (torch.Tensor, "__matmul__", wrong_in_float32, "cpu computes nothing right: a product of whole numbers"),
    ],
)
def test_what_is_wrong_is_said(
    place: Any, name: str, value: Any, problem: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(place, name, value)
        result = report(capsys, 1)
    assert problem in " ".join(result["problems"])
    assert ".ganvas-" not in str(result)


@pytest.mark.skipif(shutil.which("id") is None or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_nobody_may_write_in(capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs").mkdir(mode=0o500)
    assert "permission denied: give another place" in report(capsys, 1)["problems"][0]


def test_it_is_asked_for_a_run_or_for_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["last", "--machine"]):
        assert main(["doctor", *words]) == 2
        assert "name a run, or give --machine alone: ganvas doctor last" in capsys.readouterr().err
