"""Models of the user's own: from a file on the command line, and in Python."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganvas
import ganvas.models
from ganvas.cli.app import main
from ganvas.data import Dataset
from ganvas.errors import UserError
from ganvas.models._own import load_model_class

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "own-models.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
TINY = ["--batch-size", "8", "--width", "8", "--checkpoint-every", "2", "--quiet"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The models of the page."""
    path = tmp_path / "my_gan.py"
    path.write_text("\n\n".join(BLOCKS), "utf-8")
    return path


def ganvas_process(*commands: str, package: Path = ROOT / "src") -> subprocess.CompletedProcess[str]:
    """Commands in a new process, which knows of no class that this one has defined; it ends at one that fails."""
    run = "import sys; sys.path.insert(0, sys.argv[1]); from ganvas.cli.app import main\n"
    run += "sys.exit(next((code for words in sys.argv[2:] if (code := main(words.split()))), 0))"
    command = [sys.executable, "-c", run, str(package), *commands]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["MyGAN", "LouderGAN", "OwnGenerator"])
def test_a_model_of_the_page_trains_samples_resumes_and_is_evaluated(name: str, file: Path) -> None:
    own = f"{file}:{name}"
    assert main(["train", own, "ring", *TINY, "--steps", "4", "--folder", "run"]) == 0
    assert main(["train", own, "ring", *TINY, "--steps", "2", "--folder", "half"]) == 0
    assert main(["sample", "run", "--model", own]) == 0
    assert name != "MyGAN" or main(["evaluate", "run", f"--model={own}", "-n", "100"]) == 0
    assert main(["doctor", "run", "--model", own]) == 0
    assert main(["resume", "half", "--steps", "4", "--model", own]) == 0
    assert np.array_equal(ganvas.load("run").sample(9).x, ganvas.load("half").sample(9).x)


def test_options_of_an_own_model(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = f"{file}:LouderGAN"
    assert main(["train", own, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "A GAN whose losses are multiplied by a factor." in shown
    assert "--factor FLOAT what losses are multiplied by [default: 2.0]" in shown
    assert "[default: 0.0001]" in shown  # lr
    assert main(["train", own, "ring", "--factor", "x"]) == 2
    assert capsys.readouterr().err == "ganvas: --factor must be a number, not 'x'\n"
    assert main(["train", own, "ring", *TINY, "--steps", "2", "--folder", "run", "--factor", "3"]) == 0
    fields = json.loads(Path("run/config.json").read_text("utf-8"))["fields"]
    assert (fields["factor"], fields["lr"], fields["width"]) == (3.0, 1e-4, 8)


def test_no_code_runs_that_the_user_did_not_name(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(file.read_text("utf-8") + "\nopen('ran', 'w').close()\n", "utf-8")
    assert main(["train", f"{file}:MyGAN", "ring", *TINY, "--steps", "2", "--folder", "run"]) == 0
    Path("ran").unlink()
    answer = ganvas_process("sample run")
    assert answer.returncode == 2
    assert "MyGAN of my_gan.py, whose code runs only if you name it" in answer.stderr
    monkeypatch.setattr(ganvas.models, "own_model_classes", lambda: iter(()))  # as in a new process
    for words in (["sample", "run/weights.safetensors"], ["resume", "run", "--steps", "4"], ["doctor", "run"]):
        capsys.readouterr()
        assert main(words) == 2
        assert "--model my_gan.py:MyGAN" in capsys.readouterr().err
    assert main(["runs", "--runs-dir", "."]) == 0
    assert "mygan" in capsys.readouterr().out
    assert not Path("ran").exists()


def test_a_file_that_has_changed_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> bool:
        capsys.readouterr()
        assert main([*words, "--model", f"{file}:MyGAN"]) == 0
        return "the file of mygan has changed since this run was written: my_gan.py" in capsys.readouterr().err

    assert main(["train", f"{file}:MyGAN", "ring", *TINY, "--steps", "2", "--folder", "run"]) == 0
    assert Path("run/model.py.txt").read_bytes() == file.read_bytes()
    assert not said("sample", "run")
    file.write_text(file.read_text("utf-8") + "\n# changed\n", "utf-8")
    assert said("sample", "run")
    assert said("resume", "run", "--steps", "4")
    assert not said("resume", "run", "--steps", "6")
    config = json.loads(Path("run/config.json").read_text("utf-8"))
    old, new = config["changes"][0]["model_source"]
    assert config["model_source"] == new != old


@pytest.mark.parametrize(
    ("code", "name", "said"),
    [
        ("x = 1", "Mine", "no subclass of ganvas.Model"),
        ("import ganvas\nclass Mine(ganvas.VAE):\n    pass", "Mien", "Mien names no model: mine.py has mine.py:Mine\n"),
        (
            "import ganvas\nclass Mine(ganvas.Model):\n    pass",
            "Mine",
            "is not finished: it lacks networks, preview, step",
        ),
        ("import ganvas\nclass Mine(ganvas.VAE):\n    extra: int", "Mine", "needs a default value, but extra has none"),
        ("import ganvas\nclass VAE(ganvas.VAE):\n    pass", "VAE", "has the name of one of Ganvas's models"),
        ("class Mine(", "Mine", "cannot be imported: SyntaxError"),
        ("import nothing_of_this_name", "Mine", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_files_that_are_no_model(code: str, name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(code, "utf-8")
    assert main(["train", f"mine.py:{name}", "ring", "--steps", "1"]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
    assert not Path("runs").exists()


def test_a_file_may_import_its_neighbours() -> None:
    Path("models").mkdir()
    Path("models/rates.py").write_text("RATE = 0.5\n", "utf-8")
    Path("models/near.py").write_text(
        "import ganvas\nfrom rates import RATE\nclass Near(ganvas.VAE):\n    lr = RATE\n", "utf-8"
    )
    assert load_model_class("models/near.py:Near")().lr == 0.5


def test_a_subclass_in_python_needs_nothing(vectors: Dataset) -> None:
    class Between(ganvas.VAE):
        extra: int = 2

    class Mine(Between):
        lr = 0.5
        extra = 3

    options: dict[str, Any] = {"steps": 2, "batch_size": 8, "quiet": True}
    ganvas.train(Mine(latent=2, width=4), vectors, folder="own", **options)
    model = ganvas.load("own").model
    assert isinstance(model, Mine)
    assert (model.lr, model.extra, model.latent) == (0.5, 3, 2)
    assert ganvas.resume("own", data=vectors, steps=4, quiet=True).metadata["step"] == 4
    with pytest.raises(UserError, match=r"Mine has no 'latnet'"):
        Mine(latnet=3)  # type: ignore[call-arg]
    Mine.__name__ = "VAE"
    with pytest.raises(UserError, match="VAE has the name of one of Ganvas's models"):
        ganvas.train(Mine(latent=2, width=4), vectors, folder="other", **options)


def test_a_model_is_added_by_one_file_and_one_line(file: Path, tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(ROOT / "src", package, ignore=shutil.ignore_patterns("__pycache__"))
    models = package / "ganvas" / "models"
    shutil.copy(file, models / "mygan.py")
    text = (models / "__init__.py").read_text("utf-8")
    line = "from .discogan import DiscoGAN as DiscoGAN\n"
    (models / "__init__.py").write_text(text.replace(line, f"{line}from .mygan import MyGAN as MyGAN\n"), "utf-8")

    train = f"train mygan ring {' '.join(TINY)} --steps 2 --folder run"
    answer = ganvas_process("train --help", train, "resume run --steps 4", "sample run", package=package)
    assert answer.returncode == 0, answer.stderr
    assert "mygan" in answer.stdout
    assert Path("run/samples.png").exists()
    assert "model_source" not in json.loads(Path("run/config.json").read_text("utf-8"))
