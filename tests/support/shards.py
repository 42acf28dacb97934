"""Shards of WebDataset, and Parquet files as Hugging Face writes them."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Members = Iterable[tuple[str, bytes]]


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """An image file of pixels h x w or h x w x 3."""
    output = io.BytesIO()
    Image.fromarray(pixels).save(output, kind)
    return output.getvalue()


def random_images(n: int, side: int = 8) -> list[np.ndarray]:
    """n random RGB images; no two are alike."""
    return list(np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8))


def write_tar(path: Path, members: Members) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def examples(images: list[np.ndarray], classes: int | None = 3, first: int = 0) -> Members:
    """The members of examples, of as many classes in turn."""
    for i, image in enumerate(images, first):
        yield f"{i:06d}.png", encode(image)
        if classes:
            yield f"{i:06d}.cls", str(i % classes).encode()


def write_shards(folder: Path, n: int = 60, per_shard: int = 10, classes: int | None = 3, name: str = "data") -> Path:
    """n images in shards of so many each."""
    images = random_images(n)
    for i in range(0, n, per_shard):
        write_tar(folder / f"{name}-{i // per_shard:03d}.tar", examples(images[i : i + per_shard], classes, i))
    return folder


def write_parquet(
    path: Path, columns: dict[str, Any], group: int = 10, metadata: dict[bytes, bytes] | None = None
) -> Path:
    """A Parquet file with so many rows in a row group."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, path, row_group_size=group)
    return path


def image_rows(images: list[np.ndarray]) -> list[dict[str, Any]]:
    """Images as Hugging Face has them in a column."""
    return [{"bytes": encode(image), "path": f"{i}.png"} for i, image in enumerate(images)]
