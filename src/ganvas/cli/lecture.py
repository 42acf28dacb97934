"""`ganvas lecture`: the lecture as pages, from a server on this machine or as files that need none."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from ..io.atomic import refuse_existing
from ..lecture import CHAPTERS, app, load_chapter
from ..lecture.page import render_chapter, render_index, write_lecture
from ..lecture.recordings import recordings, remove_old_recordings
from ..training.progress import ProgressBar
from .app import print_result
from .common import Force, Json, Quiet

OUT_HELP = "write the pages to this folder, each a file that needs no server"
PORT_HELP = "serve on this port of 127.0.0.1"


def lecture(
    *,
    out: Annotated[Path | None, Parameter(help=OUT_HELP)] = None,
    port: Annotated[int, Field(ge=1, le=65535), Parameter(help=PORT_HELP)] = 8400,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Show the lecture on VAEs and GANs as pages that run: recorded from real training, equation by line of code.

    Without --out a server shows them, and trains with the values that a reader asks for; it needs ganvas[studio].
    """
    if out is None:
        ProgressBar(quiet).say(f"http://127.0.0.1:{port}/ (Ctrl-C ends it)")
        app.serve(port)
        return
    refuse_existing(out, force)
    remove_old_recordings()
    pages = {"index": render_index()}
    for chapter in map(load_chapter, CHAPTERS):
        pages[chapter.name] = render_chapter(chapter, recordings(chapter, ProgressBar(quiet).say))
    paths = write_lecture(out, pages)
    print_result([str(path) for path in paths], {"pages": [str(path) for path in paths]}, json)
