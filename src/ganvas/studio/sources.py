"""What the page may train on: data sets by name, what was sent to it, and what lies in the folders it was given."""

import os
from pathlib import Path

from ..data import BUILTIN
from ..errors import UserError
from .settings import Settings


def allowed_source(settings: Settings, source: str) -> str:
    """The source, if a visitor may train on it; UserError where it lies elsewhere, or is not there."""
    text = source.strip()
    if text in BUILTIN or text.startswith("hf:"):
        return text
    folders = [folder.resolve() for folder in (*settings.data, settings.uploads)]
    if not text or "\0" in text or text.startswith("-") or text.encode(errors="ignore").decode() != text:
        raise UserError("name a folder, a file or a data set to train on, or send files")
    path = Path(text)
    places = [(folder / path).resolve() for folder in (*folders[:-1], Path())]  # the last for what was sent
    inside = [place for place in places if any(place.is_relative_to(folder) for folder in folders)]
    if not inside:
        names = ", ".join(map(str, settings.data))
        raise UserError(f"{text} is outside of the studio's data ({names}): `ganvas studio --data FOLDER` adds some")
    target = next((place for place in inside if os.path.exists(place)), None)  # noqa: PTH110  of a name that none can have too
    if target is None:
        raise UserError(f"{text} is not there: name a folder, a file, or a data set such as emoji")
    return str(target)
