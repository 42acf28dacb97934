"""`ganvas bench`: its table, its JSON, its options and what it refuses."""

from pathlib import Path
from typing import Any

import pytest

from ganvas.cli.app import main
from ganvas.models import MODELS
from ganvas.training import bench
from tests.support.cli import said, told

TINY = ("--size", "16", "--channels", "1", "--batch-size", "4")


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of one step, and rates that are not measured."""
    monkeypatch.setattr(bench, "ROUND_SECONDS", 0.0)
    monkeypatch.setattr(bench, "best_rate", lambda job, amount, device: 1e9)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["bench", *arguments]) == 2
    return capsys.readouterr().err


def test_a_model_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    narrow, wide = (told(capsys, "bench", "vae", "--width", width, *TINY) for width in ("4", "8"))
    (name, figures), = narrow["models"].items()  # fmt: skip
    assert name == "vae"
    assert figures["parameters"] < wide["models"]["vae"]["parameters"]
    assert figures["flops"]["convolution"] < wide["models"]["vae"]["flops"]["convolution"]
    assert figures["share"] == pytest.approx(figures["floor"] / figures["step"])
    assert figures["examples_per_second"] == pytest.approx(4 / figures["step"])
    assert {"matmul float32", "convolution float32", "memory"} == narrow["rates"].keys()
    assert narrow["inputs"] == "1 x 16 x 16 images"


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "vae", "--net", "mlp", "--width", "8", *TINY]) == 0
    output = capsys.readouterr()
    assert "batches of 4" in output.err
    assert "matrix products float32" in output.out
    heads, *_, row = (line.split() for line in output.out.splitlines() if line.startswith((" ", "vae")))
    assert "share" in heads
    assert min(float(cell.rstrip("%").replace(",", "")) for cell in row[1:4] + row[5:7]) > 0  # however small it is


def test_precision_and_vectors(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("bench", "gan", "--width", "8", "--dimensions", "3", "--batch-size", "4", "--device", "cpu")
    report = told(capsys, *words, "--precision", "bfloat16")
    assert "matmul bfloat16" in report["rates"]
    monkeypatch.setattr("ganvas.training.tuning.missing_bfloat16", lambda device: "there are no units here")
    assert main([*words, "--precision", "bfloat16"]) == 0
    assert "no units here, so steps in bfloat16 may take many times as long" in capsys.readouterr().err
    assert report["inputs"] == "vectors of 3 numbers"


def test_without_a_model_all_that_fit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    classes: dict[str, Any] = {name: MODELS[name] for name in ("gan", "dcgan", "discogan", "ctgan")}
    monkeypatch.setattr("ganvas.cli.bench.MODELS", classes)
    report = told(capsys, "bench", "--dimensions", "3", "--batch-size", "4", "--quiet")
    assert "gan" in report["models"]
    assert "dcgan" in report["skip_reasons"]
    assert "ctgan learns tables with columns" in report["skip_reasons"]["ctgan"]
    assert report["models"].keys() | report["skip_reasons"].keys() == classes.keys()


def test_a_model_of_ones_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import ganvas\n\nclass Mine(ganvas.GAN):\n    width: int = 8\n", encoding="utf-8")
    assert told(capsys, "bench", f"{file}:Mine", *TINY)["models"].keys() == {"mine"}


def test_mistakes_are_answered_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no model 'vea': use autoencoder, vae" in refused(capsys, "vea")
    assert "--size must be" in refused(capsys, "vae", "--size", "2")
    assert "--steps 3 has no effect on the time of a step" in refused(capsys, "vae", "--steps", "3")
    assert "--keep last has no effect" in refused(capsys, "vae", "--keep", "last")
    assert "give one of them" in refused(capsys, "gan", "--size", "8", "--dimensions", "3")
    assert "--size is of images, and --dimensions 3" in refused(capsys, "gan", "--size", "8", "--dimensions", "3")
    assert "--precision auto is decided where a run begins" in refused(capsys, "vae", "--precision", "auto")
    assert "--compile auto is decided where a run begins" in refused(capsys, "vae", "--compile", "auto")
    assert "needs images" in refused(capsys, "dcgan", "--dimensions", "3")
    assert "batch norm" in refused(capsys, "dcgan", "--batch-size", "1")


def test_to_compile_needs_a_compiler(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.training.tuning.missing_compiler", lambda device: "there is no compiler of C++")
    assert refused(capsys, "vae", "--compile", "on") == "ganvas: there is no compiler of C++\n"


def test_help_shows_the_models_options(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "bench", "wgangp", "--help")
    assert "--gp" in text
    assert "--dimensions" in text
    assert "--checkpoint-every" not in text
