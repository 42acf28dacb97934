"""Commands and options that README.md and the pages in docs show: they exist, and parse."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from cyclopts import App, MissingArgumentError

from ganvas.cli.app import app, split_words
from ganvas.cli.arguments import convert_tokens, prepare_tokens
from ganvas.data.listing import IMAGE_SUFFIXES
from ganvas.training import validation

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\]\((?!https?://)([^)#]+)")
BLOCK = re.compile(r"^```.*?^```", re.S | re.M)
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z0-9-]*")
OF_TORCHRUN = {
    "-m", "--standalone", "--nnodes", "--nproc-per-node", "--rdzv-backend", "--rdzv-id", "--rdzv-endpoint",
}  # fmt: skip
OF_BENCHMARKS = {option for file in ROOT.glob("benchmarks/*.py") for option in OPTION.findall(file.read_text("utf-8"))}


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of every `ganvas ...`, in blocks and in sentences."""
    for block in BLOCK.findall(text):
        yield from (shlex.split(line, comments=True) for line in block.splitlines() if line.startswith("ganvas "))
    for span in SPAN.findall(BLOCK.sub("", text)):
        if span.startswith("ganvas "):
            yield shlex.split(" ".join(span.split()))


@cache
def known_options() -> set[str]:
    """Of every command, of benchmarks and of torchrun."""
    return options_of(app) | options_of(app.meta) | OF_BENCHMARKS | OF_TORCHRUN


def options_of(found: App) -> set[str]:
    """The options of a command and of those below it."""
    names = {name for name in found if name.startswith("-")}
    if found.default_command is not None:
        arguments = found.assemble_argument_collection(parse_docstring=False)
        names |= {name for argument in arguments for name in argument.names}
    for name in found:
        below = found[name]
        names |= options_of(below) if isinstance(below, App) and not name.startswith("-") else set()
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_parse(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_config", (convert_tokens,))
    for _, *words in commands_in(page.read_text(encoding="utf-8")):
        if "--help" in words or len(words) < 2:
            assert words[0] in app
            continue
        if any(".py:" in word for word in words):  # the model that the page shows
            Path("my_gan.py").write_text("".join(PYTHON_BLOCK.findall(page.read_text("utf-8"))), "utf-8")
            words = split_words(words)[1]  # noqa: PLW2901
        given = ["9" if word == "N" else word.strip("[]") for word in words if word != "..."]
        with suppress(MissingArgumentError):  # a sentence need not say which data
            app.parse_args(prepare_tokens(app, given), exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_exist(page: Path) -> None:
    spans = SPAN.findall(BLOCK.sub("", page.read_text(encoding="utf-8")))
    shown = {option for span in spans for word in span.split() for option in OPTION.findall(word) if word[0] in "-["}
    assert sorted(option for option in shown if option not in known_options()) == []


def test_the_readme_is_read_in_two_minutes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 126
    assert len(text.split()) <= 710
    assert text.index("![") < text.index("## "), "a picture comes before anything else"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(BLOCK.sub("", page.read_text(encoding="utf-8")))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("page", "pictures"),
    [
        ("README.md", ("grid.png", "rebuilt.png")),
        ("docs/python.md", ("grid.png", "rebuilt.png")),
        ("docs/translation.md", ("flat.png", "deep.png")),
        ("docs/scores.md", ()),
    ],
)
def test_programs_run(page: str, pictures: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block, with fewer steps and samples; docs/export.md and docs/own-models.md have their own tests."""
    for name in ("N_SAMPLES", "MAX_COPY_CHECK_EXAMPLES"):
        monkeypatch.setattr(validation, name, 40)
    programs = PYTHON_BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    assert programs
    for program in programs:
        small = re.sub(r"steps=\d+", "steps=2", program).replace("VAE(latent=16)", "VAE(latent=16, width=4)")
        exec(compile(small, page, "exec"), {})
    assert all(Path(picture).exists() for picture in pictures)


def test_the_plan_for_many_gpus_is_computed(capsys: pytest.CaptureFixture[str]) -> None:
    """With smaller networks and images; the table has its numbers for the page's own."""
    (program,) = PYTHON_BLOCK.findall((ROOT / "docs/plan-64-gpus.md").read_text(encoding="utf-8"))
    small = program.replace("(64, 256)", "(4,)").replace("200_000, 128", "200_000, 32")
    assert small != program
    exec(compile(small, "plan-64-gpus.md", "exec"), {})
    assert "DCGAN, 32 pixels, width 4: 0.0 million parameters" in capsys.readouterr().out


def test_the_job_for_many_gpus_begins_a_run_and_goes_on_with_it(tmp_path: Path) -> None:
    """What it gives to torchrun, with stand-ins for SLURM's commands."""
    text = (ROOT / "docs/plan-64-gpus.md").read_text(encoding="utf-8")
    script = text.partition("```\n#!/bin/bash\n")[2].partition("```")[0].replace("SHARED", str(tmp_path))
    for name, answer in (("srun", 'printf "%s\\n" "$@"'), ("scontrol", "echo first; echo second")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "run").mkdir()
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_NNODES": "8",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "",
    }
    for command in ("train", "resume"):
        result = subprocess.run(["bash", "-ec", script], env=environment, capture_output=True, text=True, check=True)
        words = result.stdout.splitlines()
        assert words[: words.index("-m")][-2:] == ["--rdzv-endpoint", "first:29500"]
        given = words[words.index("ganvas") + 1 :]
        assert given[0] == command
        app.parse_args(prepare_tokens(app, given), exit_on_error=False, print_error=False)
        (tmp_path / "run" / "state.ckpt").touch()


@pytest.mark.filterwarnings("ignore:.*experimental")
def test_the_worker_of_a_sweep_goes_on_with_the_run_of_a_trial_that_comes_again() -> None:
    """One trial, then the same again, as Optuna gives it to another worker."""
    optuna = pytest.importorskip("optuna", reason="it is not installed")
    (program,) = PYTHON_BLOCK.findall((ROOT / "docs/scale.md").read_text(encoding="utf-8"))
    worker = compile(program.replace("steps=2000", "steps=2").replace("(40)", "(1)"), "worker.py", "exec")
    exec(worker, {})
    study = optuna.load_study(study_name="emoji", storage="sqlite:///sweep.db")
    study.enqueue_trial(study.trials[0].params, user_attrs=study.trials[0].user_attrs)
    exec(worker, {})
    first, again = study.trials
    assert first.value == again.value
    assert [path.name for path in Path("runs/sweep").iterdir()] == ["0000"]


def test_no_page_has_a_program_that_nobody_runs() -> None:
    pages = {page.relative_to(ROOT).as_posix() for page in PAGES if PYTHON_BLOCK.search(page.read_text("utf-8"))}
    own_tests = {"docs/data.md", "docs/export.md", "docs/own-models.md", "docs/plan-64-gpus.md", "docs/scale.md"}
    assert pages == own_tests | {"README.md", "docs/python.md", "docs/scores.md", "docs/translation.md"}


def test_the_suffixes_of_images_are_listed() -> None:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").partition("reads files that end in")[2]
    assert set(SPAN.findall(text.partition("in small letters")[0])) == IMAGE_SUFFIXES
