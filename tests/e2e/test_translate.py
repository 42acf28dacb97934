"""Two folders to translations, as a user types it."""

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from ganvas.cli.app import main
from tests.support.cli import said, size, told
from tests.support.data import write_folder

TINY = ["--steps", "4", "--batch-size", "2", "--width", "4", "--checkpoint-every", "2", "--quiet"]
MODELS = {"cyclegan": ["--blocks", "1"], "discogan": [], "cut": ["--blocks", "1"]}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The sentence for a mistake of the user's."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    return capsys.readouterr().err


@pytest.fixture
def domains(tmp_path: Path) -> tuple[str, str]:
    """Colour and grey images of different size."""
    return str(write_folder(tmp_path / "photos", (12, 16))), str(write_folder(tmp_path / "sketches", (12, 16), "L"))


@pytest.mark.draws
@pytest.mark.parametrize("model", list(MODELS))
def test_from_two_folders_to_translations(
    model: str, domains: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = said(capsys, "train", model, *domains, *TINY, *MODELS[model])
    assert Path(run).name.endswith(f"-{model}-photos-sketches")
    files = sorted(p.relative_to(run).as_posix() for p in Path(run).rglob("*") if p.is_file())
    previews = [f"previews/{step:07d}.png" for step in (0, 2, 4)]
    rest = ["report.html", "state.ckpt", "training.webp", "weights.safetensors"]
    assert files == ["config.json", "curves.png", "log.jsonl", *previews, *rest]
    config = json.loads(Path(run, "config.json").read_text())
    assert config["data"]["source"] == list(domains)
    assert config["data"]["shape"] == [[3, 16, 12], [1, 16, 12]]
    assert config["data"]["examples"] == [12, 12]
    summary = told(capsys, "translate", "last", domains[0], "out")
    assert (summary["translated"], summary["there"], summary["skipped"]) == (12, 0, {})
    with Image.open("out/cat/3.png") as image:
        assert (image.mode, image.size) == ("L", (12, 16))
    assert told(capsys, "translate", run, domains[0], "out")["there"] == 12
    if model == "cut":
        message = refused(capsys, "translate", run, domains[1], "back", "--to", "A")
        assert message.count("\n") == 1
        assert "this cut translates to B, not to 'A'" in message
    else:
        assert told(capsys, "translate", run, domains[1], "back", "--to", "A", "--force")["translated"] == 12
        with Image.open("back/dog/0.png") as image:
            assert image.mode == "RGB"
    assert "1 translated, in one.jpg" in said(capsys, "translate", run, f"{domains[0]}/cat/1.png", "one.jpg")
    assert said(capsys, "resume", run, "--steps", "6", "--quiet") == run
    assert "photos-sketches" in said(capsys, "runs")


def test_a_models_usual_options_hold_unless_others_are_given(
    domains: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for given, expected in (([], (1, 0.5)), (["--batch-size", "3", "--lr-decay", "0"], (3, 0.0))):
        words = ["--steps", "2", "--width", "4", "--blocks", "1", "--quiet", *given]
        config = json.loads(Path(said(capsys, "train", "cyclegan", *domains, *words), "config.json").read_text())
        assert (config["train_config"]["batch_size"], config["train_config"]["lr_decay"]) == expected


@pytest.mark.draws
def test_arrays_are_translated_too(capsys: pytest.CaptureFixture[str]) -> None:
    run = said(capsys, "train", "discogan", "ring", "grid", "--width", "8", "--steps", "3", "--quiet")
    np.save("points.npy", np.zeros((7, 2), np.float32))
    said(capsys, "translate", run, "points.npy", "made.npy")
    assert np.load("made.npy").shape == (7, 2)
    assert "exists" in refused(capsys, "translate", run, "points.npy", "made.npy")
    assert size(Path(run) / "previews" / "0000003.png")[0] > 300


def test_two_collections_side_by_side(domains: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    report = told(capsys, "data", *domains, "--out", "sheet.png")
    assert (report["A"]["name"], report["B"]["shape"]) == ("photos", "1 x 16 x 12 (c x h x w)")
    assert "photos has only 12 examples" in report["warnings"][0]
    assert size("sheet.png")[0] > 2 * size(said(capsys, "data", domains[0], "--out", "one.png").split()[-1])[0]
    text = said(capsys, "data", *domains)
    assert any(line.split() == ["examples", "12", "12"] for line in text.splitlines())
    assert "end its name in .png" in refused(capsys, "data", *domains, "--out", "sheet.npy")


def test_mistakes_are_said(domains: tuple[str, str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "give both" in refused(capsys, "train", "cyclegan", domains[0])
    assert "learns from one dataset, not from 2" in refused(capsys, "train", "vae", *domains)
    assert "A and B, not from 3" in refused(capsys, "train", "discogan", *domains, domains[0])
    assert "DATA requires an argument" in refused(capsys, "train", "cyclegan")
    vae = said(capsys, "train", "vae", str(folder), "--latent", "2", *TINY)
    assert "has one domain" in refused(capsys, "translate", vae, domains[0], "out")
    run = said(capsys, "train", "discogan", *domains, "--reconstruct", "none", *TINY)
    assert "translates to B, not to 'A'" in refused(capsys, "translate", run, domains[1], "out", "--to", "A")
    assert "draws no examples from noise: it translates, use `ganvas translate`" in refused(capsys, "sample", run)
    assert "no encoder" in refused(capsys, "reconstruct", run, domains[0])
    assert "no encoder" in refused(capsys, "fit-prior", run)
    assert not Path("out").exists()


@pytest.mark.draws
def test_an_archive_is_translated_as_the_run_saw_images(
    domains: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is transparent looks like the background of the run, not like its hidden colour or white."""
    run = said(capsys, "train", "discogan", *domains, "--background", "black", "--crop", "pad", "--size", "16", *TINY)
    colours = {"clear.png": (200, 90, 10, 0), "black.png": (0, 0, 0, 255), "white.png": (255, 255, 255, 255)}
    for name, colour in colours.items():
        Image.new("RGBA", (40, 20), colour).save(tmp_path / name)
    with ZipFile("images.zip", "w") as archive:
        for name in colours:
            archive.write(tmp_path / name, f"deep/{name}")
    assert told(capsys, "translate", run, "images.zip", "out")["translated"] == 3
    clear, black, white = (np.asarray(Image.open(f"out/deep/{name}")).astype(int) for name in colours)
    assert clear.shape == (20, 40, 4)
    assert np.array_equal(clear[..., :3], black[..., :3])
    assert not np.array_equal(clear[..., :3], white[..., :3])
    assert clear[..., 3].max() == 0
    said(capsys, "translate", run, str(tmp_path / "clear.png"), "one.png")
    assert "no data 'none'" in refused(capsys, "translate", run, "none", "x.png")
