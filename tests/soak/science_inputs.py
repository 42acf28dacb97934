"""Small files that optional libraries read; where a library is absent its kind is left out, and that is said."""

import gzip
import io
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tests.support.science import dicom

from .damage import Input, whole
from .inputs import NUMBERS, X, picture, zipped


def parquet() -> list[Input]:
    """A table of images and labels as the Hub has them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def pack(parts: Sequence[bytes]) -> bytes:
        content, rows = io.BytesIO(), [{"bytes": part, "path": f"{i}.png"} for i, part in enumerate(parts)]
        pq.write_table(pa.table({"image": rows, "label": list(range(len(rows)))}), content)
        return content.getvalue()

    return [Input("x.parquet", [picture("PNG"), picture("PNG")], pack), whole("bytes.parquet", pack([picture("PNG")]))]


def hdf5() -> list[Input]:
    """Arrays, plain, and in packed chunks with the attributes of NetCDF."""
    import h5py

    plain, packed = io.BytesIO(), io.BytesIO()
    with h5py.File(plain, "w") as file:
        file["x"], file["y"] = X, np.arange(4)
    with h5py.File(packed, "w") as file:
        x = file.create_dataset("group/x", data=X, chunks=(2, 3, 5), compression="gzip", shuffle=True, fletcher32=True)
        x.attrs.update(scale_factor=0.5, add_offset=1.0, _FillValue=np.uint8(255), missing_value=[3, 4])
    return [whole("x.h5", plain.getvalue()), whole("packed.nc", packed.getvalue())]


def nifti() -> list[Input]:
    """A volume."""
    import nibabel

    content = nibabel.Nifti1Image(X.astype(np.int16), np.eye(4)).to_bytes()
    return [whole("x.nii", content), Input("x.nii.gz", [content], lambda parts: gzip.compress(parts[0], 1, mtime=0))]


def dicoms() -> list[Input]:
    """A slice in Hounsfield units."""
    return [whole("x.dcm", dicom(X[0].astype(np.uint16), RescaleSlope=2, RescaleIntercept=-100))]


def zarrs() -> list[Input]:
    """Groups of arrays in zips, of both versions."""
    import zarr

    inputs = []
    for version in (2, 3):
        with TemporaryDirectory() as folder:
            group = zarr.open_group(folder, mode="w", zarr_format=version)
            group.create_array("x", data=X, chunks=(2, 6, 5)).attrs.update(scale_factor=0.5, _FillValue=3)
            group.create_array("y", data=np.arange(4))
            files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
            names = [path.relative_to(folder).as_posix() for path in files]
            inputs.append(Input(f"v{version}.zarr.zip", [path.read_bytes() for path in files], zipped(names)))
    return inputs


def rows() -> list[Input]:
    """Tables of numbers, texts and dates, in files of texts and with types."""
    import pandas as pd

    days = pd.date_range("2020-01-01", periods=20)
    frame = pd.DataFrame(
        {"id": range(20), "v": NUMBERS.normal(size=20).round(2), "w": ["a", 'b,"c"', None, "d\ne"] * 5}
    )
    frame = frame.assign(day=days.strftime("%d.%m.%Y"), unit=[f"{i % 9} kg" for i in range(20)])
    text, typed = frame.to_csv(index=False), frame.assign(t=days, c=pd.Categorical(list("xyzx") * 5))
    feather, table, sums = io.BytesIO(), io.BytesIO(), frame.to_csv(index=False, sep=";", decimal=",")
    typed.to_feather(feather)
    typed.to_parquet(table)
    return [
        whole("rows.csv", text.encode()), whole("wide.csv", text.encode("utf-16")),
        whole("rows.tsv", frame.to_csv(index=False, sep="\t").encode()),
        whole("latin.csv", sums.replace("kg", "m\u00b2").encode("cp1252")),
        Input("rows.csv.gz", [text.encode()], lambda parts: gzip.compress(parts[0], 1, mtime=0)),
        whole("rows.feather", feather.getvalue()), whole("rows.parquet", table.getvalue()),
        whole("rows.db", database(frame)),
    ]  # fmt: skip


def database(frame: Any) -> bytes:
    """A table and a view of SQLite, with numbers, texts, bytes and nothing."""
    with TemporaryDirectory() as folder, closing(sqlite3.connect(Path(folder) / "x.db")) as connection:
        connection.execute("PRAGMA page_size = 512")
        frame.to_sql("rows", connection, index=False)
        connection.execute("CREATE VIEW few AS SELECT id, v AS w FROM rows WHERE id < 5")
        connection.execute("UPDATE rows SET day = x'00ff' WHERE id = 3")
        connection.commit()
        return (Path(folder) / "x.db").read_bytes()


def library_inputs() -> dict[str, list[Input]]:
    """Files by kind, of those whose library is there."""
    made = {}
    kinds = {"rows": rows, "Parquet": parquet, "HDF5": hdf5, "NIfTI": nifti, "DICOM": dicoms, "Zarr": zarrs}
    for kind, make in kinds.items():
        try:
            made[kind] = make()
        except ImportError as error:
            print(f"{kind} is left out: {error.name} is not installed", file=sys.stderr)
    return made
