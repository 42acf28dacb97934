"""Pages of the lecture from tiny runs: what is tested is the page, not how well a model learns."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganvas.cli.app import app
from ganvas.cli.arguments import convert_tokens, prepare_tokens
from ganvas.lecture import CHAPTERS, load_chapter
from ganvas.lecture.chapter import Chapter
from ganvas.lecture.page import render_chapter, write_lecture
from ganvas.lecture.recordings import record

SMALL: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "algorithm": {
        "non-saturating": {"steps": 12}, "k = 2, minimax": {"steps": 12, "loss": "minimax", "n_critic": 2},
    },
    "autoencoder": {"tiny": {"steps": 2}}, "bound": {"tiny": {"steps": 2}}, "covariance": {"tiny": {"steps": 2}},
    "conditions": {"tiny": {"steps": 2, "critic_steps": 4}},
    "domains": {
        "DiscoGAN, none": {"reconstruct": "none", "steps": 2}, "CycleGAN": {"model": "cyclegan", "steps": 2},
    },
    "game": {"side by side": {}, "the same": {"mean_p": 0.0, "mean_q": 0.0}},
    "weight": {"λ = 1": {"steps": 2}, "λ = 100": {"steps": 2, "beta": 100.0}},
}  # fmt: skip
"""for each chapter titles and parameters of tiny runs; a chapter without has its own"""
FEWER: Mapping[str, Mapping[str, Any]] = {
    "autoencoder": {"SIDE": 6}, "conditions": {"DISTANCES": (0.0, 2.0)}, "covariance": {"SIDE": 41, "STEP": 0.2},
    "game": {"STEPS": 5}, "weight": {"SEEDS": 1},
}  # fmt: skip
"""for each chapter what is smaller in its module"""
PAGES: dict[str, Path] = {}
"""pages that are written, which tests of a process share"""


def small_chapter(name: str) -> Chapter:
    """The chapter with tiny runs in place of its own."""
    chapter = load_chapter(name)
    runs = {title: chapter.parameters(**values) for title, values in SMALL.get(name, {}).items()}
    return replace(chapter, recordings=runs or chapter.recordings)


def small_page(name: str, folder: Path) -> Path:
    """The page of a chapter with tiny runs, written once a process to the folder of the first who asks."""
    import pytest

    if name not in PAGES:
        chapter = small_chapter(name)
        with pytest.MonkeyPatch.context() as patch:
            for constant, value in FEWER.get(name, {}).items():
                patch.setattr(f"ganvas.lecture.chapters.{name}.{constant}", value)
            runs = [{"title": title, **record(chapter, p)} for title, p in chapter.recordings.items()]
        (PAGES[name],) = write_lecture(folder, {name: render_chapter(chapter, runs)})
    return PAGES[name]


def check_command(text: str) -> None:
    """Every `ganvas ...` in the text of a page's command has to be one that the command line takes."""
    commands = re.findall(r"^ganvas (.*)$", text, re.M)
    assert commands
    before = app.config
    app.config = (convert_tokens,)
    try:
        for command in commands:
            app.parse_args(prepare_tokens(app, shlex.split(command)), exit_on_error=False, print_error=False)
    finally:
        app.config = before


__all__ = ["CHAPTERS", "check_command", "small_chapter", "small_page"]
