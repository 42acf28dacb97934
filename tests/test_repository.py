"""Rules of the repository itself."""

import ast
import importlib.resources
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PYTHON = [
    *SOURCES,
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted((ROOT / "benchmarks").rglob("*.py")),
    ROOT / "dev.py",
]


def test_torchvision_is_neither_named_nor_installed() -> None:
    assert importlib.util.find_spec("torchvision") is None
    for file in [*SOURCES, ROOT / "pyproject.toml", ROOT / "constraints.txt"]:
        assert "torchvision" not in file.read_text(encoding="utf-8"), file


@pytest.mark.parametrize("file", PYTHON, ids=lambda p: p.name)
def test_files_and_functions_are_short(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name


@pytest.mark.parametrize("file", SOURCES, ids=lambda p: p.name)
def test_modules_and_public_functions_are_documented(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), file
    nodes = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    missing = [n.name for n in nodes if not ast.get_docstring(n) and len(n.body) > 3 and not n.name.startswith("_")]
    assert missing == [] or file.parent.name == "cli"


def test_nothing_unpickles() -> None:
    """But for weights that others have published so: in one place, weights only, where the file's SHA-256 is known."""
    line = 'torch.load(BytesIO(content), "cpu", weights_only=True)'
    for file in SOURCES:
        text = file.read_text(encoding="utf-8")
        if file.relative_to(ROOT / "src" / "ganvas").as_posix() == "metrics/features/published.py":
            assert text.index("!= self.digest:") < text.index(line)
            text = text.replace(line, "", 1)
        assert not re.search(r"torch\.load|import pickle|allow_pickle=True|weights_only=False|eval\(\s*['\"]", text), (
            file
        )


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


def test_the_version_is_said_once() -> None:
    import ganvas

    assert f'version = "{ganvas.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_what_is_tested_with_is_what_constraints_say() -> None:
    from importlib.metadata import version

    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line
    )
    assert pinned["torch"] == "2.13.0"
    for name in ("torch", "numpy", "pydantic", "cyclopts", "pytest"):
        assert version(name).split("+")[0] == pinned[name]
