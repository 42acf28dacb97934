"""Rules of the repository itself."""

import importlib.resources
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation

from ganvas.objectives.kl import kl_diagonal
from ganvas.randomness import derive_seed
from tests import lint

ROOT = Path(__file__).resolve().parents[1]


def test_torchvision_is_not_installed() -> None:
    assert importlib.util.find_spec("torchvision") is None


def test_the_command_line_starts_without_torch() -> None:
    code = "import sys, ganvas.cli.app; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_threads_are_told_to_sleep_before_torch_is_imported() -> None:
    code = "import os; os.environ.pop('OMP_WAIT_POLICY', None); import ganvas; print(os.environ['OMP_WAIT_POLICY'])"
    assert (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "PASSIVE\n"
    )


def test_the_public_api_is_complete() -> None:
    import ganvas

    for name in ganvas.__all__:
        assert getattr(ganvas, name) is not None
        assert name in dir(ganvas)
    assert callable(ganvas.train)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ganvas.nothing


def test_types_are_there_for_those_who_check_them() -> None:
    """PEP 561: beside the modules, in whatever is built of the package."""
    assert importlib.resources.files("ganvas").joinpath("py.typed").is_file()
    built = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert built["wheel"] == {"packages": ["src/ganvas"]}
    assert "src" in built["sdist"]["include"]


def test_the_version_is_the_same_everywhere() -> None:
    import ganvas

    assert f'version = "{ganvas.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"\nversion: {ganvas.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_what_breaks_the_rules_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules of `tests.lint`, each broken once."""
    package = tmp_path / "src" / "ganvas"
    (package / "io").mkdir(parents=True)
    for name, text in {
        "constraints.txt": "torch==1.0\n", "pyproject.toml": "torchvision\n",
        "src/ganvas/long.py": "x = 1\n" * 401, "src/ganvas/io/new.py": '"""New."""\nimport pickle\n' + "y = 2\n" * 20,
        "src/ganvas/io/bare.py": "def f():\n" + "    a = 1\n" * 61,
        "tests/test_b.py": "from tests.test_a import helper\n", "CHANGELOG.md": "<" * 7 + " HEAD\n",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(lint, "ROOT", tmp_path)
    monkeypatch.setattr(lint, "PACKAGE", package)
    monkeypatch.setattr(lint, "SOURCES", sorted(package.rglob("*.py")))
    monkeypatch.setattr(lint, "TESTS", [tmp_path / "tests" / "test_b.py"])
    monkeypatch.setattr(lint, "PYTHON", sorted(tmp_path.rglob("*.py")))
    monkeypatch.setattr(lint, "CEILINGS", {".": 500, "io": 10})
    assert {check.__name__: len(list(check())) for check in lint.CHECKS} == {
        "lengths": 2, "ceilings": 1, "docstrings": 3, "pickles": 1, "dependencies": 2, "tests_of_tests": 1,
        "conflict_markers": 1,
    }  # fmt: skip


def test_the_tests_that_the_page_on_security_names_exist() -> None:
    """Each line of what is guarded against names one."""
    page = lint.read(ROOT / "SECURITY.md").partition("## What is guarded")[2].partition("\n## ")[0]
    lines = page.replace("\n  ", " ").splitlines()
    guards = [line for line in lines if line.startswith("- ")]
    assert len(guards) > 9
    defined = {name for file in lint.TESTS for name in re.findall(r"^def (test_\w+)", lint.read(file), re.MULTILINE)}
    for line in guards:
        named = re.findall(r"`(test_\w+)`", line)
        assert named, line
        assert defined >= set(named), line


def test_types_and_shapes_are_checked_at_run_time() -> None:
    x = torch.ones(2, 3)
    assert kl_diagonal(x, x).shape == (2, 3)
    for call in (lambda: derive_seed(1.5), lambda: kl_diagonal(x, torch.ones(2, 4))):  # type: ignore[arg-type]
        with pytest.raises(BeartypeCallHintViolation):
            call()
