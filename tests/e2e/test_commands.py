"""The command line, as a user types it."""

import json
from pathlib import Path

import numpy as np
import pytest

from ganvas.cli.app import main
from ganvas.models import MODELS
from tests.support.cli import SMALL, TINY, said, size, told
from tests.support.models import IMAGE_MODELS

GENERATORS = [name for name, cls in IMAGE_MODELS.items() if cls.n_domains == 1 and name != "dcgan"]
"""models of one dataset, which take vectors too; dcgan takes images alone"""


def tiny(model: str) -> list[str]:
    """Options that make any model small, and few the updates of a critic."""
    own = {"laddervae": [*SMALL, "--latents", "3,2"], "wgan": [*TINY, "--initial-critic-steps", "1"]}
    return own.get(model, TINY)


@pytest.mark.parametrize("model", [*GENERATORS, pytest.param("dcgan", marks=pytest.mark.draws)])
def test_from_a_folder_to_pictures(model: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = said(capsys, "train", model, str(folder), *tiny(model))
    assert Path(run).name.endswith(f"-{model}-pets")
    files = sorted(p.relative_to(run).as_posix() for p in Path(run).rglob("*") if p.is_file())
    previews = [f"previews/{step:07d}.png" for step in (0, 3, 6)]
    last = ["last.safetensors"] if MODELS[model].keep_best_checkpoint else []
    rest = ["log.jsonl", *previews, "report.html", "state.ckpt", "training.webp", "weights.safetensors"]
    assert files == ["config.json", "curves.png", *last, *rest]
    grid = said(capsys, "sample", "last", "-n", "9")
    assert Path(grid) == Path(run) / "samples.png"
    assert size(grid)[0] > 300
    assert said(capsys, "sample", run, "-n", "5", "--out", "singles") == "singles"
    assert [size(p) for p in Path("singles").iterdir()] == [(9, 8)] * 5
    said(capsys, "sample", Path(run).name, "-n", "5", "--seed", "3", "--out", "a.npz")
    with np.load("a.npz") as archive:
        assert archive["x"].shape == (5, 8, 9, 3)
    assert size(said(capsys, "interpolate", run, "--rows", "2", "--columns", "4"))[0] > 300
    if hasattr(MODELS[model], "encode"):
        assert size(said(capsys, "reconstruct", run, str(folder), "-n", "6"))[0] > 300
        said(capsys, "reconstruct", run, str(folder), "--out", "r.npz")
        with np.load("r.npz") as archive:
            assert archive["x"].shape == (12, 8, 9, 3)
        assert Path(said(capsys, "interpolate", run, str(folder), "--rows", "2")).exists()


def test_exploring_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = said(capsys, "train", "vae", str(folder), *TINY, "--size", "12", "--channels", "1", "--quiet")
    walk = told(
        capsys, "interpolate", run, "--interpolation", "linear", "--rows", "2", "--columns", "4", "--out", "i.png"
    )
    assert walk["examples"] == 8
    rows = told(capsys, "traverse", run, "--rows", "2", "--columns", "5")
    assert (Path(rows["out"]), rows["examples"]) == (Path(run) / "traversal.png", 10)
    assert len(rows["dimensions"]) == 2
    assert rows["dimensions"][0]["kl"] >= rows["dimensions"][1]["kl"]
    assert size(rows["out"])[0] > 300
    plane = told(capsys, "manifold", run, "--side", "4")
    assert (Path(plane["out"]), plane["examples"]) == (Path(run) / "manifold.png", 16)
    assert plane["across"]["dimension"] < plane["up"]["dimension"]
    assert size(said(capsys, "manifold", run, str(folder), "--show-codes"))[0] > 300
    made = told(capsys, "arithmetic", run, str(folder), "--add", "dog", "--subtract", "cat", "--columns", "4")
    assert (made["examples"], made["strengths"]) == (36, [0, 0.5, 1, 1.5, 2])
    assert size(made["out"])[0] > 300


def test_size_and_channels_of_a_run_need_not_be_said_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = said(capsys, "train", "vae", str(folder), *TINY, "--size", "12", "--channels", "1", "--quiet")
    said(capsys, "reconstruct", run, str(folder), "--out", "own.npz")
    said(capsys, "reconstruct", run, str(folder), "--size", "12", "--channels", "1", "--out", "asked.npz")
    with np.load("own.npz") as own, np.load("asked.npz") as asked:
        assert own["x"].shape == (12, 12, 12, 1)
        np.testing.assert_array_equal(own["x"], asked["x"])


@pytest.mark.draws
def test_exploring_vectors_and_classes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = said(capsys, "train", "vae", "ring", *TINY, "--limit", "400", "--quiet")
    for words in (["interpolate"], ["traverse"], ["manifold", "--side", "3"], ["manifold", "--show-codes"]):
        assert size(said(capsys, words[0], run, *words[1:]))[0] > 300
    assert size(said(capsys, "arithmetic", run, "ring", "--add", "0", "--subtract", "4"))[0] > 300
    run = said(capsys, "train", "vae", str(folder), *TINY, "--conditional", "--quiet")
    for words in (["interpolate", "--label", "dog"], ["traverse"], ["manifold", "--label", "dog", "--side", "3"]):
        assert size(said(capsys, words[0], run, *words[1:]))[0] > 300
    assert size(said(capsys, "reconstruct", run, str(folder)))[0] > 300


@pytest.mark.draws
@pytest.mark.parametrize("model", GENERATORS)
def test_from_vectors_to_a_plot(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = said(
        capsys, "train", model, "ring", "--limit", "400", *" ".join(tiny(model)).replace("-every 3", "-every 6").split()
    )
    assert size(Path(run) / "previews" / "0000006.png")[1] > 300
    assert size(said(capsys, "sample", "last", "-n", "100"))[0] > 300
    said(capsys, "sample", "last", "-n", "100", "--out", "points.npy")
    assert np.load("points.npy").shape == (100, 2)


def test_the_run_folder_says_what_was_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = told(capsys, "train", "vae", str(folder), *TINY, "--beta", "2", "--size", "12", "--quiet")
    assert (summary["model"], summary["data"], summary["step"], summary["steps"]) == ("vae", "pets", 6, 6)
    assert set(summary["losses"]) == {"reconstruction", "kl"}
    config = json.loads((Path(summary["run"]) / "config.json").read_text())
    assert config["fields"]["beta"] == 2
    assert config["train_config"]["steps"] == 6
    assert config["data"]["shape"] == [3, 12, 12]
    assert config["data"]["classes"] == ["cat", "dog"]
    assert Path(config["data"]["source"]) == folder
    assert {"ganvas", "torch", "python"} <= set(config["versions"])
    log = [json.loads(line) for line in (Path(summary["run"]) / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5, 6]
    assert all({"seconds", "reconstruction", "kl"} <= set(line) for line in log)


def test_the_users_commit_is_noted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import subprocess

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@y", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "x")
    run = said(capsys, "train", "vae", str(folder), *TINY, "--quiet")
    config = json.loads((Path(run) / "config.json").read_text())
    assert config["git"] == {"commit": git("rev-parse", "HEAD"), "dirty": False}


def test_a_second_run_of_the_day_gets_a_folder_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (said(capsys, "train", "vae", str(folder), *TINY, "--quiet") for _ in range(2))
    assert second == f"{first}-2"
    listed = told(capsys, "runs")
    assert [line["run"] for line in listed] == [first, second]
    table = said(capsys, "runs")
    assert first in table
    assert second in table
    assert "reconstruction" in table


def test_options_from_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.yaml").write_text("latent: 5\nwidth: 6\nsteps: 4\nbatch-size: 3\nquiet: true\n")
    run = said(capsys, "train", "vae", str(folder), "--config", "run.yaml", "--latent", "7")
    config = json.loads((Path(run) / "config.json").read_text())
    assert (config["fields"]["latent"], config["fields"]["width"], config["train_config"]["steps"]) == (7, 6, 4)


def test_a_report_on_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "cat" / "broken.png").write_bytes(b"no")
    report = told(capsys, "data", str(folder))
    assert (report["name"], report["examples"], report["shape"]) == ("pets", 12, "3 x 8 x 9 (c x h x w)")
    assert report["classes"] == {"cat": 6, "dog": 6}
    assert "1 file skipped" in report["notes"][0]
    assert size(report["contact sheet"])[0] > 300
    text = said(capsys, "data", str(folder))
    assert "cat: 6, dog: 6" in text
    assert "broken.png" in text
    assert "range" in said(capsys, "data", "swiss-roll")


def test_parts_of_data_are_chosen_as_the_readme_says(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--classes", "smileys,animals"], ["--classes", "smileys", "--classes", "animals"]):
        assert told(capsys, "data", "emoji", *words)["classes"] == {"smileys": 147, "animals": 140}
    assert told(capsys, "data", "emoji", "--channels", "1", "--size", "16")["shape"].startswith("1 x 16 x 16")
    Path("view.yaml").write_text("classes: smileys,animals\nchannels: 1\nsize: 16\n")
    assert told(capsys, "data", "emoji", "--config", "view.yaml")["examples"] == 287


def test_a_contact_sheet_does_not_become_data(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    sheet = Path(told(capsys, "data", ".")["contact sheet"])
    sheet.unlink()
    assert folder not in sheet.resolve().parents
    run = said(capsys, "train", "vae", ".", *TINY, "--quiet")
    assert told(capsys, "data", ".")["examples"] == 12  # nor does a run in the folder
    assert told(capsys, "resume", run, "--steps", "7", "--quiet")["step"] == 7


def test_files_of_a_run_are_as_readable_as_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path(said(capsys, "train", "vae", str(folder), *TINY, "--quiet"))
    Path("plain").touch()
    modes = {p.stat().st_mode for p in (Path("plain"), *run.glob("*.*"))} - {(run / "previews").stat().st_mode}
    assert len(modes) == 1


def test_corrupt_images_among_good_ones_are_reported_and_skipped(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "cat" / "broken.png").write_bytes(b"no")
    assert main(["train", "vae", str(folder), *TINY]) == 0
    out, err = capsys.readouterr()
    assert "1 file skipped" in err
    assert "broken.png" in err
    assert json.loads((Path(out.strip()) / "config.json").read_text())["data"]["examples"] == 12


def test_progress_goes_to_stderr_and_results_to_stdout(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "vae", str(folder), *TINY]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert "step 6/6" in err
    assert "examples/s" in err
    assert "left" in err
    assert "kl" in err
    assert main(["train", "vae", str(folder), *TINY, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_resuming_a_finished_run_goes_further(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = said(capsys, "train", "gan", str(folder), *TINY, "--quiet")
    assert told(capsys, "resume", run, "--quiet")["step"] == 6
    assert main(["resume", run]) == 0
    assert "has already done its 6 steps: ask for more with --steps" in capsys.readouterr().err
    assert told(capsys, "resume", "last", "--steps", "9", "--quiet")["step"] == 9
    straight = said(capsys, "train", "gan", str(folder), "--steps", "9", *TINY[2:], "--quiet")
    assert (Path(run) / "weights.safetensors").read_bytes() == (Path(straight) / "weights.safetensors").read_bytes()


def test_help_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    help_text = said(capsys, "--help")
    assert "demo" in help_text
    assert len(help_text.splitlines()) <= 32  # 21 commands and four general options, with frames: a screen has 40
    assert max(map(len, help_text.splitlines())) <= 80
    for command in (
        "train",
        "resume",
        "sample",
        "reconstruct",
        "interpolate",
        "traverse",
        "manifold",
        "arithmetic",
        "runs",
        "data",
    ):
        assert command in help_text
    assert "--beta" in said(capsys, "train", "vae", "--help")
    assert said(capsys, "--version").startswith("0.")
