"""Images of more than 256 levels, signals and volumes: numbers in the units of their source, and how they are scaled.

A model sees numbers through `Scaling`, which maps `low` and `high` of each channel to the ends of its pixels' range.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ..errors import UserError
from ..io.text import format_number
from ..model import Shape, kind_of
from .quantization import Bounds, ValueStats, row_chunks

ScaleName = Literal["range", "mean-std", "percentile"]
KindName = Literal["auto", "vector", "signal", "volume"]
MAX_CHANNELS, MAX_INTEGER, OPAQUE = 16, 2**53, 65535
SIZE_WORDS = {"image": "pixels (height x width)", "signal": "steps", "volume": "voxels (depth x height x width)"}
"""what the axes behind the channels count"""
DTYPES = (
    "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64",
)  # fmt: skip
"""NumPy's names of the numbers that images of a model can have"""
WIDE_DTYPES = ("uint32", "uint64", "int32", "int64", "float64")
"""those of which float32 has not all"""
DEVIATIONS, PERCENTILE = 3, 0.01
"""deviations around the mean, and the share of the numbers at either end, that scales by these go to"""
MAX_ROUNDING = 2.0**-20
"""share of the range of an image's numbers that float32 may round them by"""
BYTE_TOLERANCE = 1e-4
SCALE_WORDS = {
    "range": "by its range",
    "mean-std": f"from {DEVIATIONS} deviations below its mean to as many above, and others are clipped",
    "percentile": f"from {PERCENTILE:.0%} to {1 - PERCENTILE:.0%} of its numbers, and others are clipped",
}


def are_bytes(images: np.ndarray) -> bool:
    """Whether 256 levels hold these numbers: booleans, integers from 0 to 255, or the floats that bytes become."""
    if images.dtype.kind == "b":
        return True
    low, high = images.min(), images.max()
    if images.dtype.kind in "ui":
        return bool(low >= 0 and high <= 255)
    parts = (images[i] for i in row_chunks(images)) if low >= 0 and high <= 1 else iter([np.array([0.5])])
    return all(np.allclose(np.round(part * 255) / 255, part, atol=BYTE_TOLERANCE) for part in parts)


def to_float(images: np.ndarray, name: str) -> np.ndarray:
    """Numbers n x c x ... as float32, or as float64 where that rounds them by a notable share of their range."""
    if images.dtype.name not in DTYPES:
        raise UserError(f"{name} holds numbers of {images.dtype}: give one of {', '.join(DTYPES)}")
    low, high = float(images.min()), float(images.max())
    if images.dtype.kind in "ui" and max(-low, high) > MAX_INTEGER:
        raise UserError(f"{name} has integers up to {max(-low, high):.3g}, beyond 2^53: scale them, or give floats")
    with np.errstate(over="ignore"):
        x = np.array(images, np.float32, order="C")
    if images.dtype.name not in WIDE_DTYPES:
        return x
    limit = MAX_ROUNDING * (high - low)
    is_close = all((np.abs(x[i].astype(np.float64) - images[i]) <= limit).all() for i in row_chunks(images))
    return x if is_close else np.array(images, np.float64, order="C")


def channel_bounds(
    x: Float[Tensor, "n c *size"], scale: ScaleName = "range", bounds: Bounds | None = None, alpha: bool = False
) -> tuple[Float64[Tensor, " c"], Float64[Tensor, " c"]]:
    """The numbers of each channel that become the ends of the pixels' range; `bounds` are those of all.

    If the fourth is `alpha`, it goes from 0 to `OPAQUE`, and of colours those that are seen count.
    Where a channel is constant, or nearly all of it, its upper end is beyond its number, which thus comes back.
    """
    if alpha:
        visible = (x[:, 3] > 0) if x[:, 3].any() else torch.ones_like(x[:, 3], dtype=torch.bool)
        colours = x.movedim(1, -1)[visible][:, :3, None, None]
        low, high = channel_bounds(colours, scale, bounds)
        return torch.cat([low, low.new_tensor([0])]), torch.cat([high, high.new_tensor([OPAQUE])])
    if bounds is not None:
        low, high = (torch.full((x.shape[1],), value, dtype=torch.float64) for value in bounds)
        return low, high
    pairs = []
    for channel in x.unbind(1):
        values = channel.cpu().flatten()
        ends = values.min().double(), values.max().double()
        if scale == "mean-std":
            mean = values.double().mean()
            deviation = (values.double() - mean).square().mean().sqrt()
            ends = mean - DEVIATIONS * deviation, mean + DEVIATIONS * deviation
        elif scale == "percentile":
            last = len(values) - 1
            places = [round(PERCENTILE * last), round((1 - PERCENTILE) * last)]
            ends = tuple(torch.from_numpy(np.partition(values.numpy(), places)[places]).double().unbind())  # type: ignore[assignment]
        pairs.append(torch.stack(ends))
    low, high = torch.stack(pairs, 1)
    return low, torch.where(high > low, high, low + low.abs().clamp_min(1))


def depth_notes(
    dtype: str, shape: Shape, stats: ValueStats, scale: ScaleName, bounds: Bounds | None, alpha: bool = False
) -> tuple[str, ...]:
    """The notes on images c x h x w, or signals or volumes, that keep their numbers.

    Of which type these are, from where to where, how models see them, and which channels pictures show.
    """
    (channels, *size), kind = shape, kind_of(shape)
    several = f" in {channels} channel{'s' * (channels > 1)} of {' x '.join(map(str, size))} {SIZE_WORDS[kind]}"
    several *= channels > 1 or kind != "image"
    several += ", the fourth alpha," * alpha
    note = f"numbers of {dtype} from {stats.low:.7g} to {stats.high:.7g}{several} are kept as they are"
    if bounds is None:
        note += f"; a model sees {'them' if channels == 1 else 'each channel'} scaled {SCALE_WORDS[scale]}"
    else:
        note += f"; a model sees them scaled from {bounds[0]:.7g} to {bounds[1]:.7g}"
        if outside := stats.below + stats.above:
            note += f", so that {format_number(100 * outside / stats.count, 2)}% are clipped"
    if channels in (1, 3) or kind == "signal" or alpha:
        return (note,)
    seen = "first channel" if channels == 2 else "first three channels, as red, green and blue"
    no_alpha = ("none of the four channels is alpha: bits=8 makes the fourth so",) if channels == 4 else ()
    return (note, f"pictures show the {seen}", *no_alpha)
