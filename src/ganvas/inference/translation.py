"""Images in files, folders and archives through a translator: each under its own name, what is done left alone."""

import json
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data import READERS, Scaling
from ..data.builtin import BUILTIN
from ..data.dataset import convert_channels
from ..data.depth import OPAQUE
from ..data.folder import load_folder
from ..data.images import SUPPORTED_FORMATS, Page, decode
from ..data.listing import IMAGE_SUFFIXES, RECORD_FILE, File, Listing, is_archive, is_image, list_files, path_mode
from ..data.options import COLOURS, DataOptions, Progress
from ..data.quantization import Bounds, range_applies, read_bounds
from ..data.unreadable import lift_pixel_limit, unreadable_reason
from ..errors import UserError
from ..io.atomic import atomic_write
from ..io.parallel import in_parallel
from ..metrics.features.base import weights_digest
from ..model import kind_of, model_name
from ..viz.images import PNG_LEVEL, WRITERS, encode_png16
from .loading import MAX_CLIPPED_SHARE, with_stored_crop
from .trained import Trained, chunk_size

READ_AHEAD = 64
"""images that are read before the first of them is translated, so that those of one size go together"""
TIFF_DTYPES = ("int8", "uint16", "int16", "int32", "float16", "float32", "float64")
"""types of numbers in deep images that grey TIFFs hold, of 32 bits but uint16"""
SAVE_OPTIONS = {"PNG": {"compress_level": PNG_LEVEL}, "JPEG": {"quality": 95}, "WEBP": {"quality": 95}}
"""Pillow's, by its name of the format"""


@dataclass
class TranslationSummary:
    """What became of the images."""

    out: Path
    translated: int = 0
    there: int = 0
    """already in `out`, and left as they were"""
    skipped: dict[str, str] = field(default_factory=dict)
    """why, by name"""
    others: int = 0
    """files that are no images"""
    rounded: int = 0
    """images with more bits than 8, which their translations have"""
    animated: int = 0
    """files with several images, of which the first was translated"""
    notes: list[str] = field(default_factory=list)
    """what else is there that was not translated, in words"""
    clipped: int = 0
    """images with numbers beyond the scale of the model"""
    resized: int = 0
    """images of another size than those that the model, which takes any, has learnt from"""
    learnt: str = ""
    """that size"""

    def to_dict(self) -> dict[str, object]:
        return self.__dict__ | {"out": str(self.out)}

    def lines(self) -> list[str]:
        """For people."""
        messages = [f"{self.translated} translated, in {self.out}"]
        if self.there:
            messages.append(f"{self.there} were there already: --force makes them again")
        messages += [f"skipped {name}: {why}" for name, why in self.skipped.items()]
        messages += self.notes
        if self.rounded:
            now = f"now {'has' if self.rounded == 1 else 'have'} 8: PNGs keep 16, and grey TIFFs all"
            messages.append(f"{self.rounded} had more than 8 bits, and {now}, where the model writes grey")
        if self.clipped:
            messages.append(f"{self.clipped} had numbers beyond those that the model's scale goes to: they are clipped")
        if self.resized:
            messages.append(size_warning(self.resized, self.learnt))
        if self.animated:
            kind = "is animated or has several pages" if self.animated == 1 else "are animated or have several pages"
            messages.append(f"{self.animated} {kind}: only the first image was translated")
        return messages


def size_warning(n: int, training_size: str) -> str:
    """What is said of images that the model has not learnt the scale of."""
    return (
        f"{n} {'has' if n == 1 else 'have'} another size than the {training_size} pixels that the model was trained "
        "on, and what it does depends on the scale: resize them first where translations look wrong"
    )


def format_size(shape: Sequence[int]) -> str:
    """Width and height of images c x h x w."""
    return f"{shape[2]} x {shape[1]}"


@dataclass(frozen=True)
class InputImage:
    """An image as it was read: c x h x w floats in [0, 1] with 1, 3 or 4 channels."""

    file: File
    x: Tensor
    dtype: np.dtype
    """of the numbers in the file"""
    has_lost_bits: bool = False
    """whether its file has 16 bits, but eight were read"""
    is_animated: bool = False
    """whether it is the first of several in its file"""
    image_format: str = "PNG"
    """Pillow's name of its file's format"""
    is_clipped: bool = False
    """whether it has numbers beyond the scale of the model, 3% or more"""


def holds_files(source: str) -> bool:
    """Whether a source is an image, or a folder or an archive of images: files that are translated one by one."""
    path = Path(source).expanduser()
    mode = path_mode(path)
    if source in BUILTIN or mode is None:
        return False
    reader = next((reader for is_kind, reader in READERS if is_kind(path)), None)
    return reader is load_folder and (not holds_several(path) or bool(list_files(path).images))


def holds_several(source: Path) -> bool:
    """Whether a source is a folder or an archive, not a single image."""
    return source.is_dir() or is_archive(source)


def translate_files(
    trained: Trained,
    source: Path,
    out: Path,
    to: str = "B",
    *,
    force: bool = False,
    progress: Progress = lambda done, total: None,
) -> TranslationSummary:
    """Translate an image to the file `out`, or every image of a folder or an archive to its own path below `out`.

    Images are laid on the background of the run's data, but not cropped: they keep their size (unless the domains'
    sizes differ), format, alpha and, as PNG or where the translation is a grey TIFF, 16 bits; EXIF orientation is
    applied, and of an animation the first image is taken.  What exists in `out` is left alone unless `force`: a call
    that was stopped goes on where it was.  What cannot be read is skipped.  Raises UserError for a source without
    images, and for a folder that holds translations by other weights or to the other domain.
    """
    domains = trained.domains(to)  # refuses before anything is read
    shape = trained.shape[domains[0]]
    if (kind := kind_of(shape)) != "image":
        numbers = f"this {model_name(trained.model)} translates {kind}s of {'x'.join(map(str, shape))} numbers"
        raise UserError(f"{numbers}, and {source} holds no such: give {kind}s as a .npy or .npz file")
    pairs, listing = plan_translations(source, out)
    targets = {file: target for file, target in pairs if force or not target.exists()}
    n_done, n, has_fixed_size = len(pairs) - len(targets), len(pairs), trained.has_fixed_size(to)
    colour = with_stored_crop(DataOptions(), trained).background_colour
    source_bounds, target_bounds = (read_bounds(trained.metadata, i) for i in domains)
    source_scaling, target_scaling = map(trained.domain_scaling, domains)
    summary = TranslationSummary(out, 0, n_done, others=len(listing.others), learnt=format_size(shape))
    record_file, record = plan_record(trained, source, out, to, force, list(targets.values()))

    def translations() -> Iterator[tuple[Path, Tensor, InputImage, Bounds | None, Scaling, tuple[int, ...]]]:
        nonlocal n_done
        for group in read_ahead(list(targets), source_bounds, source_scaling, colour):
            progress(n_done, n)
            for images in batch_by_shape([image for image in group.values() if isinstance(image, InputImage)]):
                batch = trained.translate_batch(torch.stack([image.x for image in images]), to)
                if record and not summary.translated:
                    with atomic_write(record_file) as temporary:
                        temporary.write_text(json.dumps(record) + "\n", encoding="utf-8")
                for image, x in zip(images, batch, strict=True):
                    summary.animated += image.is_animated
                    summary.clipped += image.is_clipped
                    summary.resized += not has_fixed_size and format_size(image.x.shape) != summary.learnt
                    summary.translated += 1
                    yield targets[image.file], x, image, target_bounds, target_scaling, colour
            summary.skipped |= {str(file): why for file, why in group.items() if isinstance(why, str)}
            n_done += len(group)

    with lift_pixel_limit() as decoder_notes:
        summary.rounded = sum(in_parallel(lambda arguments: write_image(*arguments), translations(), WRITERS))
        progress(n_done, n)
    summary.notes += listing.notes + listing.excluded_notes() + decoder_notes
    if pairs and not summary.translated + summary.there:
        name, why = next(iter(summary.skipped.items()))
        raise UserError(f"{source}: none of its {n} images can be read; the first, {name}: {why}")
    return summary


def plan_record(
    trained: Trained, source: Path, out: Path, to: str, force: bool, targets: list[Path]
) -> tuple[Path, dict[str, object]]:
    """The file that gets a record of a folder's translations, and the record; an empty one where it gets none.

    It names them, so that nobody takes them for data, nor data for them.  A single image has one beside its original;
    that of several also says what made them, and UserError is raised where `out` holds others, unless `force`.
    """
    has_several = holds_several(source)
    folder = out if has_several or not targets else targets[0].parent
    file, previous = folder / RECORD_FILE, None
    if not has_several and (not targets or folder.resolve() != source.parent.resolve()):
        return file, {}
    with suppress(OSError, ValueError, RecursionError):
        previous = json.loads(file.read_text(encoding="utf-8"))
    previous = record = previous if isinstance(previous, dict) else {"files": []}  # what says nothing holds none
    is_of_folder = {"weights", "to", "run", "step"} <= previous.keys()
    if has_several:
        weights = weights_digest({name: tensor.cpu() for name, tensor in trained.nets.state_dict().items()})
        run = model_name(trained.model) if trained.folder is None else trained.folder.resolve().name
        record = {"weights": weights, "to": to, "run": run, "step": trained.metadata.get("step")}
        if is_of_folder and not force and any(previous[key] != record[key] for key in ("weights", "to")):
            step = "" if previous["step"] is None else f" step {previous['step']}"
            contents = f"to {previous['to']} of {previous['run']}{step}"
            raise UserError(f"{out} holds translations {contents}: give another folder, or `force` to make them anew")
    names = previous.get("files", None if is_of_folder else [])
    if not isinstance(names, list):  # a record of before, which stands for all files in its folder
        return file, record
    files = {name for name in names if isinstance(name, str)} | {p.relative_to(folder).as_posix() for p in targets}
    return file, record | {"files": sorted(files)}


def plan_translations(source: Path, out: Path) -> tuple[list[tuple[File, Path]], Listing]:
    """Each image with the file that its translation goes to, and what else there is.

    What lies in `out` is no source, should that be within the folder.
    """
    mode = path_mode(source)
    if mode is None:
        raise UserError(f"{source} does not exist: give an image or a folder of images")
    if holds_several(source):
        if out.resolve() == source.resolve():
            raise UserError(f"{out} is the source itself: give another folder for the translations")
        if out.exists() and not out.is_dir():
            raise UserError(f"{out} is a file: give a folder for the translations of {source}")
        if out.suffix.lower() in IMAGE_SUFFIXES and not out.is_dir():
            raise UserError(f"{source} may hold several images: give a folder for the translations, not {out}")
        listing = list_files(source, out)
        if not listing.images:
            raise UserError(f"{source} holds no images ({SUPPORTED_FORMATS})")
        return [(file, out.joinpath(*file.parts)) for file in listing.images], listing
    file = File((source.name,), str(source))
    if not stat.S_ISREG(mode) or not is_image(file):
        raise UserError(f"{source} is no image: {SUPPORTED_FORMATS}")
    target = out / source.name if out.is_dir() else out
    if target.suffix.lower() not in IMAGE_SUFFIXES and (target.suffix or source.suffix):
        raise UserError(f"cannot write {target}: end its name as an image's, in {source.suffix or '.png'} for example")
    if target.resolve() == source.resolve():
        raise UserError(f"{target} is the source itself: give another place for the translation")
    return [(file, target)], Listing(source)


def read_ahead(
    files: list[File], bounds: Bounds | None, scaling: Scaling, background: tuple[int, ...]
) -> Iterator[dict[File, InputImage | str]]:
    """The images in groups, decoded in parallel, one group ahead of what is asked for."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = partial(read_image, bounds=bounds, scaling=scaling, background=background)
        following = pool.map(read, files[:READ_AHEAD])
        for end in range(READ_AHEAD, len(files) + READ_AHEAD, READ_AHEAD):
            images, following = following, pool.map(read, files[end : end + READ_AHEAD])
            yield dict(zip(files[end - READ_AHEAD : end], images, strict=True))


def read_image(
    file: File, bounds: Bounds | None = None, scaling: Scaling = Scaling(),  # noqa: B008
    background: tuple[int, ...] = COLOURS["white"],
) -> InputImage | str:  # fmt: skip
    """An image, upright as its EXIF orientation says, or why it cannot be read; black and white as `bounds` say.

    Of deep images, which are no bytes, the `scaling` says it.  Where that has no alpha, what has is laid on the
    `background`.
    """
    try:
        pixels, pages, image_format = decode(Page(file))
        values, dtype = pixels.values, pixels.values.dtype
        if scaling.low is not None:
            n, own = values.shape[2], len(scaling.low)
            can_have_alpha = pixels.white == OPAQUE and (n == 4 or scaling.premultiplied) and own in (1, 3, 4)
            if dtype == np.uint8 or (n != own and not can_have_alpha) or (n == own == 4 and not scaling.premultiplied):
                return f"has {n} channels of {dtype}, but the model was trained on {own} of {scaling.dtype}"
            numbers = torch.from_numpy(values.transpose(2, 0, 1).astype(np.float64))[None]
            if not numbers.isfinite().all():
                return "holds NaN or infinity: replace these"
            numbers = convert_channels(numbers, own, background, alpha=True) if n != own else numbers
            x, is_clipped = scaling.to_unit(numbers)[0], scaling.clipped_share(numbers) > MAX_CLIPPED_SHARE
            return InputImage(file, x, dtype, False, pages > 1, image_format, is_clipped)
        if bounds is None and pixels.white is None:
            return f"{pixels.kind} have no black and white of their own, and the model was trained without `range`"
        white = float(pixels.white or 1)
        low, high = bounds if bounds and range_applies(dtype, bounds) else (0.0, white)
        x = torch.from_numpy(values.transpose(2, 0, 1).astype(np.float32))
        if not x.isfinite().all():
            return "holds NaN or infinity: replace these"
        x[:3] = ((x[:3] - low) / (high - low)).clamp(0, 1)
        x[3:] /= white
        return InputImage(file, x, dtype, pixels.has_more_bits, pages > 1, image_format)
    except Exception as error:  # a damaged file can raise anything: struct.error, RuntimeError, ...
        return unreadable_reason(error, file)


def batch_by_shape(images: list[InputImage]) -> Iterator[list[InputImage]]:
    """The images in batches of one shape each, small enough for the networks."""
    groups: dict[tuple[int, ...], list[InputImage]] = {}
    for image in images:
        groups.setdefault(tuple(image.x.shape), []).append(image)
    for shape, group in groups.items():
        size = chunk_size(shape)
        for i in range(0, len(group), size):
            yield group[i : i + size]


def write_image(
    target: Path, x: Tensor, image: InputImage, bounds: Bounds | None = None, scaling: Scaling = Scaling(),  # noqa: B008
    background: tuple[int, ...] = COLOURS["white"],
) -> bool:  # fmt: skip
    """Write the translation of an image, atomically; returns whether it has fewer bits than the image's file.

    Its format is the one that its name says, or else the image's.  Numbers are of the image's kind where the format can
    hold them, black and white as `bounds` say; of a deep domain they are those of its `scaling`.  A JPEG has no alpha:
    it is laid on the `background`.
    """
    own_format = "JPEG" if image.image_format == "MPO" else image.image_format
    image_format = Image.registered_extensions().get(target.suffix.lower(), own_format)
    array = to_array(x, image.dtype, bounds, image_format, scaling)
    keeps_depth = array.dtype != np.uint8
    with atomic_write(target) as temporary:
        if keeps_depth and len(x) > 1:
            temporary.write_bytes(encode_png16(array))
            return False
        output = Image.fromarray(array[:, :, 0] if len(x) == 1 else array)
        if image_format == "JPEG" and output.mode == "RGBA":
            ground = Image.new("RGB", output.size, background)
            ground.paste(output, mask=output.getchannel("A"))
            output = ground
        output.save(temporary, image_format, **SAVE_OPTIONS.get(image_format, {}))
    return image.has_lost_bits or (image.dtype != np.uint8 and not keeps_depth)


def to_array(
    x: Tensor, dtype: np.dtype, bounds: Bounds | None, image_format: str, scaling: Scaling = Scaling(),  # noqa: B008
) -> np.ndarray:  # fmt: skip
    """A translation with pixels in [0, 1] as h x w x c numbers: of this kind where the format holds them, else bytes.

    16 bits go into PNGs, and with one channel into TIFFs and PNMs; other kinds into TIFFs with one channel, if `bounds`
    or a deep `scaling` say what is black and white.
    """
    dtype = np.dtype(scaling.dtype) if scaling.is_deep else dtype
    low, high = bounds or (0.0, 65535.0)
    is_16_bit = dtype == np.uint16 and low >= 0 and high <= 65535
    is_grey = len(x) == 1
    stores_16_bits = image_format == "PNG" or (is_grey and image_format in ("TIFF", "PPM"))
    has_units = bounds or (scaling.is_deep and dtype.name in TIFF_DTYPES)
    can_store = (is_16_bit and stores_16_bits) or (is_grey and has_units and image_format == "TIFF")
    if dtype == np.uint8 or not can_store:
        return (x * 255).round_().clamp_(0, 255).movedim(0, -1).cpu().numpy().astype(np.uint8)
    x = x.double().clamp(0, 1)
    x = scaling.from_unit(x[None])[0] if scaling.is_deep else torch.cat([x[:3] * (high - low) + low, x[3:] * 65535])
    output_dtype = dtype if is_16_bit else np.dtype(np.float32) if dtype.kind == "f" else np.dtype(np.int32)
    return (x if output_dtype.kind == "f" else x.round()).movedim(0, -1).cpu().numpy().astype(output_dtype)
