"""The lecture as pages that run: chapters with recorded training, made by Ganvas's own models.

A chapter is three files in `chapters/`, and its name in `CHAPTERS`, in the lecture's order:

    NAME.py     `CHAPTER`, a `Chapter`: title, question, equations, parameters, and `record(parameters) -> dict`, which
                trains by `runs.open_run` and returns what the page shows: numbers, texts, lists, dicts and tensors
                (uint8, float16 or float32), and under "command" the command that trains the same
    NAME.html   the body of its page, a Jinja template: prose with <span class="tex">\\mu</span>, canvases with labels,
                `{{ equation("name") }}` for each of its equations, and `{{ choices() }}` where runs are chosen
    NAME.js     what moves: `lecture.choose(run => ...)` is called with the run that is chosen; the functions that
                draw are in templates/lecture.js and templates/draw.js

`record` is called for each of the chapter's `recordings`; `ganvas lecture` as a server also calls it with what a reader
asks for, within the bounds of the parameters' types.  An equation names the line of the package that computes it, which
has to stand there exactly once.  The page is one file: styles, scripts, fonts and recordings are in it.
"""

from functools import cache
from importlib import import_module

from ..errors import UserError, did_you_mean
from .chapter import Chapter as Chapter

CHAPTERS = ("autoencoder", "bound", "covariance", "weight", "game", "algorithm", "conditions", "domains")
"""the names of the chapters, in order"""


@cache
def load_chapter(name: str) -> Chapter:
    """The chapter of this name; UserError where there is none."""
    if name not in CHAPTERS:
        raise UserError(f"the lecture has no chapter {name!r}.{did_you_mean(name, CHAPTERS) or ''}")
    chapter: Chapter = import_module(f".chapters.{name}", __name__).CHAPTER
    return chapter
