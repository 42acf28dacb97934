"""Mistakes on the command line: one clear sentence on stderr, exit code 2 (1 for failures), nothing on stdout."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganvas.cli.app import main
from ganvas.training.fit import Run
from tests.support.data import write_folder
from tests.support.failures import failing

TINY = ["--steps", "3", "--batch-size", "4", "--width", "4", "--latent", "3", "--quiet"]


def empty(tmp_path: Path) -> str:
    (tmp_path / "empty").mkdir()
    return str(tmp_path / "empty")


def corrupt(tmp_path: Path) -> str:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return str(tmp_path / "bad")


def mixed(tmp_path: Path) -> str:
    Image.new("RGB", (5, 6)).save(write_folder(tmp_path / "mixed") / "cat" / "odd.png")
    return str(tmp_path / "mixed")


def array(name: str, **arrays: Any) -> Callable[[Path], str]:
    def write(tmp_path: Path) -> str:
        np.savez(tmp_path / name, **arrays)
        return str(tmp_path / name)

    return write


def text(tmp_path: Path) -> str:
    (tmp_path / "notes.txt").write_text("hello")
    return str(tmp_path / "notes.txt")


IMAGES = np.zeros((8, 9, 9), np.uint8)
SOURCES: list[tuple[str, Callable[[Path], str], str]] = [
    ("missing folder", lambda p: str(p / "nowhere"), "no data .*nowhere': neither a path nor one of emoji"),
    ("empty folder", empty, "holds no images"),
    ("only corrupt images", corrupt, "none of its 1 images can be read.*x.png"),
    ("mixed sizes", mixed, r"images of 2 sizes .*odd.png differs from most.* such as the most common, --size 8x9"),
    ("wrong dtype", array("a.npz", x=np.array([["a"]])), "holds <U1 values: give bytes"),
    ("Python objects", array("a.npz", x=np.array([{}], object)), "Python objects, which Ganvas never unpickles"),
    ("NaN", array("a.npz", x=np.array([[1.0, np.nan]])), r"holds nan .* at index \[0, 1\]: remove, replace"),
    ("integers that no float has", array("a.npz", x=IMAGES.astype(int) + 2**60), r"beyond 2\^53: scale them"),
    (
        "labels that do not match",
        array("a.npz", x=IMAGES, y=np.zeros(7, int)),
        r"8 examples, but labels of shape \(7,\)",
    ),
    ("five axes", array("a.npz", x=np.zeros((2, 2, 2, 2, 2))), "has shape"),
    ("17 channels", array("a.npz", x=np.zeros((2, 20, 20, 17), np.uint8)), "images need 1 to 16 channels"),
    ("nothing inside", array("a.npz", x=np.zeros((0, 8, 8))), "is empty"),
    ("no array of a usual name", array("a.npz", a=IMAGES, b=IMAGES), "only a, b: choose one as a.npz:NAME"),
    ("a text file", text, "is no data source: give a folder or a zip of images"),
    ("unknown data name", lambda p: "emojis", 'Did you mean "emoji"'),
    ("batch larger than the data", array("a.npz", x=IMAGES[:3]), "--batch-size 4 is larger than the data: a has 3"),
]


@pytest.mark.parametrize(("source", "message"), [s[1:] for s in SOURCES], ids=[s[0] for s in SOURCES])
def test_bad_data(
    source: Callable[[Path], str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(capsys, ["train", "vae", source(tmp_path), *TINY], 2, message)
    assert not (tmp_path / "runs").exists()


OPTIONS: list[tuple[list[str], str]] = [
    (["train", "vaee", "emoji"], 'Unknown command "vaee". Did you mean "vae"'),
    (["trian", "vae", "emoji"], 'Unknown command "trian". Did you mean "train"'),
    (["train", "vae", "emoji", "--latnt", "3"], "Unknown option: --latnt. Did you mean --latent"),
    (["train", "vae"], "DATA requires an argument"),
    (["train", "vae", "emoji", "--latent", "0"], "--latent must be greater than 0, not '0'"),
    (["train", "vae", "emoji", "--latent", "-3"], "--latent must be greater than 0, not '-3'"),
    (["train", "vae", "emoji", "--steps", "-1"], "--steps must be greater than 0"),
    (["train", "vae", "emoji", "--steps", "many"], "--steps must be a whole number"),
    (["train", "vae", "emoji", "--batch-size", "0"], "--batch-size must be greater than 0"),
    (["train", "vae", "emoji", "--lr", "nan"], "--lr must be"),
    (["train", "gan", "emoji", "--n-critic", "0"], "--n-critic must be greater than 0"),
    (["train", "gan", "emoji", "--loss", "bce"], "--loss must be 'minimax', 'non-saturating', .* or 'relativistic'"),
    (
        ["train", "gan", "emoji", "--loss", "wasserstein"],
        "--loss wasserstein needs a critic of bounded slope: give --gp",
    ),
    (
        ["train", "wgan", "emoji", "--gp", "10"],
        "wgan has no --gp: by its paper it has none; wgangp, ctgan, gan, dcgan and cgan take --gp",
    ),
    (["train", "wgan", "emoji", "--betas", "0.5", "0.9"], "--betas 0.5,0.9: RMSprop has no momentum: give 0 first"),
    (["train", "dcgan", "ring"], "dcgan needs images, but ring holds vectors: train gan instead"),
    (["train", "dcgan", "emoji", "--norm-d", "batch", "--r1", "1"], "--r1 1 is about D's gradient at each example"),
    (
        ["train", "dcgan", "emoji", "--net", "conv", "--penalty-interval", "16"],
        "--penalty-interval 16 is the interval of penalties: give a weight, e.g. --r1 1",
    ),
    (["train", "dcgan", "emoji", "--pack", "3"], "--batch-size 32 cannot be packed by --pack 3: give a multiple of it"),
    (["train", "cgan", "emoji", "--pack", "2"], "--pack 2 shows D examples of different labels at once: use --pack 1"),
    (["train", "cgan", "swiss-roll"], "swiss-roll has no labels, and cgan draws the class it is asked for"),
    (["train", "gan", "swiss-roll", "--balanced"], "swiss-roll has no labels: --balanced draws every class"),
    (["train", "vae", "emoji", "--posterior", "half"], "--posterior must be 'diagonal', 'full', 'low-rank' or 'iaf'"),
    (["train", "vae", "emoji", "--size", "big"], "--size must be a size such as 64 or 48x64"),
    (["train", "vae", "emoji", "--size", "0"], "--size must be a size such as 64 or 48x64"),
    (["train", "vae", "emoji", "--size", "-8"], "--size must be a size such as 64 or 48x64"),
    (["train", "vae", "emoji", "--width", "0"], "--width must be greater than 0"),
    (["train", "vae", "emoji", "--classes", "smilies"], 'no class "smilies".* Did you mean "smileys"'),
    (["train", "vae", "ring", "--net", "conv"], "--net conv needs images"),
    (["train", "vae", "ring", "--likelihood", "bernoulli"], "needs numbers from 0 to 1"),
    (["train", "vae", "ring", "--size", "8"], "holds vectors, which have no size"),
    (["train", "vae", "emoji", "--config", "none.yaml"], "none.yaml: no such file"),
    (["train", "vae", "mnist", "--data-dir", "."], "has no mnist: looked for mnist.npz"),
    (["sample", "nothing"], "no run 'nothing': neither a path nor a run"),
    (["resume", "."], "is no run folder: it has no config.json"),
    (["sample", "."], r"weights.safetensors does not exist"),
    (["train", "vae", "ring", "--steps", "10", "--epochs", "2"], "--steps 10 and --epochs 2 both say how long"),
    (["train", "vae", "ring", "--budget", "10m", "--epochs", "2"], "--epochs 2 and --budget 600 both say how long"),
    (["train", "vae", "ring", "--steps", "5000", "--budget", "90"], "--steps 5000 and --budget 90 both say how long"),
    (["train", "vae", "ring", "--budget", "soon"], "--budget must be a time such as 30s, 10m or 1.5h, not 'soon'"),
    (["train", "vae", "ring", "--budget=-5m"], "--budget must be a time such as 30s, 10m or 1.5h, not '-5m'"),
    (["train", "vae", "ring", "--budget", "0s"], "--budget must be greater than 0"),
    (["train", "vae", "ring", "--budget", "10m", "--seeds", "2"], "--budget 600.0 begins with a trial of one run"),
    (["train", "vae", "ring", "--sweep", "budget=60,90"], "--budget 60.0 begins with a trial of one run"),
    (["train", "vae", ""], "the data source is empty"),
    (["train", "vae", "ring", "--data-dir", "."], "data_dir is where mnist"),
    (["demo", "--steps-factor", "0"], "--steps-factor 0 multiplies the steps of training: give a number above 0"),
    (["demo", "--steps-factor", "nan"], "--steps-factor nan multiplies the steps"),
    (["data", "emoji", "--split", "valid"], "--split must be 'train' or 'test'"),
]


@pytest.mark.parametrize(("arguments", "message"), OPTIONS, ids=[" ".join(o[0]) for o in OPTIONS])
def test_bad_options(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Run, "fit", lambda *_: pytest.fail("was not refused"))  # nor trained for minutes
    failing(capsys, arguments, 2, message)
    assert not (tmp_path / "runs").exists()


def test_a_device_that_is_not_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    failing(capsys, ["train", "vae", "digits", "--device", "cuda"], 2, "--device cuda is not available here")


def test_bad_configuration_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content, message in (
        ("latnt: 3\n", "run.yaml, line 1: train vae has no option 'latnt'. Did you mean \"latent\""),
        ("latent: 3\nlatent: 4\n", "run.yaml, line 2: latent is given twice, first in line 1"),
        ("- latent\n", "run.yaml: it holds no options"),
        ("latent: " + 9 * "[1," + 2000 * "[", "run.yaml: it holds no options"),
        ("latent: {a: 1}\n", "run.yaml, line 1: latent takes values or a list of them, nothing nested"),
        ("latent: [1, 2]\n", "run.yaml, line 1: latent takes 1 value, not 2"),
        ("balanced: 3\n", "run.yaml, line 1: balanced is true or false, not '3'"),
        ("latent: &a 3\nwidth: *a\nlevels: 4\n", "line 3: train vae has no option 'levels'"),
        ("latent: -3\n", "--latent must be greater than 0"),
        ("latent: 3\n size: 4\n", "run.yaml, line 2: no valid YAML, mapping values are not allowed here"),
        ("latent: [\n", r"run.yaml, line 2: no valid YAML, "),
        ("latent: \0", "run.yaml: no valid YAML, it is no plain text"),
    ):
        (tmp_path / "run.yaml").write_text(content)
        failing(capsys, ["train", "vae", "emoji", "--config", "run.yaml"], 2, message)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of a VAE on twelve images."""
    folder = tmp_path / "run"
    assert main(["train", "vae", str(write_folder(tmp_path / "pets")), *TINY, "--folder", str(folder)]) == 0
    return folder


def test_a_run_folder_that_exists(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    arguments = ["train", "vae", str(tmp_path / "pets"), *TINY, "--folder", str(run)]
    failing(capsys, arguments, 2, "run exists: choose another folder, or go on with its run: ganvas resume")
    assert before == {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}


@pytest.mark.parametrize("keep", [0, 5, 300, -1])
@pytest.mark.parametrize("file", ["state.ckpt", "weights.safetensors"])
def test_a_truncated_file(file: str, keep: int, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = (run / file).read_bytes()
    (run / file).write_bytes(content[:keep])
    arguments = ["resume", str(run), "--steps", "5"] if file == "state.ckpt" else ["sample", str(run)]
    failing(capsys, arguments, 2, rf"{file} is damaged")


def test_damaged_configuration_of_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text('{"model": ')
    failing(capsys, ["resume", str(run)], 2, "config.json is damaged")
    not_by_name = "config.json is damaged: it holds no values by name"
    for content, message in (({}, "config.json is not that of a run"), ([], not_by_name), (3, not_by_name)):
        (run / "config.json").write_text(json.dumps(content))
        failing(capsys, ["resume", str(run)], 2, message)
        assert main(["runs", "--runs-dir", str(run.parent)]) == 0  # one damaged run does not hide the others
    (run / "config.json").write_text(json.dumps(good | {"model": "diffusion"}))
    failing(capsys, ["resume", str(run)], 2, "there is no model 'diffusion'")
    failing(capsys, ["sample", str(run / "state.ckpt")], 2, "state.ckpt holds no model's weights")


def test_files_of_another_model(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "gan", str(tmp_path / "pets"), *TINY, "--folder", "gan"]) == 0
    good = (run / "weights.safetensors").read_bytes()
    (run / "weights.safetensors").write_bytes(Path("gan/weights.safetensors").read_bytes())
    failing(capsys, ["sample", str(run)], 2, r"holds another model \(gan\) than the run's config.json says \(vae\)")
    (run / "weights.safetensors").write_bytes(good)
    (run / "state.ckpt").write_bytes(Path("gan/state.ckpt").read_bytes())
    failing(capsys, ["resume", str(run), "--steps", "5"], 2, r"state.ckpt holds another model \(gan\) than")


def test_a_safetensors_file_that_is_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(2)}, tmp_path / "w.safetensors")
    failing(capsys, ["sample", "w.safetensors"], 2, "was not written by Ganvas")
    header = {"format": 99, "ganvas": "9.9", "model": "vae", "fields": {}, "shape": [2]}
    save_file({"w": torch.zeros(2)}, tmp_path / "w.safetensors", {"ganvas": json.dumps(header)})
    failing(
        capsys, ["sample", "w.safetensors"], 2, r"newer than this version reads \(3\): it was written by Ganvas 9.9"
    )
    save_file({"w": torch.zeros(2)}, tmp_path / "w.safetensors", {"ganvas": json.dumps(header | {"format": 1})})
    failing(capsys, ["sample", "w.safetensors"], 2, "the weights do not fit its own header")
    header |= {"format": 1, "model": "diffusion"}
    save_file({"w": torch.zeros(2)}, tmp_path / "w.safetensors", {"ganvas": json.dumps(header)})
    failing(capsys, ["sample", "w.safetensors"], 2, "w.safetensors: there is no model 'diffusion': this Ganvas knows")


def test_what_a_model_cannot_do_or_was_not_asked(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failing(capsys, ["sample", str(run), "-n", "0"], 2, "-n 0: give 1 or more")
    failing(capsys, ["reconstruct", str(run), str(tmp_path / "pets"), "-n", "-1"], 2, "-n -1: give 1 or more")
    failing(capsys, ["sample", str(run), "--out", "a.xyz"], 2, "cannot write a.xyz: end its name in .png")
    failing(capsys, ["reconstruct", str(run), "emoji"], 2, "examples of 3x32x32, but this model was trained on 3x8x9")
    failing(capsys, ["resume", str(run), "--steps", "2"], 2, "has already done 3 steps: ask for more")
    failing(capsys, ["interpolate", str(run), "--columns", "1"], 2, "--columns 1")
    failing(capsys, ["interpolate", str(run), "--interpolation", "round"], 2, "--interpolation.*linear.*spherical")
    failing(capsys, ["interpolate", str(run), "--label", "cat"], 2, "without labels: train it with --conditional")
    failing(capsys, ["traverse", str(run), "--rows", "0"], 2, "--rows 0: give 1 or more")
    failing(capsys, ["traverse", str(run), "--example", "12"], 2, "--example 12: pets has the examples 0 to 11")
    failing(capsys, ["manifold", str(run), "--side", "0"], 2, "--side 0: give 1 or more")
    failing(capsys, ["manifold", str(run), "--show-codes", "--label", "cat"], 2, "--show-codes decodes nothing")
    pets = str(tmp_path / "pets")
    arguments = ["arithmetic", str(run), pets, "--add", "dgo", "--subtract", "cat"]
    failing(capsys, arguments, 2, r'pets has no class "dgo". Did you mean "dog"\?')
    failing(capsys, ["arithmetic", str(run), f"{pets}/cat", "--add", "a", "--subtract", "b"], 2, "cat has no labels")
    assert main(["train", "gan", str(tmp_path / "pets"), *TINY, "--folder", "gan"]) == 0
    failing(capsys, ["reconstruct", "gan", pets], 2, "gan has no encoder")
    failing(capsys, ["traverse", "gan"], 2, "gan has no encoder")
    failing(capsys, ["arithmetic", "gan", pets, "--add", "dog", "--subtract", "cat"], 2, "gan has no encoder")


def test_data_that_have_changed_since(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (9, 8)).save(tmp_path / "pets" / "cat" / "0.png")
    failing(capsys, ["resume", str(run), "--steps", "5"], 2, "has changed since .* was begun")


def test_nothing_is_overwritten_unasked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.png").write_bytes(b"precious")
    failing(capsys, ["sample", str(run), "--out", "mine.png"], 2, "mine.png exists: .* --force")
    failing(capsys, ["data", "ring", "--out", "mine.png"], 2, "mine.png exists")
    Path("singles").mkdir()
    Path("singles/00000.png").write_bytes(b"precious")
    failing(capsys, ["sample", str(run), "--out", "singles"], 2, "singles exists")
    assert Path("mine.png").read_bytes() == Path("singles/00000.png").read_bytes() == b"precious"
    assert main(["sample", str(run), "--out", "mine.png", "--force"]) == 0
    assert Path("mine.png").read_bytes() != b"precious"


def test_no_permission_to_write(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: Path, **_: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", forbidden)
    failing(capsys, ["train", "vae", "digits", *TINY], 1, "digits: permission denied")


def test_a_run_folder_below_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    failing(capsys, ["train", "vae", "digits", *TINY, "--runs-dir", "file/runs"], 2, "file/runs.*: not a directory")


def test_debug_shows_where(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("ganvas.training.run.initialize_state", lambda *a: 1 / 0)
    failing(capsys, ["train", "vae", "digits", *TINY], 1, r"failed with ZeroDivisionError: .* \(--debug shows where\)")
    with pytest.raises(ZeroDivisionError):
        main(["--debug", "train", "vae", "digits", *TINY])
