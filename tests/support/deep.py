"""Arrays and files of images with more than 256 levels."""

from pathlib import Path

import numpy as np
from PIL import Image

RANDOM = np.random.default_rng(0)
DEEP: dict[str, np.ndarray] = {
    "two channels": RANDOM.normal(1013, 9, (6, 8, 7, 2)).astype(np.float32),
    "negative floats": RANDOM.normal(-5, 3, (6, 9, 7)),
    "five channels": RANDOM.integers(-1000, 1000, (6, 8, 8, 5)).astype(np.int16),
    "twelve channels of bytes": RANDOM.integers(0, 256, (6, 8, 8, 12)).astype(np.uint8),
    "four channels": RANDOM.integers(0, 65536, (6, 8, 7, 4)).astype(np.uint16),
    "big-endian": RANDOM.integers(0, 65536, (6, 9, 8)).astype(">u2"),
    "Fortran order": np.asfortranarray(RANDOM.integers(-(2**31), 2**31, (6, 9, 8, 3)).astype(np.int32)),
    "float16": RANDOM.random((6, 9, 8)).astype(np.float16),
    "far from 0": (1e9 + RANDOM.random((6, 9, 8))).astype(np.float64),
}


def saved(folder: Path, **images: bytes | np.ndarray) -> Path:
    """A new folder of images, 0_png for 0.png, or of the contents of files."""
    folder.mkdir()
    for name, image in images.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(image) if isinstance(image, bytes) else Image.fromarray(image).save(path)
    return folder
