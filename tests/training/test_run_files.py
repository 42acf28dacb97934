"""`ganvas doctor` of a run whose files are damaged: each is named, with what is lost, and none is written."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganvas
from ganvas.cli.app import main
from ganvas.training.run_files import check_files
from tests.support.cli import said, told

LOST = {
    "config.json": "the run cannot be resumed; weights.safetensors still samples",
    "log.jsonl": "curves and the doctor lack these lines",
    "weights.safetensors": "the run cannot be sampled; the weights of step 4 take its place",
    "state.ckpt": "the run cannot be resumed; samples come from the weights of step 4",
    "last.safetensors": "nothing that weights.safetensors and the state lack",
    "curves.png": "the picture",
    "training.webp": "the animation of the previews",
    "report.html": "the page",
    "previews/0000002.png": "the picture",
}
OPTIONS: dict[str, Any] = {"steps": 4, "checkpoint_every": 2, "batch_size": 8, "quiet": True}
MODEL = ganvas.GAN(width=4, latent=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all files."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    ganvas.train(MODEL, x, folder=folder, **OPTIONS)
    return folder


@pytest.fixture
def run(whole: Path) -> Path:
    return Path(shutil.copytree(whole, "run"))


def damaged(content: bytes, how: str) -> bytes:
    """The content after something has gone wrong."""
    structural = {b"RIFF": 8, b'{"st': 1, b"{\n  ": 0}  # elsewhere a flip may change a letter alone
    place = structural.get(content[:4], len(content) // 2)
    flipped = content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]
    return {"truncated": content[: len(content) // 2], "emptied": b"", "flipped": flipped}[how]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("how", ["truncated", "emptied", "flipped", "removed"])
@pytest.mark.parametrize("name", list(LOST))
def test_each_damage_is_named_with_what_is_lost(name: str, how: str, run: Path) -> None:
    path = run / name
    path.unlink() if how == "removed" else path.write_bytes(damaged(path.read_bytes(), how))
    before = contents(run)
    (found,) = [report for report in check_files(run) if report.state != "whole"]
    assert (found.file, found.state) == (name, "missing" if how == "removed" else "damaged")
    assert found.lost == LOST[name]
    assert bool(found.why) == (how != "removed")
    assert contents(run) == before


def test_a_bit_anywhere_in_weights_and_state_is_found(run: Path) -> None:
    for name in ("weights.safetensors", "state.ckpt"):
        content = (run / name).read_bytes()
        for place in range(8, len(content), len(content) // 9):
            (run / name).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert [r.file for r in check_files(run) if r.state == "damaged"] == [name], place
        (run / name).write_bytes(content)


def test_the_command_says_what_to_do(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "doctor", "run").endswith("\nall 11 files are whole")
    for name in ("notes.txt", ".state.ckpt.17.tmp", "shards-0000002/a.safetensors"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("mine")
    before = contents(run)
    lines = said(capsys, "doctor", "run").splitlines()
    assert lines[-3:] == [
        "all 11 files are whole",
        ".state.ckpt.17.tmp, shards-0000002/a.safetensors: left over: "
        "ganvas resume run removes it, unless it is of a run that is being trained",
        "notes.txt: no file of the run: left alone",
    ]
    assert contents(run) == before
    (run / "state.ckpt").write_bytes(damaged((run / "state.ckpt").read_bytes(), "truncated"))
    lines = said(capsys, "doctor", "run", code=1).splitlines()
    assert lines[0] == "state.ckpt: damaged"
    assert lines[2:4] == [
        "  lost      the run cannot be resumed; samples come from the weights of step 4",
        "  remedies  put a copy of it back, or begin with its weights: ganvas train MODEL DATA --init-from run",
    ]
    files = told(capsys, "doctor", "run", code=1)["files"]
    assert len(files["whole"]) == 10
    assert [f["state"] for f in files["others"]] == ["damaged", "left over", "no file of the run", "left over"]


def test_files_are_checked_where_the_log_says_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "config.json").unlink()
    assert main(["doctor", "run", "--json"]) == 2
    out, err = capsys.readouterr()
    assert '"file": "config.json", "state": "missing"' in out
    assert "it has no config.json" in err
    Path("empty").mkdir()
    assert main(["doctor", "empty"]) == 2
    assert capsys.readouterr().out == ""


def test_pictures_with_the_same_damage_share_a_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(run / "previews")
    text = said(capsys, "doctor", "run", code=1)
    assert text.startswith("previews/0000000.png, previews/0000002.png, previews/0000004.png: missing\n  lost")


def test_the_runs_of_a_group_are_all_checked(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    ganvas.train_many(MODEL, x, seeds=2, folder="g", **OPTIONS | {"steps": 2})
    Path("g-seed1/state.ckpt").unlink()
    text = said(capsys, "doctor", "g", code=1)
    assert text.startswith("g-seed0:\n")
    assert "\nall 10 files are whole\ng-seed1:\nstate.ckpt: missing\n" in text
    runs = told(capsys, "doctor", "g", code=1)["runs"]
    assert [len(one["files"]["others"]) for one in runs] == [0, 1]


def test_a_checkpoint_to_go_back_to_is_one_of_the_files(run: Path) -> None:
    good = Path(shutil.copy(run / "state.ckpt", run / "good.ckpt"))
    assert [report for report in check_files(run) if report.state != "whole"] == []
    good.write_bytes(good.read_bytes()[:-9])
    (report,) = (report for report in check_files(run) if report.state != "whole")
    assert (report.file, report.state) == ("good.ckpt", "damaged")
    assert report.lost == "nothing, unless the run diverges: it cannot go back to it then"
