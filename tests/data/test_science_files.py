"""Files of science: numbers in their units, which arrays are read, and what is said where it cannot be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganvas.data import DataOptions, load
from ganvas.errors import UserError

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


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_slices_of_nifti(suffix: str, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(SCAN, np.eye(4)), tmp_path / f"scan{suffix}")
    data = load(tmp_path / f"scan{suffix}")
    assert (data.name, data.source_dtype, len(data)) == ("scan", "int16", 4)
    assert np.array_equal(data.x[2, 0].numpy(), SCAN[:, :, 2])
    assert "the 4 slices along the last axis" in " ".join(data.notes)
    (tmp_path / "bad.nii").write_bytes(b"no")
    with pytest.raises(UserError, match="damaged or no NIfTI file"):
        load(tmp_path / "bad.nii")


def write_dicom(path: Path, image: np.ndarray, **tags: Any) -> None:
    import pydicom

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = pydicom.uid.CTImageStorage, "1.2.3"
    content = pydicom.Dataset()
    content.file_meta = meta
    content.Rows, content.Columns = image.shape
    content.SamplesPerPixel, content.PhotometricInterpretation = 1, "MONOCHROME2"
    content.BitsAllocated = content.BitsStored = 16
    content.HighBit, content.PixelRepresentation = 15, 0
    content.PixelData = image.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(content, name, value)
    content.save_as(path, enforce_file_format=True)


def test_dicom_has_hounsfield_units(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    images = RANDOM.integers(0, 4096, (3, 9, 8))
    for i, image in enumerate(images):
        write_dicom(tmp_path / f"{i}.dcm", image, RescaleSlope=1, RescaleIntercept=-1024)
    data = load(tmp_path)
    assert np.array_equal(data.x[:, 0].numpy(), images - 1024)
    assert data.source_dtype == "int32"
    assert load(tmp_path / "1.dcm").shape == (1, 9, 8)
    write_dicom(tmp_path / "3.dcm", images[0, :5])
    with pytest.raises(UserError, match=r"several shapes, 9x8x1 \(2.dcm\), 5x8x1 \(3.dcm\)"):
        load(tmp_path)


@pytest.mark.parametrize(("name", "library", "extra"), [("x.h5", "h5py", "hdf5"), ("x.nii.gz", "nibabel", "nifti"),
                                                        ("x.dcm", "pydicom", "dicom")])  # fmt: skip
def test_a_library_that_is_missing_is_named(
    name: str, library: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def import_nothing(module: str) -> Any:
        raise ImportError(module)

    (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr("ganvas.data.science_files.import_module", import_nothing)
    with pytest.raises(UserError, match=rf'is read by {library}: pip install "ganvas\[{extra}\]"'):
        load(tmp_path / name)
