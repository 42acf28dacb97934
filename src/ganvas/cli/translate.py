"""`ganvas translate`: images and folders of them from one domain to the other."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..inference.translation import of_another_size, pixels_of, translate_files
from ..io.atomic import refuse_existing
from ..training.progress import Bar
from .app import tell
from .common import Force, Json, RunName, opened

ARRAYS = (".npy", ".npz")


def translate(
    run: RunName,
    source: Annotated[
        Path, Parameter(help="an image, a folder of images with all its sub-folders, or an array's file")
    ],
    out: Annotated[Path, Parameter(help="the file, or the folder, in which every image keeps its relative name")],
    /,
    *,
    to: Annotated[
        Literal["A", "B"], Parameter(help="domain to translate to: what the run was trained on first, or second")
    ] = "B",
    force: Force = False,
    quiet: Annotated[bool, Parameter(negative=(), help="show no progress")] = False,
    json: Json = False,
) -> None:
    """Translate images of one domain to the other; run again, it goes on with those that are not done."""
    trained, bar = opened(run), Bar(quiet)
    if source.suffix in ARRAYS:
        refuse_existing(out, force)
        made = trained.translate(source, to)
        made.save(out)
        home, _ = trained.towards(to)
        if len(home) == 3 and made.x.shape[2:] != home[1:]:
            bar.notes([of_another_size(len(made), pixels_of(home))])
        tell([str(out)], {"out": str(out), "translated": len(made)}, json)
        return
    with bar.reading("translating") as progress:
        summary = translate_files(trained, source, out, to, force=force, progress=progress)
    tell(summary.lines(), summary.plain(), json)
