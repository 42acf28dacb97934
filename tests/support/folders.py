"""Image files."""

import json
from pathlib import Path

from PIL import Image


def picture(path: Path, level: int = 0, kind: str | None = None) -> Path:
    """A drawing of 6 x 5 pixels, of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (level, 255 - level, 40)).save(path, kind)
    return path


def check_same_bits(straight: str, resumed: str) -> None:
    """Two runs of 40 steps have written the same files, but for the seconds in their logs."""
    for name in ("weights.safetensors", "state.ckpt", *(f"previews/{step:07d}.png" for step in (0, 20, 40))):
        assert Path(straight, name).read_bytes() == Path(resumed, name).read_bytes(), name
    logs = [
        [json.loads(line) for line in Path(run, "log.jsonl").read_text().splitlines()] for run in (straight, resumed)
    ]
    for line, other in zip(*logs, strict=True):
        for part in (line, other, line.get("samples", {}), other.get("samples", {})):
            part.pop("seconds", None)
        assert line == other
