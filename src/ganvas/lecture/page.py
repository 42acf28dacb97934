"""A chapter as one self-contained page, and the list of chapters."""

import json
import re
from base64 import b64encode
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..io.atomic import atomic_write
from . import CHAPTERS, load_chapter
from .chapter import Chapter, Equation

KATEX = files("ganvas") / "assets" / "katex"
HERE = files("ganvas") / "lecture"
SCRIPTS = ("templates/lecture.js", "templates/draw.js")
MAX_BYTES = 15_000_000
"""of a page"""


def write_lecture(folder: Path, pages: dict[str, str]) -> list[Path]:
    """Write pages by name, "index" among them, as NAME.html in a folder; returns their paths."""
    paths = []
    for name, text in pages.items():
        paths.append(folder / f"{name}.html")
        with atomic_write(paths[-1]) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return paths


def render_index(home: str = "") -> str:
    """The list of chapters; `home` is the address of the page that it is a part of, if any."""
    values = {"title": "The lecture, alive", "chapters": all_chapters(), "home": home}
    return environment().get_template("index.html").render(values)


def render_waiting(chapter: Chapter, message: str, *, asks_again: bool = True) -> str:
    """The page that stands for a chapter while its runs are recorded; it asks again by itself, unless they failed."""
    return (
        environment().get_template("waiting.html").render(title=chapter.title, message=message, asks_again=asks_again)
    )


def render_chapter(chapter: Chapter, recordings: list[dict[str, Any]], *, live: bool = False) -> str:
    """The page of a chapter, with nothing outside of it; a `live` one can also ask its server for other runs."""
    chapters, parts = all_chapters(), vars(environment().get_template("parts.html").module)
    number = CHAPTERS.index(chapter.name) + 1
    data = {"name": chapter.name, "live": live, "schema": chapter.schema, "recordings": recordings}
    text = environment().get_template("chapter.html").render(
        title=f"{number}. {chapter.title}", chapter=chapter, number=number, live=live,
        previous=chapters[number - 2] if number > 1 else None,
        next=chapters[number] if number < len(chapters) else None,
        choices=parts["choices"], equation=lambda name: parts["equation"](name, locate(chapter.equations[name])),
        data=script_json(data), katex_style=katex_style(), katex_script=read_script(KATEX / "katex.min.js"),
        scripts=[read_script(HERE / script) for script in (*SCRIPTS, f"chapters/{chapter.name}.js")],
    )  # fmt: skip
    assert len(text.encode()) < MAX_BYTES, f"the page of {chapter.name} is too large: record less"
    return text


def all_chapters() -> list[Chapter]:
    return [load_chapter(name) for name in CHAPTERS]


def locate(equation: Equation) -> dict[str, Any]:
    """An equation for the template: its line's number, and the lines around it."""
    number, lines = equation.locate()
    return {**equation._asdict(), "number": number, "lines": lines}


def script_json(value: Any) -> Markup:
    """JSON for a script tag, which no text in it can end."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def read_script(file: Any) -> Markup:
    """A script of the package, to stand in a page."""
    text: str = file.read_text(encoding="utf-8")
    assert "</script" not in text
    return Markup(text)


@cache
def katex_style() -> Markup:
    """KaTeX's styles, with its fonts in them."""

    def address(match: re.Match[str]) -> str:
        return f"url(data:font/woff2;base64,{b64encode((KATEX / match[1]).read_bytes()).decode()})"

    return Markup(re.sub(r"url\((fonts/[\w-]+\.woff2)\)", address, (KATEX / "katex.min.css").read_text("utf-8")))


@cache
def environment() -> Environment:
    own = [PackageLoader("ganvas.lecture", folder) for folder in ("templates", "chapters")]
    loader = ChoiceLoader([*own, PackageLoader("ganvas.viz")])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
