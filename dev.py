"""Sets Ganvas up on a fresh machine, then runs a job in it.

    python3 dev.py demo      train eight models on emoji; show them all on one page
    python3 dev.py test      the checks of code and types, then the tests; further words go to pytest
    python3 dev.py coverage  which lines and branches the tests run, least covered files first (longer than test)
    python3 dev.py soak      kill runs, fill disks and damage files for ten minutes: docs/reliability.md
    python3 dev.py docs      write the tables of options in docs anew, from what `--help` says
    python3 dev.py run ...   any command in the environment

Needs Python 3.11 or newer and nothing else.  The environment is .venv beside this file; it is made once, and again
when pyproject.toml or constraints.txt change.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
STAMP = VENV / "made-for"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
WORKERS = ["-n", "auto", "--maxprocesses", "4", "--dist", "worksteal"]
"""a process a core, each with a thread; each begins with a run of files, so that most fixtures are made once"""
JOBS = {
    "demo": [["ganvas", "demo"]],
    "test": [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["basedpyright", "--verifytypes", "ganvas", "--ignoreexternal"],
        ["lint-imports", "--no-cache"],
        ["python", "-m", "tests.lint"],
        ["pytest", *WORKERS],
    ],
    "coverage": [["pytest", *WORKERS, "--cov", "--cov-report", "term-missing"]],
    "soak": [["python", "-m", "tests.soak"]],
    "docs": [["python", "docs/options.py"]],
    "run": [[]],
}


def environment() -> dict[str, str]:
    """The variables of the jobs: compiled Python files are kept, or each import of torch takes twice as long."""
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME")}
    variables["PATH"] = f"{BIN}{os.pathsep}{variables.get('PATH', '')}"
    variables["VIRTUAL_ENV"] = str(VENV)
    return variables


def wanted() -> str:
    """What the environment is made from."""
    parts = [(HERE / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"\0".join([*parts, sys.version.encode()])).hexdigest()


def make() -> None:
    """Make .venv, unless it is there and up to date."""
    if STAMP.exists() and STAMP.read_text() == wanted():
        return
    began = time.monotonic()
    if VENV.exists() and not STAMP.exists():
        raise OSError(f"{VENV} is there, but was not made by dev.py: move it away")
    print("setting up .venv (a minute or two, once)", file=sys.stderr, flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    STAMP.write_text("being made")  # whatever happens now, the folder may be made again
    subprocess.run([getattr(sys, "_base_executable", sys.executable), "-m", "venv", VENV], check=True)
    python = BIN / ("python.exe" if os.name == "nt" else "python")
    install = ["-m", "pip", "install", "-qq", "--no-compile", "--disable-pip-version-check"]
    subprocess.run(
        [python, *install, "-c", "constraints.txt", "-e", ".[all,dev]"],
        cwd=HERE,
        env=environment(),
        check=True,
    )
    STAMP.write_text(wanted())
    print(f"set up in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def install_browser() -> None:
    """Install the Chromium of Debian where continuous integration has none; elsewhere tests of pages skip."""
    if os.environ.get("CI") and shutil.which("apt-get") and not shutil.which("chromium"):
        for words in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", "-qq", *words], stdout=subprocess.DEVNULL, check=False)


def call(command: list[str]) -> int:
    """Run a command to its end; signals are the command's own affair: training saves before it stops."""
    with subprocess.Popen(command, cwd=HERE, env=environment()) as process:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the command as well
        signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
        return process.wait()


def main(words: list[str]) -> int:
    if sys.version_info < (3, 11):
        print(f"dev.py needs Python 3.11 or newer, not {sys.version.split()[0]}", file=sys.stderr)
        return 2
    if not words or words[0] not in JOBS:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        make()
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"dev.py: the environment could not be made: {error}", file=sys.stderr)
        return 1
    if words[0] == "test":
        install_browser()
    job, more = JOBS[words[0]], words[1:]
    for command in [*job[:-1], [*job[-1], *more]]:
        program = shutil.which(command[0], path=environment()["PATH"]) if command else None
        if program is None:
            print(f"dev.py: no program {' '.join(command[:1]) or 'given'}", file=sys.stderr)
            return 2
        code = call([program, *command[1:]])
        if code:
            print(f"dev.py: {' '.join(command)} failed", file=sys.stderr)
            return code
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
