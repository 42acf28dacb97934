"""IDX files."""

import gzip
import struct
from pathlib import Path

import numpy as np


def write_idx(folder: Path, split: str, images: np.ndarray, labels: np.ndarray, packed: bool) -> None:
    """Images and labels in the format of the MNIST files."""
    for kind, array in (("images", images), ("labels", labels)):
        content = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()
        name = f"{split}-{kind}-idx{array.ndim}-ubyte"
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
