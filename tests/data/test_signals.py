"""Signals and volumes: which axes are which, and the numbers that come back."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ganvas import DataOptions, from_array
from ganvas.data import DomainPair, Scaling, load
from ganvas.data.containers import from_object
from ganvas.errors import UserError

RANDOM = np.random.default_rng(0)
ECG = RANDOM.normal(-3, 2, (12, 2, 31))
SCANS = RANDOM.integers(0, 60000, (6, 5, 8, 7)).astype(np.uint16)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16", "int16", "uint8", "float16"])
@pytest.mark.parametrize("kind", ["signal", "volume"])
def test_what_goes_in_comes_back(kind: Any, dtype: str) -> None:
    """In its axes and its type, exactly where these are integers."""
    array = (RANDOM.random((6, 2, 9) if kind == "signal" else (6, 2, 5, 3, 4)) * 200).astype(dtype)
    data = from_array(array, kind=kind)
    assert (data.kind, data.is_deep, data.has_images) == (kind, True, False)
    assert np.allclose(data.x.numpy(), array, rtol=1e-6)
    for pixel_range in ((0.0, 1.0), (-1.0, 1.0)):
        scaling = Scaling.fit_dataset(data, pixel_range)
        u = scaling(data.x)
        channels = u.transpose(0, 1).flatten(1)
        assert torch.equal(channels.amin(1), torch.full((2,), pixel_range[0]))
        assert torch.equal(channels.amax(1), torch.full((2,), pixel_range[1]))
        back = scaling.inverse(u).numpy().astype(data.source_dtype)
        assert np.allclose(back, array, rtol=0, atol=1e-4 if array.dtype.kind == "f" else 0)


def test_axes() -> None:
    one = from_array(ECG[:, 0], kind="signal")
    assert one.shape == (1, 31)
    assert from_array(np.moveaxis(ECG, 1, -1), kind="signal", channels_last=True).x.equal(torch.from_numpy(ECG).float())
    assert from_array(SCANS, kind="volume").shape == (1, 5, 8, 7)
    assert from_array(np.stack([SCANS, SCANS], -1), kind="volume", channels_last=True).shape == (2, 5, 8, 7)
    assert from_array(torch.from_numpy(ECG), kind="signal").shape == (2, 31)
    assert load([x[0] for x in ECG], DataOptions(kind="signal")).shape == (1, 31)
    pairs = [(x, i % 2) for i, x in enumerate(ECG)]
    assert load(pairs, DataOptions(kind="signal")).labels is not None


def test_a_table_is_read_as_signals() -> None:
    table = SimpleNamespace(dtypes=[np.dtype(float)] * 31, columns=list(range(31)), to_numpy=lambda: ECG[:, 0])
    assert from_object(table, DataOptions(kind="signal")).shape == (1, 31)


def test_lists_of_several_lengths_are_named_by_their_kind() -> None:
    for kind, arrays in (("signal", [ECG[0], ECG[1, :, :9]]), ("volume", [SCANS[0], SCANS[1, :3]])):
        for options in (DataOptions(kind=kind), DataOptions(kind=kind, size="64", crop="pad")):
            with pytest.raises(
                UserError, match=f"that list holds {kind}s of 2 shapes .*: cut or pad them to one shape"
            ):
                load(arrays, options)
    with pytest.raises(UserError, match="that list holds signals of two types"):
        load([ECG[0], ECG[1].astype(int)], DataOptions(kind="signal"))


def test_a_folder_of_images_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="holds images, no volumes: kind=volume is for arrays of numbers"):
        load(tmp_path, DataOptions(kind="volume"))


def test_notes() -> None:
    assert "in 2 channels of 31 steps are kept" in from_array(ECG, kind="signal").notes[-1]
    assert "read as signals with 31 channels of 2" in from_array(np.moveaxis(ECG, 1, -1), kind="signal").notes[0]
    assert "if these are signals, n x channels x length, say kind=signal" in from_array(ECG).notes[0]


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (SCANS, {"kind": "signal"}, r"shape \(6, 5, 8, 7\): give signals n x length or n x channels x length"),
        (ECG, {"kind": "volume"}, "give volumes n x depth x height x width"),
        (ECG, {"kind": "signals"}, "kind"),
        (SCANS[None], {}, "say kind=signal or kind=volume"),
        (ECG, {"kind": "signal", "bits": 8}, "bits=8 rounds images to 256 levels, but array holds signals"),
        (ECG, {"kind": "signal", "size": "8"}, "array holds signals, which have no size.*leave out size"),
        (ECG, {"kind": "signal", "channels": 1}, "array holds signals, which have no channels of colour.*leave out"),
        (np.where(ECG > 0, np.nan, ECG), {"kind": "signal"}, "holds nan"),
        (ECG[:0], {"kind": "signal"}, "is empty"),
    ],
)
def test_what_is_refused(array: np.ndarray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(array, DataOptions(**options))


def test_other_data_are_no_signals(folder: Path) -> None:
    for source, holds in (("ring", "vectors"), (str(folder), "images")):
        with pytest.raises(UserError, match=f"holds {holds}, no signals: kind=signal is for arrays of numbers"):
            load(source, DataOptions(kind="signal"))
    a, b = from_array(ECG, kind="signal"), from_array(SCANS, kind="volume")
    with pytest.raises(UserError, match="holds signals, but array volumes: give two of the same kind"):
        DomainPair(a, b)


def test_files(tmp_path: Path) -> None:
    np.save(tmp_path / "ecg.npy", ECG)
    np.savez(tmp_path / "ecg.npz", x_train=ECG, y_train=np.arange(12) % 3, x_test=ECG[:4], y_test=np.arange(4) % 3)
    options = DataOptions(kind="signal", scale="mean-std")
    for suffix in ("npy", "npz"):
        data = load(tmp_path / f"ecg.{suffix}", options)
        assert (data.shape, data.scale, data.source_dtype) == ((2, 31), "mean-std", "float64")
    assert data.classes == ("0", "1", "2")
    assert len(load(tmp_path / "ecg.npz", DataOptions(kind="signal", split="test"))) == 4


def test_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["ecg"] = ECG
    assert load(tmp_path / "x.h5", DataOptions(kind="signal")).shape == (2, 31)


def test_volumes_of_nifti(tmp_path: Path) -> None:
    """One of a file, or one for each place along the fourth axis; those of a folder are put together."""
    nibabel = pytest.importorskip("nibabel")
    for i, scan in enumerate(SCANS):
        nibabel.save(nibabel.Nifti1Image(scan, np.eye(4)), tmp_path / f"{i}.nii.gz")
    options = DataOptions(kind="volume")
    assert np.array_equal(load(tmp_path, options).x[:, 0].numpy(), SCANS)
    assert np.array_equal(load(tmp_path / "2.nii.gz", options).x[:, 0].numpy(), SCANS[2:3])
    assert load(tmp_path).shape == (1, 5, 8)
    assert len(load(tmp_path)) == 42
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(SCANS, 0, -1), np.eye(4)), tmp_path / "all.nii")
    assert np.array_equal(load(tmp_path / "all.nii", options).x[:, 0].numpy(), SCANS)
    nibabel.save(nibabel.Nifti1Image(SCANS[0][1:], np.eye(4)), tmp_path / "short.nii")
    with pytest.raises(UserError, match=r"examples of several shapes, 5x8x7 \(.*nii.*\), 4x8x7 \(short.nii\)"):
        load(tmp_path, options)
