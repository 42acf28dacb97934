"""`ganvas translate`: images and folders of them from one domain to the other."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..inference.translation import format_size, size_warning, translate_files
from ..io.atomic import refuse_existing
from ..training.progress import ProgressBar
from .app import print_result
from .common import Force, Json, Quiet, RunName, load_run

ARRAY_SUFFIXES = (".npy", ".npz")


def translate(
    run: RunName,
    source: Annotated[Path, Parameter(help="an image, a folder with its sub-folders, or a file with an array")],
    out: Annotated[Path, Parameter(help="the file, or the folder; images keep their relative names")],
    /,
    *,
    to: Annotated[
        Literal["A", "B"], Parameter(help="domain to translate to: A was given first in training, B second")
    ] = "B",
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Translate images of one domain to the other; a second run translates only what is missing."""
    trained, bar = load_run(run), ProgressBar(quiet)
    if source.suffix in ARRAY_SUFFIXES:
        refuse_existing(out, force)
        translations = trained.translate(source, to)
        translations.save(out)
        source_shape = trained.shape[trained.domains(to)[0]]
        if len(source_shape) == 3 and translations.x.shape[2:] != source_shape[1:]:
            bar.print_notes([size_warning(len(translations), format_size(source_shape))])
        print_result([str(out)], {"out": str(out), "translated": len(translations)}, json)
        return
    with bar.track_images("translating") as progress:
        summary = translate_files(trained, source, out, to, force=force, progress=progress)
    print_result(summary.lines(), summary.to_dict(), json)
