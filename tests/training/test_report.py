"""The page on a run: what it says and shows, whatever is in the folder, and that it never keeps a run from ending."""

import json
import re
import shlex
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganvas
from ganvas.cli.app import main
from ganvas.data import Dataset, from_array
from ganvas.errors import DivergenceError, UserError
from ganvas.io.text import format_size
from ganvas.training import report
from ganvas.training.report import write_report
from tests.support.cli import said, told
from tests.support.data import image_collection
from tests.support.pages import Page

OPTIONS: dict[str, Any] = {"steps": 4, "checkpoint_every": 2, "batch_size": 8, "quiet": True}
HOSTILE = "<img src=x onerror=alert(1)>\"'&\x1b[2J"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a VAE on images."""
    folder = tmp_path_factory.mktemp("report") / "small"
    ganvas.train(ganvas.VAE(width=4, latent=2, lr=2e-3), image_collection(), folder=folder, **OPTIONS)
    return folder


@pytest.fixture
def run(trained: Path) -> Path:
    return Path(shutil.copytree(trained, "small"))


def page_of(*folders: Path) -> tuple[Page, str]:
    """The page on these runs as a browser would read it, and its text on one line."""
    summaries = write_report(folders, Path("page.html"))
    assert [summary["run"] for summary in summaries] == [str(folder) for folder in folders]
    source = Path("page.html").read_text(encoding="utf-8")
    assert "<script" not in source
    assert not re.search(r"""(src|href|srcset)=["'](?!data:)""", source)
    page = Page()
    page.feed(source)
    assert page.open == []
    assert all(image.startswith("data:image/") for image in page.images)
    return page, " ".join(" ".join(page.text).split())


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what config.json says, or the last line of the log."""
    *lines, last = file.read_text().strip().split("\n") if file.suffix == ".jsonl" else [file.read_text()]
    values = json.loads(last)
    change(values)
    file.write_text("\n".join([*lines, json.dumps(values)]) + "\n")


def test_it_says_what_was_trained_how_it_went_and_how_to_do_it_again(run: Path) -> None:
    shutil.copy(run / "curves.png", run / "samples.png")
    page, text = page_of(run)
    assert len(page.images) == 1 + 2 + 1 + 1  # newest preview, two before it, the animation, a picture
    for words in (
        "VAE on images", "Ended: all 4 steps are done.", "40 examples of 3x12x10", "Rows: examples, their reconstr",
        "best KID", "--lr 0.002", "kl", "too short to tell", "--evaluate", "from Python", "samples.png",
        json.loads((run / "config.json").read_text())["data"]["fingerprint"], f"ganvas {ganvas.__version__}",
        f"weights.safetensors {format_size((run / 'weights.safetensors').stat().st_size)}", "previews/ 3 files",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(("file", "values", "words"), [
    ("config.json", {"end_step": 2}, "Ended early, at step 2 of 4."),
    ("log.jsonl", {"diverged": "loss became nan"}, "Diverged at step 4: loss became nan."),
    ("config.json", {"train_config": {"steps": 10}}, "At step 4 of 10: stopped, or still under way. To go on: ganvas"),
])  # fmt: skip
def test_it_says_how_a_run_ended(file: str, values: dict[str, Any], words: str, run: Path) -> None:
    edit(run / file, lambda found: found.update(values))
    assert words in page_of(run)[1]


def test_the_command_trains_the_same_again(images: Dataset) -> None:
    file = Path("x y.npy")
    np.save(file, images.x.movedim(1, -1).numpy())
    ganvas.train(ganvas.VAE(width=4, latent=2), file, folder="first", seed=3, **OPTIONS)
    _, _, command = page_of(Path("first"))[1].partition("To do it again ganvas ")
    assert main([*shlex.split(command.partition(" source of the data")[0]), "--folder", "second", "--quiet"]) == 0
    first, second = (Path(name, "weights.safetensors").read_bytes() for name in ("first", "second"))
    assert first == second


def test_names_from_elsewhere_stay_text(run: Path) -> None:
    hostile = run.rename(HOSTILE.replace("\x1b", ""))
    shutil.copy(hostile / "curves.png", hostile / HOSTILE.replace("\x1b", "").replace(">", ".png"))

    def poison(config: dict[str, Any]) -> None:
        config["data"] |= {"name": HOSTILE, "classes": [HOSTILE] * 3, "source": HOSTILE}
        config["versions"] = {HOSTILE: HOSTILE}
        config["git"] = {"commit": HOSTILE}

    edit(hostile / "config.json", poison)
    edit(hostile / "log.jsonl", lambda line: line.update({HOSTILE: 1.0, "diverged": HOSTILE}))
    for folders in ((hostile,), (hostile, hostile)):
        page_of(*folders)
        source = Path("page.html").read_text(encoding="utf-8")
        assert "<img src=x" not in source
        assert "&lt;img src=x" in source
        assert "\x1b" not in source


@pytest.mark.parametrize(("name", "left"), [
    ("config.json", "Run small"), ("log.jsonl", "VAE on images"), ("previews/0000004.png", "VAE on images"),
    ("previews", "VAE on images"), ("training.webp", "VAE on images"), ("weights.safetensors", "VAE on images"),
])  # fmt: skip
@pytest.mark.parametrize("how", ["removed", "damaged"])
def test_a_damaged_folder_gives_a_page_with_what_is_left(name: str, left: str, how: str, run: Path) -> None:
    path = run / name
    if how == "removed":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif path.is_dir():
        for picture in path.iterdir():
            picture.write_bytes(b"no picture")
    else:
        path.write_bytes(b"{" + path.read_bytes()[: path.stat().st_size // 2])
    _, text = page_of(run)
    assert left in text
    says = {"config.json": "config.json", "previews/0000004.png": "0000004.png is damaged", "log.jsonl": "damaged",
            "previews": "is damaged", "training.webp": "training.webp is damaged"}  # fmt: skip
    if how == "damaged" or name == "config.json":
        assert says.get(name, "") in text


@pytest.mark.parametrize("change", [
    lambda config: config.update(versions=[1, 2]), lambda config: config.update(created_at=3),
    lambda config: config["data"].update(shape=[[3], [4]]), lambda config: config.update(git="main"),
    lambda config: config["train_config"].update(seed=[3], steps="many"), lambda config: config.update(changes=[1]),
    lambda config: config.update(init_from=3), lambda config: config.update(given=3, chosen=[3]),
    lambda config: config["fields"].update(latent="wide"), lambda config: config.update(model="unheard-of"),
])  # fmt: skip
def test_values_that_nobody_expects_give_a_page_too(change: Callable[[dict[str, Any]], object], run: Path) -> None:
    edit(run / "config.json", change)
    assert "curves.png" in page_of(run)[1]


def test_a_folder_without_a_run_is_refused() -> None:
    Path("empty").mkdir()
    for folder in ("empty", "nowhere"):
        with pytest.raises(UserError, match=f"{folder} is no run folder"):
            write_report([Path(folder)], Path("page.html"))
    assert not Path("page.html").exists()


def test_several_runs_stand_side_by_side(run: Path) -> None:
    other = Path(shutil.copytree(run, "other"))
    edit(other / "config.json", lambda config: config["fields"].update(lr=0.5))
    page, text = page_of(run, other)
    assert len(page.images) == 2
    assert "--lr 0.002 0.5" in text
    assert "Options that differ small other model" not in text
    assert text.count("small other") >= 4  # above tables, and of each chart's lines
    assert "None: the runs have the same options." in page_of(run, run)[1]


@pytest.mark.usefixtures("real_pages")
def test_a_run_leaves_its_page_unless_told_not_to(vectors: Dataset) -> None:
    ganvas.train(ganvas.GAN(width=4, latent=2), vectors, folder="a", **OPTIONS)
    assert "Ended: all 4 steps" in Path("a/report.html").read_text()
    ganvas.train(ganvas.GAN(width=4, latent=2), vectors, folder="b", report="off", **OPTIONS)
    assert not Path("b/report.html").exists()
    ganvas.train_many(ganvas.GAN(width=4, latent=2), vectors, folder="g", seeds=2, **OPTIONS | {"steps": 2})
    assert "Ended: all 2 steps" in Path("g-seed1/report.html").read_text()
    start = time.process_time()
    write_report([Path("a")], Path("a/report.html"))
    assert time.process_time() - start < 1


@pytest.mark.usefixtures("real_pages")
def test_a_run_that_diverges_leaves_its_page(vectors: Dataset) -> None:
    model = ganvas.VAE(width=4, latent=2, lr=1e30)
    with pytest.raises(DivergenceError):
        ganvas.train(model, vectors, folder="run", on_divergence="stop", **OPTIONS)
    assert "Diverged at step" in Path("run/report.html").read_text()


@pytest.mark.usefixtures("real_pages")
def test_a_page_that_fails_does_not_fail_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], vectors: Dataset
) -> None:
    def fail(folders: Any, path: Path) -> None:
        raise RuntimeError("no room\nat all")

    monkeypatch.setattr(report, "write_report", fail)
    run = ganvas.train(ganvas.GAN(width=4, latent=2), vectors, folder="run", **OPTIONS | {"quiet": False})
    assert len(run.sample(3)) == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "report.html" in line]
    assert line.endswith("no report.html was written: no room")


def test_a_picture_too_large_for_a_page_is_left_out(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_BYTES", (run / "previews/0000004.png").stat().st_size)
    assert len(page_of(run)[0].images) == 1


def test_a_run_on_vectors_has_plots() -> None:
    x = from_array(np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32), name="points")
    ganvas.train(ganvas.GAN(width=4, latent=2), x, folder="run", **OPTIONS)
    assert "40 examples of 2 " in page_of(Path("run"))[1]
    assert "Each is a plot." in page_of(Path("run"))[1]


def test_the_command_writes_where_it_is_asked_to(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "report.html").write_text("an older page")
    result = told(capsys, "report", "small")
    assert result["out"] == str(run / "report.html")
    assert result["runs"][0]["state"] == "Ended: all 4 steps are done."
    assert "VAE on images" in (run / "report.html").read_text()
    shutil.copytree(run, "other")
    assert said(capsys, "report", "small", "other") == "report.html"
    assert said(capsys, "report", "small", "other") == "report-2.html"
    for words, sentence in (
        (("small", "--out", "report.html"), "report.html exists: choose another name, or overwrite it with --force"),
        (("small", "--out", "page.pdf"), "cannot write page.pdf: end its name in .html"),
        ((), "name a run: ganvas report last"), (("nothing",), "no run 'nothing'"),
    ):  # fmt: skip
        assert main(["report", *words]) == 2
        assert sentence in capsys.readouterr().err
    said(capsys, "report", "small", "--out", "report.html", "--force")


def test_numbers_of_held_out_examples_are_measured_where_asked(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.cli.report.measure", lambda folder, bar: {})
    monkeypatch.setattr("ganvas.cli.report.lines_of", lambda values: ["kid   0.1, floor 0.02 <b>"])
    result = told(capsys, "report", "small", "--evaluate")
    assert result["runs"][0]["evaluation"] == ["kid   0.1, floor 0.02 <b>"]
    source = (run / "report.html").read_text()
    assert "<pre>kid   0.1, floor 0.02 &lt;b&gt;</pre>" in source
    assert "have not been measured" not in source


@pytest.mark.parametrize(("size", "text"), [(0, "0 bytes"), (1, "1 byte"), (4100, "4.1 kB"), (2.5e9, "2.5 GB")])
def test_sizes_are_said_shortly(size: float, text: str) -> None:
    assert format_size(int(size)) == text


def test_a_link_to_nothing_takes_no_page_away(run: Path) -> None:
    (run / "gone.png").symlink_to("nothing")
    assert "gone.png 0 bytes" in page_of(run)[1]
