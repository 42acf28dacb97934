"""`ganvas compare`, as a user types it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ganvas.cli.app import main
from tests.support.cli import TINY, said


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """An autoencoder with a fitted prior, and a GAN."""
    folder = tmp_path_factory.mktemp("runs")
    for model in ("autoencoder", "gan"):
        assert main(["train", model, "ring", *TINY, "--quiet", "--folder", str(folder / model)]) == 0
    assert main(["fit-prior", str(folder / "autoencoder"), "--kinds", "gaussian", "--quiet"]) == 0
    return [str(folder / "autoencoder"), str(folder / "gan")]


def test_a_table_a_page_and_numbers(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", f"{runs[0]}@best", *runs, "-n", "100", "--allow-few"]
    table = said(capsys, *words, "--html", "new/page.html")
    assert table.startswith("3 runs, 100 samples each against as many test examples of ring, seed 0")
    lines = table.splitlines()
    assert re.match(r"run +model +parameters +step +training +FID ↓ +KID ↓ +precision ↑", lines[2])
    names = [f"{Path(runs[0]).name}@best", *(Path(run).name for run in runs), "floor"]
    assert [line.split()[0] for line in lines[3:11:2]] == names
    assert "–" in lines[4], "intervals below the numbers"
    assert lines[-1] == "new/page.html"
    page = Path("new/page.html").read_text(encoding="utf-8")
    assert all(name in page for name in names)
    assert page.count("data:image/png;base64,") == 3
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    found: dict[str, Any] = json.loads(said(capsys, *words, "--quiet", "--json"))
    numbers = found["runs"][1]["numbers"]
    assert numbers["fid:values"]["low"] <= numbers["fid:values"]["value"] <= numbers["fid:values"]["high"]
    assert found["runs"][0]["prior"] == "best"
    assert found["best"].keys() == numbers.keys()


def test_a_narrow_terminal_has_the_table_in_parts(
    runs: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    table = re.sub(r"\x1b\[[0-9;]*m", "", said(capsys, "compare", *runs, "-n", "100", "--allow-few"))
    parts = [line for line in table.splitlines() if line.startswith("run ")]
    assert len(parts) > 2
    assert max(len(line.rstrip()) for line in parts) <= 80
    assert sum(line.count("FID") for line in parts) == 1


def test_mistakes_have_a_sentence_each(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("there.html").write_text("kept", encoding="utf-8")
    for words, sentence in (
        ([runs[0]], "one run has nothing to be compared with"),
        ([*runs, "--metrics", "fod"], "fod is not compared: there are fid"),
        ([*runs, "--size", "8"], "options of data need --data"),
        ([*runs, "--pages", "first"], "options of data need --data"),
        ([*runs, "nowhere"], "no run 'nowhere'"),
        ([runs[0], f"{runs[1]}@mixture"], "this gan has no encoder to fit a prior to the codes of"),
        ([*runs, "-n", "0"], "-n 0: give 1 or more"),
        ([*runs, "--html", "there.html"], "there.html exists"),
    ):
        assert main(["compare", *words]) == 2
        assert sentence in capsys.readouterr().err
