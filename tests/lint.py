"""Rules of the repository that are no tests: `python -m tests.lint` prints what breaks them, and exits 1.

A room may grow only where this file says so: its ceiling is raised in the commit that needs it, in sight.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "ganvas"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PYTHON = [*SOURCES, *TESTS, *sorted((ROOT / "benchmarks").rglob("*.py")), ROOT / "dev.py"]
FILE_LINES, FUNCTION_LINES = 400, 60
"""most lines of a file, and of a function"""
CEILINGS = {
    ".": 1620,
    "cli": 2615,
    "data": 11820,
    "diagnostics": 232,
    "distributions": 1040,
    "evaluation": 2850,
    "explore": 400,
    "inference": 2330,
    "io": 785,
    "lecture": 1790,
    "metrics": 2248,
    "models": 3400,
    "nn": 1300,
    "objectives": 345,
    "studio": 2600,
    "training": 6240,
    "web": 260,
    "viz": 1340,
}
"""most lines of each room"""
UNPICKLING = re.compile(r"torch\.load|import pickle|allow_pickle=True|weights_only=False|eval\(\s*['\"]")
PUBLISHED = 'torch.load(BytesIO(content), "cpu", weights_only=True)'
"""how weights that others have published as a pickle are read: in one place, where the file's SHA-256 is known"""


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def lengths() -> Iterator[str]:
    """Files and functions are short."""
    for file in PYTHON:
        lines = len(read(file).splitlines())
        if lines > FILE_LINES:
            yield f"{name(file)} has {lines} lines, {FILE_LINES} are the most"
        for node in ast.walk(ast.parse(read(file))):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES:
                yield f"{name(file)}: {node.name} is longer than {FUNCTION_LINES} lines"


def ceilings() -> Iterator[str]:
    """No room has more lines than it may."""
    lines = dict.fromkeys(CEILINGS, 0)
    for file in SOURCES:
        room = file.relative_to(PACKAGE).parts[0] if file.parent != PACKAGE else "."
        lines[room] = lines.get(room, 0) + len(read(file).splitlines())
    for room, n in lines.items():
        if n > CEILINGS.get(room, 0):
            yield f"src/ganvas/{room} has {n} lines, {CEILINGS.get(room, 0)} are its ceiling (tests/lint.py)"


def docstrings() -> Iterator[str]:
    """Modules, and functions and classes of more than three statements, are documented."""
    for file in SOURCES:
        tree = ast.parse(read(file))
        if not ast.get_docstring(tree):
            yield f"{name(file)} has no docstring"
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node) and len(node.body) > 3 and file.parent.name != "cli":
                yield f"{name(file)}: {node.name} has no docstring"


def pickles() -> Iterator[str]:
    """Nothing is unpickled, but for weights that others have published so."""
    for file in SOURCES:
        text = read(file)
        if name(file) == "src/ganvas/metrics/features/published.py":
            if not -1 < text.find("!= self.digest:") < text.find(PUBLISHED):
                yield f"{name(file)} unpickles before it knows the file's digest"
            text = text.replace(PUBLISHED, "", 1)
        if found := UNPICKLING.search(text):
            yield f"{name(file)} unpickles: {found[0]}"


def dependencies() -> Iterator[str]:
    """torchvision is neither needed nor named, and the version of torch that is tested stands in constraints.txt."""
    for file in [*SOURCES, ROOT / "pyproject.toml", ROOT / "constraints.txt"]:
        if "torchvision" in read(file):
            yield f"{name(file)} names torchvision"
    if "torch==2.13.0\n" not in read(ROOT / "constraints.txt"):
        yield "constraints.txt does not name torch==2.13.0"


def tests_of_tests() -> Iterator[str]:
    """No test imports from another test: helpers are in tests/support."""
    for file in TESTS:
        for node in ast.walk(ast.parse(read(file))):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if module.startswith("tests.") and not module.startswith("tests.support."):
                yield f"{name(file)} imports from {module}: move what it needs to tests/support"


def conflict_markers() -> Iterator[str]:
    """No merge was left half done."""
    for file in [*SOURCES, *TESTS, *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        if any(line.startswith(("<" * 7, ">" * 7)) for line in read(file).splitlines()):
            yield f"{name(file)} holds the marks of a merge"


CHECKS = (lengths, ceilings, docstrings, pickles, dependencies, tests_of_tests, conflict_markers)

if __name__ == "__main__":
    problems = [problem for check in CHECKS for problem in check()]
    print("\n".join(problems) or "lint: nothing to say")
    sys.exit(bool(problems))
