"""`ganvas lecture`: the lecture as pages, from a server on this machine or as files that need none."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import UserError
from ..io.atomic import refuse_existing
from ..lecture import CHAPTERS, app, load_chapter
from ..lecture.page import render_chapter, render_index, write_lecture
from ..lecture.recordings import recordings, remove_old_recordings
from ..training.progress import ProgressBar
from .app import print_result
from .common import Force, Json, Quiet

DEFAULT_PORT = 8400
OUT_HELP = "write the pages to this folder, each a file that needs no server"
PORT_HELP = f"serve on this port of 127.0.0.1, or on {DEFAULT_PORT}"


def lecture(
    *,
    out: Annotated[Path | None, Parameter(help=OUT_HELP)] = None,
    port: Annotated[int | None, Parameter(help=PORT_HELP)] = None,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Show the lecture on VAEs and GANs as pages that run: recorded from real training, equation by line of code.

    Without --out a server shows them, and trains with the values that a reader asks for; it needs ganvas[studio].
    """
    bar = ProgressBar(quiet)
    if out is None:
        if force or json:
            raise UserError("`force` and `json` are for files: give `out` as well")
        if port is not None and not 1 <= port <= 65535:
            raise UserError(f"port={port} is none: give one from 1 to 65535")
        app.serve(port or DEFAULT_PORT, bar.say)
        return
    if port is not None:
        raise UserError("`port` is of the server: leave it out where files are written")
    refuse_existing(out, force)
    remove_old_recordings()
    pages = {"index": render_index()}
    for chapter in map(load_chapter, CHAPTERS):
        pages[chapter.name] = render_chapter(chapter, recordings(chapter, bar.say))
    paths = write_lecture(out, pages)
    print_result([str(path) for path in paths], {"pages": [str(path) for path in paths]}, json)
