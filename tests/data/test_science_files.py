"""Files of science: numbers in their units, which arrays are read, and what is said where it cannot be."""

import base64
import gzip
import json
import pickle
import struct
import tracemalloc
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from ganvas.data import DataOptions, load
from ganvas.data.array_files import wrap_read_errors
from ganvas.data.science_files import apply_scale
from ganvas.errors import UserError
from tests.support.science import dicom

RANDOM = np.random.default_rng(0)
FIELD = RANDOM.normal(1013, 9, (12, 8, 7)).astype(np.float32)
SCAN = RANDOM.integers(-1000, 1000, (6, 9, 4)).astype(np.int16)


def test_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["group/images"] = RANDOM.integers(0, 60000, (12, 8, 8, 5)).astype(np.uint16)
        file["x_train"], file["y_train"] = FIELD, np.arange(12) % 3
        file["x_test"], file["y_test"] = FIELD[:4], np.arange(4) % 3
    data = load(tmp_path / "x.h5")
    assert np.array_equal(data.x[:, 0].numpy(), FIELD)
    assert data.classes == ("0", "1", "2")
    assert len(load(tmp_path / "x.h5", DataOptions(split="test"))) == 4
    group = load(f"{tmp_path / 'x.h5'}:group/images")
    assert (group.shape, group.source_dtype) == ((5, 8, 8), "uint16")
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UserError, match="damaged or no HDF5 file"):
        load(tmp_path / "bad.h5")


def test_hdf5_reads_no_other_files(tmp_path: Path) -> None:
    """Those of anybody's may be named: external storage is of any bytes, and virtual arrays lead to it."""
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(12 * 64))
    layout = h5py.VirtualLayout((12, 8, 8), "uint8")
    layout[:] = h5py.VirtualSource(".", "hidden", (12, 8, 8))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", (12, 8, 8), "uint8", external=[(str(tmp_path / "secret"), 0, 12 * 64)])
        file.create_virtual_dataset("b", layout)
    for name in ("a", "b"):
        with pytest.raises(UserError, match=f"the numbers of {name} are in other files"):
            load(f"{tmp_path / 'x.h5'}:{name}")


def test_netcdf_has_its_units(tmp_path: Path) -> None:
    """Coordinates are no examples; packed numbers are unpacked, and missing ones refused."""
    h5py = pytest.importorskip("h5py")
    packed = RANDOM.integers(-500, 500, (12, 8, 7)).astype(np.int16)
    with h5py.File(tmp_path / "x.nc", "w") as file:
        file["time"], file["lat"], file["lon"] = np.arange(12), np.arange(8), np.arange(7)
        file["pressure"] = packed
        file["pressure"].attrs.update({"scale_factor": 0.25, "add_offset": 1000.0, "_FillValue": np.int16(-999)})
    data = load(tmp_path / "x.nc")
    assert data.source_dtype == "float32"
    assert np.array_equal(data.x[:, 0].numpy(), packed * 0.25 + 1000)
    with h5py.File(tmp_path / "x.nc", "a") as file:
        file["pressure"][3, 2, 1] = -999
    with pytest.raises(UserError, match=r"holds nan .* at index \[3, 0, 2, 1\]|holds nan .* at index \[3, 2, 1\]"):
        load(tmp_path / "x.nc")


@pytest.mark.parametrize(
    ("dtype", "attributes", "values", "expected"),
    [
        (np.float32, {"missing_value": 1e20}, [np.float32(1e20), 1], [np.nan, 1]),
        (np.float32, {"_FillValue": np.float64(-9999.9)}, [-9999.9, 1], [np.nan, 1]),
        (np.int16, {"_FillValue": np.float64(-999)}, [-999, 1], [np.nan, 1]),
        (np.int16, {"missing_value": [7, 8], "_FillValue": 9}, [7, 8, 9, 1], [np.nan, np.nan, np.nan, 1]),
        (np.int16, {"missing_value": 1e20, "_FillValue": 70000}, [-32768, 4464, 0, -1], [-32768, 4464, 0, -1]),
        (np.float32, {"missing_value": "NA", "_FillValue": np.nan}, [0, 1], [0, 1]),
        (np.int16, {"missing_value": [b"NA", b"-"], "_FillValue": []}, [0, 1], [0, 1]),
    ],
)
def test_fill_values_of_another_type(
    dtype: type, attributes: dict[str, Any], values: list[float], expected: list[float]
) -> None:
    assert np.array_equal(apply_scale(np.array(values, dtype), attributes), np.array(expected), equal_nan=True)


@pytest.mark.parametrize("version", [2, 3])
def test_zarr(version: int, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zip_store = zarr.storage.ZipStore(tmp_path / "zip.zarr.zip", mode="w")
    for store in (tmp_path / "x.zarr", zip_store):
        group = zarr.open_group(store, mode="w", zarr_format=version)
        group.create_array("deep/field", data=FIELD, chunks=(5, 8, 7))
        group.create_array("images", data=RANDOM.integers(0, 256, (12, 8, 8), np.uint8))
        group.create_array("labels", data=np.arange(12) % 3)
        group.create_array("time", data=np.arange(12))
    zip_store.close()
    for name in ("x.zarr", "zip.zarr.zip"):
        data = load(tmp_path / name)
        assert (data.shape, data.classes, data.source_dtype) == ((1, 8, 8), ("0", "1", "2"), "")
        field = load(f"{tmp_path / name}:deep/field")
        assert np.array_equal(field.x[:, 0].numpy(), FIELD)
        with pytest.raises(UserError, match='has no array "none", only '):
            load(f"{tmp_path / name}:none")
    zarr.save_array(tmp_path / "one", FIELD, zarr_format=version)
    assert np.array_equal(load(tmp_path / "one").x[:, 0].numpy(), FIELD)
    (tmp_path / "bad.zarr").write_bytes(b"no")
    with pytest.raises(UserError, match="bad.zarr is damaged or no Zarr data"):
        load(tmp_path / "bad.zarr")
    ZipFile(tmp_path / "empty.zarr.zip", "w").close()
    with pytest.raises(UserError, match="empty.zarr.zip is damaged or no Zarr data: it holds no array and no group"):
        load(tmp_path / "empty.zarr.zip")


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_of_xarray_has_its_units(version: int, tmp_path: Path) -> None:
    """Fill values are Zarr's own in version 2, and an attribute, of floating-point numbers in base64, in version 3."""
    zarr = pytest.importorskip("zarr")
    packed = RANDOM.integers(-500, 500, (12, 8, 7)).astype(np.int16)
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=version)
    for name, values, fill in (("packed", packed, -999), ("field", FIELD, -1.0)):
        array = group.create_array(name, data=values, fill_value=fill if version == 2 else 0)
        text = base64.b64encode(struct.pack("<d", fill)).decode()
        array.attrs.update({"_ARRAY_DIMENSIONS": list("nhw")} if version == 2 else
                           {"_FillValue": text if name == "field" else fill})  # fmt: skip
    group["packed"].attrs.update({"scale_factor": 0.25, "add_offset": 1000.0})
    source = f"{tmp_path / 'x.zarr'}"
    assert np.array_equal(load(f"{source}:packed").x[:, 0].numpy(), packed * 0.25 + 1000)
    assert np.array_equal(load(f"{source}:field").x[:, 0].numpy(), FIELD)
    group["field"].attrs["missing_value"] = "NA"
    group["packed"][3, 2, 1], group["field"][3, 2, 1] = -999, -1
    for name in ("packed", "field"):
        with pytest.raises(UserError, match=r"holds nan .* at index \[3, (0, )?2, 1\]"):
            load(f"{source}:{name}")


def test_zarr_is_never_unpickled_and_its_sizes_are_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr = pytest.importorskip("zarr")

    class Bad:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return exec, ("open('ran', 'w')",)

    zarr.save_array(tmp_path / "x.zarr", FIELD, zarr_format=2)
    header = json.loads((tmp_path / "x.zarr" / ".zarray").read_text())
    unpickles: dict[str, Any] = {"id": "pickle"}
    text = {"filters": [{"id": "vlen-utf8"}], "dtype": "|O", "fill_value": ""}
    for fields, message in (
        (text | {"compressor": unpickles}, "holds Python objects, which Ganvas never unpickles"),
        ({"compressor": unpickles}, "Ganvas never unpickles|is damaged"),
        ({"filters": [{"id": "delta", "dtype": "<f4"}, unpickles]}, "Ganvas never unpickles|is damaged"),
        ({"filters": [unpickles], "dtype": "|O", "fill_value": None}, "Ganvas never unpickles|is damaged"),
    ):
        (tmp_path / "x.zarr" / ".zarray").write_text(json.dumps(header | {"compressor": None} | fields))
        (tmp_path / "x.zarr" / "0.0.0").write_bytes(pickle.dumps(Bad()))
        with pytest.raises(UserError, match=message):
            load(tmp_path / "x.zarr")
        assert not Path("ran").exists()
    for fields in ({"shape": [10**7, 1000, 1000]}, {"chunks": [10**7, 1000, 1000]}):
        (tmp_path / "x.zarr" / ".zarray").write_text(json.dumps(header | fields))
        with pytest.raises(UserError, match="give fewer examples, or smaller ones"):
            load(tmp_path / "x.zarr")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_slices_of_nifti(suffix: str, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(SCAN, np.eye(4)), tmp_path / f"scan{suffix}")
    data = load(tmp_path / f"scan{suffix}")
    assert (data.name, data.source_dtype, len(data)) == ("scan", "int16", 4)
    assert np.array_equal(data.x[2, 0].numpy(), SCAN[:, :, 2])
    assert "the 4 slices along the last axis" in " ".join(data.notes)
    nibabel.save(nibabel.Nifti1Image(SCAN[:0], np.eye(4)), tmp_path / f"empty{suffix}")
    for kind in ("auto", "volume"):
        with pytest.raises(UserError, match=r"empty.nii(.gz)? has a shape of 0x9x4, so no numbers"):
            load(tmp_path / f"empty{suffix}", DataOptions(kind=kind))
    (tmp_path / "bad.nii").write_bytes(b"no")
    with pytest.raises(UserError, match="damaged or no NIfTI file"):
        load(tmp_path / "bad.nii")


def test_images_are_not_dropped_for_a_file_of_science_beside_them(tmp_path: Path) -> None:
    """A folder with images is one of images; what is left out of a folder is counted in a note."""
    for name in ("0.png", "1.png", "a/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(RANDOM.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / name)
    for name in ("scan.nii", "slice.dcm"):
        (tmp_path / name).write_bytes(b"no")
    data = load(tmp_path)
    assert (len(data), data.shape) == (3, (1, 8, 8))
    assert "2 files left out: 1 .nii, 1 .dcm" in data.notes


def test_other_files_beside_nifti_are_counted(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    (tmp_path / "deeper").mkdir()
    for name in ("a.nii", "b.nii.gz", "deeper/c.nii"):
        nibabel.save(nibabel.Nifti1Image(SCAN, np.eye(4)), tmp_path / name)
    (tmp_path / "a.json").write_text("{}")
    for kind in ("auto", "volume"):
        data = load(tmp_path, DataOptions(kind=kind))
        assert len(data) == (8 if kind == "auto" else 2)
        assert "2 files left out: 1 .json, 1 .nii" in data.notes


def test_images_beside_zarr_are_counted(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.save_array(tmp_path / "x", FIELD)
    Image.new("L", (8, 8)).save(tmp_path / "x" / "0.png")
    assert "1 image beside its Zarr data left out" in load(tmp_path / "x").notes


def test_dicom_has_hounsfield_units(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    images = RANDOM.integers(0, 4096, (3, 9, 8))
    for i, image in enumerate(images):
        (tmp_path / f"{i}.dcm").write_bytes(dicom(image, RescaleSlope=1, RescaleIntercept=-1024))
    data = load(tmp_path)
    assert np.array_equal(data.x[:, 0].numpy(), images - 1024)
    assert data.source_dtype == "int32"
    assert load(tmp_path / "1.dcm").shape == (1, 9, 8)
    (tmp_path / "DICOMDIR.txt").touch()
    assert "1 file left out: 1 .txt" in load(tmp_path).notes
    (tmp_path / "3.dcm").write_bytes(dicom(images[0, :5]))
    with pytest.raises(UserError, match=r"several shapes, 9x8x1 \(2.dcm\), 5x8x1 \(3.dcm\)"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [
        ("x.h5", "h5py", "hdf5"),
        ("x.nii.gz", "nibabel", "nifti"),
        ("x.dcm", "pydicom", "dicom"),
        ("x.zarr.zip", "zarr", "zarr"),
    ],
)
def test_a_library_that_is_missing_is_named(
    name: str, library: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def import_nothing(module: str) -> Any:
        raise ImportError(module)

    (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr("ganvas.data.science_files.import_module", import_nothing)
    with pytest.raises(UserError, match=rf'is read by {library}: pip install "ganvas\[{extra}\]"'):
        load(tmp_path / name)


def test_a_nifti_file_without_numbers(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    content = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)).to_bytes()
    (tmp_path / "x.nii").write_bytes(content[:42] + bytes(4) + content[46:])  # its first two axes
    with pytest.raises(UserError, match="x.nii has a shape of 0x0x4, so no numbers"):
        load(tmp_path / "x.nii")


def test_a_dicom_file_whose_header_claims_gigabytes(tmp_path: Path) -> None:
    """Room is made for the bytes that there are."""
    pytest.importorskip("pydicom")
    content = dicom(np.zeros((6, 5), np.uint16))
    (tmp_path / "x.dcm").write_bytes(content)
    assert load(tmp_path / "x.dcm").shape == (1, 6, 5)
    tag = content.index(b"\xe0\x7f\x10\x00OW")  # the pixels'
    (tmp_path / "x.dcm").write_bytes(content[: tag + 8] + b"\xfe\xff\xff\xff" + content[tag + 12 :])
    tracemalloc.start()
    assert load(tmp_path / "x.dcm").shape == (1, 6, 5)  # the pixels are there
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**27
    (tmp_path / "x.dcm").write_bytes(b"")
    with pytest.raises(UserError, match="x.dcm is damaged, compressed, or no DICOM file"):
        load(tmp_path / "x.dcm")


def test_a_nifti_file_that_claims_gigabytes(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    content = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)).to_bytes()
    content = content[:42] + struct.pack("<3h", 1000, 1000, 500) + content[48:]
    (tmp_path / "x.nii").write_bytes(content)
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(content))
    for name in ("x.nii", "x.nii.gz"):
        with pytest.raises(UserError, match=f"{name} is damaged or no NIfTI file: its header claims 1,000,000,000 byt"):
            load(tmp_path / name)


def test_memory_that_a_library_does_not_get(tmp_path: Path) -> None:
    """As of a chunk that claims gigabytes: a sentence says it."""
    with (
        pytest.raises(UserError, match="x.zarr would take more memory than is free, or is damaged or no Zarr data"),
        wrap_read_errors(tmp_path / "x.zarr", "damaged or no Zarr data"),
    ):
        raise MemoryError


def test_a_chunk_of_hdf5_without_bytes(tmp_path: Path) -> None:
    """HDF5 reads its checksum from before its beginning, and ends the process: the size is found before."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        x = file.create_dataset("x", data=FIELD, chunks=(12, 8, 7), compression="gzip", fletcher32=True)
        size = x.id.get_chunk_info(0).size
    content = (tmp_path / "x.h5").read_bytes()
    assert load(tmp_path / "x.h5").shape == (1, 8, 7)
    assert content.count(size.to_bytes(4, "little")) == 1  # in the index of the chunks
    (tmp_path / "x.h5").write_bytes(content.replace(size.to_bytes(4, "little"), bytes(4)))
    with pytest.raises(UserError, match="damaged or no HDF5 file: /x has a chunk of 0 bytes, fewer than its checksum"):
        load(tmp_path / "x.h5")


def test_a_circle_in_a_heap_of_hdf5(tmp_path: Path) -> None:
    """HDF5 would follow the free blocks until memory is full."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"], file["a/b"] = FIELD, FIELD
    assert load(tmp_path / "x.h5:x").shape == (1, 8, 7)
    content = bytearray((tmp_path / "x.h5").read_bytes())
    _, block, start = struct.unpack_from("<3Q", content, content.index(b"HEAP") + 8)
    struct.pack_into("<Q", content, start + block, block)
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(UserError, match="x.h5 is damaged: the free room in a heap of names is a circle"):
        load(tmp_path / "x.h5:x")


@pytest.mark.parametrize("name", ["/y", "x/", "x//y"])
def test_a_zip_of_zarr_with_a_member_without_a_name(name: str, tmp_path: Path) -> None:
    """Zarr would take the group for a member of itself, and so on."""
    pytest.importorskip("zarr")
    with ZipFile(tmp_path / "x.zarr.zip", "w") as archive:
        archive.writestr(".zgroup", '{"zarr_format": 2}')
        archive.writestr(name, "{}")
    what = "it holds no arrays" if name == "x/" else "a member of the zip has no name"
    with pytest.raises(UserError, match=f"x.zarr.zip .*{what}"):
        load(tmp_path / "x.zarr.zip")
