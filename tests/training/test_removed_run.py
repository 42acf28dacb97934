"""A run whose folder is removed while it is trained: one sentence, exit code 1, and nothing is made anew."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ganvas.errors import RunRemovedError
from ganvas.io.run_folder import RunFolder
from ganvas.training import fit
from tests.support.failures import failing

WORDS = "train gan ring --steps 4 --batch-size 8 --width 4 --latent 2 --folder runs/a --quiet"


def move(folder: Path) -> None:
    folder.rename("elsewhere")


def empty(folder: Path) -> None:
    """As somebody does who then makes a folder of the same name."""
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize("remove", [shutil.rmtree, move, empty], ids=["removed", "moved", "made anew"])
@pytest.mark.parametrize("every", [20, 2], ids=["log", "checkpoint"])
def test_a_run_that_is_removed_ends(
    every: int, remove: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before a line of the log, and before one that best weights go with."""
    real = fit.training

    def training(*arguments: Any) -> Iterator[int]:
        for step in real(*arguments):
            if step == 2:
                remove(Path("runs/a"))
            yield step

    monkeypatch.setattr(fit, "training", training)
    words = [*WORDS.split(), "--checkpoint-every", str(every)]
    message = (
        "runs/a was removed or moved while it was being trained, so training has ended: put it back and go on with"
    )
    failing(capsys, words, 1, message)
    assert not list(Path("runs").rglob("*.*"))
    assert Path("runs/a").exists() == (remove is empty)


def test_no_file_of_a_removed_run_makes_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Weights, pictures in a folder of the run, the log."""
    run = RunFolder(tmp_path / "runs" / "a")
    run.path.mkdir(parents=True)
    with run.lock(lambda notes: None):
        shutil.rmtree(run.path.parent)
        for write in (run.write_config, run.append_log, lambda line: run.write_log([line])):
            with pytest.raises(RunRemovedError):
                write({"step": 1})
        with pytest.raises(RunRemovedError), fit.atomic_write(run.preview(3)):
            pass
        assert not run.path.parent.exists()
    run.path.mkdir(parents=True)
    run.write_config({})
    assert run.is_run, "after training it is a folder like others"
