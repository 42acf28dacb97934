"""Arrays from files of science, by libraries of their own: HDF5 and NetCDF 4, Zarr, slices of NIfTI, DICOM.

Numbers are in the units that the files say: scale factors and offsets are applied, and fill values become NaN, which is
refused.
"""

import os
import struct
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib import import_module
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from ..errors import UserError
from .array_files import CLASS_KEYS, LABEL_KEYS, MAX_DEFLATE_RATIO, load_npz, parse_array_name, wrap_read_errors
from .arrays import from_array
from .dataset import Dataset, split_dataset
from .layout import dataset_name
from .listing import IMAGE_SUFFIXES, File, is_ignored, list_files, pluralize
from .memory import check_memory
from .options import DataOptions, Progress, number_options

HDF5_SUFFIXES, NIFTI_SUFFIXES, DICOM_SUFFIXES = (".h5", ".hdf5", ".he5", ".nc", ".nc4"), (".nii", ".nii.gz"), (".dcm",)
ZARR_SUFFIXES, ZARR_FILES = (".zarr", ".zarr.zip"), ("zarr.json", ".zgroup", ".zarray")
"""what files of Zarr end in, and of which one lies in a folder"""
CHECKSUM_BYTES = 4  # of HDF5's filter fletcher32
HEAP, HEAP_SCAN_BYTES, MIN_BLOCK_BYTES, NO_BLOCK = b"HEAP\0\0\0\0", 2**30, 16, 1
"""how a heap of names begins in HDF5, in how many bytes it is looked for, what a free block takes, and none follows"""
REMEDY = "give fewer examples, or smaller ones"


def has_suffix(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.name.lower().endswith(suffixes) and not path.is_dir()


def is_dicom(path: Path) -> bool:
    """Whether a path is a DICOM file, or a folder with some in it and no images."""
    return bool(files_with(path, DICOM_SUFFIXES)) and not (path.is_dir() and list_files(path).images)


def is_nifti(path: Path) -> bool:
    """The same of NIfTI files."""
    return bool(files_with(path, NIFTI_SUFFIXES)) and not (path.is_dir() and list_files(path).images)


def files_with(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """A file that has one of these suffixes, or those in a folder, by their names."""
    if not path.is_dir():
        return [path] if has_suffix(path, suffixes) else []
    entries = (entry for entry in os.scandir(path) if entry.name.lower().endswith(suffixes))
    # a Path for each of 50,000 entries, and asking the disk for its kind anew, would take a fifth of a second
    return sorted(path / entry.name for entry in entries if not is_ignored(entry.name) and not entry.is_dir())


def excluded_notes(path: Path, files: list[Path]) -> list[str]:
    """Notes of what lies in or below a folder beside the files that are read."""
    if not path.is_dir():
        return []
    listing = list_files(path)
    return listing.notes + listing.excluded_notes([File((file.name,), str(file)) for file in files])


def import_library(name: str, extra: str, path: Path) -> Any:
    """An optional library; UserError, with what to do, where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(f'{path} is read by {name}: pip install "ganvas[{extra}]"') from error


@contextmanager
def open_hdf5(path: Path) -> Iterator[tuple[Callable[[str], np.ndarray], list[str]]]:
    """What reads an array of an HDF5 file, and the names of those that may be examples, labels or names of classes."""
    h5py = import_library("h5py", "hdf5", path)
    check_heaps(path)
    with wrap_read_errors(path, "damaged or no HDF5 file"), h5py.File(path, "r") as file:
        names: list[str] = []

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and may_be_read(name, item.ndim):
                names.append(name)

        def read(name: str) -> np.ndarray:
            if file[name].external or file[name].is_virtual:  # of which a file that was sent could name any
                raise UserError(
                    f"{path}: the numbers of {name} are in other files: copy them into one, e.g. by h5repack"
                )
            check_memory(file[name].size * file[name].dtype.itemsize, f"{path}, {name},", REMEDY)
            check_chunks(file[name])
            return apply_scale(np.asarray(file[name][()]), dict(file[name].attrs))

        file.visititems(visit)
        yield read, names


def check_heaps(path: Path) -> None:
    """UserError where free blocks of a heap follow each other in a circle: HDF5 would go round until memory is full.

    A heap has the names of a group: its signature, its size, where its first free block is, and where its bytes are; a
    free block begins with where the next one is (File Format Specification 3.0, III.D).
    """
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        left, at = len(content) // MIN_BLOCK_BYTES, content.find(HEAP, 0, HEAP_SCAN_BYTES)
        while at >= 0 and at + 32 <= len(content):
            size, block, start = struct.unpack_from("<3Q", content, at + len(HEAP))
            while block != NO_BLOCK and block < size and start + block + 8 <= len(content):
                if not (left := left - 1):
                    raise UserError(f"{path} is damaged: the free room in a heap of names is a circle")
                (block,) = struct.unpack_from("<Q", content, start + block)
            at = content.find(HEAP, at + 1, HEAP_SCAN_BYTES)


def check_chunks(array: Any) -> None:
    """ValueError where a chunk is shorter than its checksum: HDF5 would then read beyond it, and end the process."""
    sizes = list[int]()
    if array.fletcher32:
        array.id.chunk_iter(lambda chunk: sizes.append(chunk.size))
    if sizes and min(sizes) < CHECKSUM_BYTES:
        raise ValueError(f"{array.name} has a chunk of {min(sizes)} bytes, fewer than its checksum")


def may_be_read(name: str, axes: int) -> bool:
    """Whether an array with this name and so many axes may be examples, labels or names of classes."""
    return axes > 1 or (axes == 1 and parse_array_name(name)[0] in (*LABEL_KEYS, *CLASS_KEYS))


def is_zarr(path: Path) -> bool:
    """Whether a path is a folder of Zarr's, or a file that is called like a zip of one."""
    return any((path / name).is_file() for name in ZARR_FILES) if path.is_dir() else has_suffix(path, ZARR_SUFFIXES)


def load_zarr(path: Path, key: str | None, options: DataOptions, progress: Progress) -> Dataset:
    """A split of the arrays of Zarr data, as `load_npz` has it; a note counts images that lie beside them."""
    dataset = load_npz(path, key, options, progress, open_file=open_zarr)
    n = sum(file.suffix.lower() in IMAGE_SUFFIXES for file in path.iterdir()) if path.is_dir() else 0
    return dataset.with_notes([f"{pluralize(n, 'image')} beside its Zarr data left out"]) if n else dataset


@contextmanager
def open_zarr(path: Path) -> Iterator[tuple[Callable[[str], np.ndarray], list[str]]]:
    """The same of Zarr, version 2 or 3, a folder or a zip: a group's arrays, or one that is called array here."""
    zarr = import_library("zarr", "zarr", path)
    with wrap_read_errors(path, "damaged or no Zarr data"):
        try:
            root = zarr.open(path if path.is_dir() else open_zip(zarr, path), mode="r")
        except FileNotFoundError as error:
            raise ValueError("it holds no array and no group") from error
        with closing(root.store):
            members = dict(root.members(max_depth=None)) if isinstance(root, zarr.Group) else {"array": root}
            arrays = {name: item for name, item in members.items() if isinstance(item, zarr.Array)}
            names = [name for name, array in sorted(arrays.items()) if may_be_read(name, array.ndim)]
            yield (lambda name: read_zarr(arrays[name], f"{path}, {name},")), names


def open_zip(zarr: Any, path: Path) -> Any:
    """A zip of Zarr's; ValueError for an empty name in a member's path: Zarr would take the group for its member."""
    with ZipFile(path) as archive:
        if any("" in name.removesuffix("/").split("/") for name in archive.namelist()):
            raise ValueError("a member of the zip has no name")
    return zarr.storage.ZipStore(path, mode="r")


def read_zarr(array: Any, name: str) -> np.ndarray:
    """An array of Zarr's in its units; UserError where a codec unpickles, or where it, or a chunk, is too large."""
    metadata = array.metadata.to_dict()
    if "pickle" in str([metadata.get(key) for key in ("filters", "compressor", "codecs")]):
        raise UserError(f"{name} holds Python objects, which Ganvas never unpickles: save plain number arrays")
    check_memory((array.size + prod(array.chunks)) * array.dtype.itemsize, name, REMEDY)
    attributes = array.attrs.asdict()
    fill = attributes.get("_FillValue", array.fill_value if "_ARRAY_DIMENSIONS" in attributes else None)
    if isinstance(fill, str):  # of version 3 (`FillValueCoder` in xarray/backends/zarr.py); in version 2 it is Zarr's
        with suppress(ValueError, struct.error):  # a text that is no number stands for none
            (fill,) = struct.unpack("<d", b64decode(fill))
    attributes.pop("_FillValue", None)
    return apply_scale(np.asarray(array[...]), attributes | ({} if fill is None else {"_FillValue": fill}))


def apply_scale(values: np.ndarray, attributes: dict[str, Any]) -> np.ndarray:
    """Stored numbers in their units, by NetCDF's conventions (CF 1.11, section 8.1; 2.5.1 for fill values)."""
    if values.dtype.kind not in "iuf":
        return values
    fills = [np.ravel(attributes[name]) for name in ("_FillValue", "missing_value") if name in attributes]
    is_missing = np.isin(values, [fill for part in fills for fill in fill_numbers(part, values.dtype)])
    scale, offset = (float(np.ravel(attributes.get(name, default))[0]) for name, default in
                     (("scale_factor", 1), ("add_offset", 0)))  # fmt: skip
    if (scale, offset) != (1, 0):
        kind = np.float32 if values.dtype.itemsize <= 2 or values.dtype == np.float32 else np.float64
        values = (values * scale + offset).astype(kind)
    return np.where(is_missing, np.nan, values) if is_missing.any() else values


def fill_numbers(fills: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The fill values as this type has them: often they are of another; none of texts, or of what it cannot hold."""
    if fills.dtype.kind not in "iuf":
        return np.empty(0, dtype)
    with np.errstate(all="ignore"):
        numbers = fills.astype(dtype)
    is_exact = numbers == (fills if dtype.kind in "iu" else numbers)  # not of NaN, which is missing anyway
    return np.asarray(numbers[is_exact])


def load_nifti(path: Path, key: str | None, options: DataOptions, progress: Progress) -> Dataset:
    """A split of the slices of a NIfTI file: images of the first two axes, one for each place along the others.

    With kind=volume, of the volumes of the first three axes.  Those of the files in a folder are put together.
    """
    nibabel, axes, parts = import_library("nibabel", "nifti", path), 3 if options.kind == "volume" else 2, []
    files = files_with(path, NIFTI_SUFFIXES)
    for i, file in enumerate(files, 1):
        with wrap_read_errors(file, "damaged or no NIfTI file"):
            image = nibabel.load(file)
            if 0 in image.shape:
                raise UserError(f"{file} has a shape of {'x'.join(map(str, image.shape))}, so no numbers: leave it out")
            check_memory(8 * len(files) * int(np.prod(image.shape)), str(path), REMEDY)
            check_size(file, image.get_data_dtype().itemsize * prod(map(int, image.shape)))
            values = np.asanyarray(image.dataobj)
        if values.ndim < 3:
            raise UserError(f"{file} has {values.ndim} axes: give a volume, or its slices are the examples")
        if not values.size:
            raise UserError(f"{file} is empty: it has {' x '.join(map(str, values.shape))} numbers")
        parts.append(np.moveaxis(values.reshape(*values.shape[:axes], -1), -1, 0))
        progress(i, len(files))
    examples, notes = concatenate(path, parts, files), excluded_notes(path, files)
    name = dataset_name(path.with_suffix("") if path.suffix.lower() == ".gz" else path)
    if axes == 3:
        dataset = from_array(examples, name=name, kind="volume", **number_options(options))
        return split_dataset(dataset.with_notes(notes), options)
    dataset = from_array(examples[..., None], name=name, channels_last=True, **number_options(options))
    size = f"{examples.shape[1]} x {examples.shape[2]} numbers (kind=volume makes each volume one)"
    note = f"the {len(examples)} slices along the last axis are examples of {size}"
    return split_dataset(dataset.with_notes([note, *notes]), options)


def check_size(file: Path, claimed: int) -> None:
    """ValueError where a file cannot hold the bytes that its header claims, for which nibabel makes room."""
    size = file.stat().st_size
    if claimed > size * (MAX_DEFLATE_RATIO if file.suffix.lower() == ".gz" else 1):
        raise ValueError(f"its header claims {claimed:,} bytes of numbers, and it has {size:,}")


def concatenate(path: Path, parts: list[np.ndarray], files: list[Path]) -> np.ndarray:
    """The examples of all files; UserError where they have several shapes, or take too much memory."""
    shapes = {part.shape[1:]: file for part, file in zip(parts, files, strict=True)}
    if len(shapes) > 1:
        sizes = ", ".join(f"{'x'.join(map(str, shape))} ({file.name})" for shape, file in list(shapes.items())[:3])
        raise UserError(f"{path} holds examples of several shapes, {sizes}: give those of one shape")
    check_memory(sum(part.nbytes for part in parts), str(path), REMEDY)
    return np.concatenate(parts)


def load_dicom(path: Path, key: str | None, options: DataOptions, progress: Progress) -> Dataset:
    """A split of the frames of a DICOM file, or of those in a folder, in the order of their names."""
    pydicom, files = import_library("pydicom", "dicom", path), files_with(path, DICOM_SUFFIXES)
    parts: list[np.ndarray] = []
    for i, file in enumerate(files, 1):
        with (
            wrap_read_errors(file, "damaged, compressed, or no DICOM file"),
            file.open("rb") as opened,
            # of a file that is not mapped pydicom makes room for as many bytes as its header claims
            mmap(opened.fileno(), 0, access=ACCESS_READ) as content,
        ):
            parts.append(read_dicom(pydicom.dcmread(content)))
        progress(i, len(files))
    dataset = from_array(
        concatenate(path, parts, files), name=dataset_name(path), channels_last=True, **number_options(options)
    )
    return split_dataset(dataset.with_notes(excluded_notes(path, files)), options)


def read_dicom(content: Any) -> np.ndarray:
    """The frames of a DICOM data set, n x h x w x c, in the units of its rescale slope and intercept."""
    values, channels = content.pixel_array, int(content.get("SamplesPerPixel", 1))
    slope, intercept = float(content.get("RescaleSlope", 1)), float(content.get("RescaleIntercept", 0))
    frames = values.reshape(-1, int(content.Rows), int(content.Columns), channels)
    if (slope, intercept) == (1, 0):
        return np.asarray(frames)
    if slope == round(slope) and intercept == round(intercept):  # e.g. of Hounsfield units
        return np.asarray(frames.astype(np.int32) * int(slope) + int(intercept))
    return np.asarray((frames * slope + intercept).astype(np.float32))
