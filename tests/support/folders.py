"""Image files."""

from pathlib import Path

from PIL import Image


def picture(path: Path, level: int = 0, kind: str | None = None) -> Path:
    """A drawing of 6 x 5 pixels, of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (level, 255 - level, 40)).save(path, kind)
    return path
