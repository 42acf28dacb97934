"""How a model sees examples, and how its outputs become examples again: the one seam between the two.

Pixels 0..255 are mapped to the model's `pixel_range`, and so are the numbers of deep images, signals and volumes from
`low` to `high`, each channel's own; others are clipped.  Colours of images with alpha are first multiplied by it, so
that no one learns from, or is measured by, colours that nobody sees.  Vectors are standardised, each column by its
mean and its deviation over the data, so that a column in large units does not drown the others.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from .dataset import Dataset
from .depth import MAX_INTEGER, OPAQUE, WIDE_DTYPES, channel_bounds

VECTORS_PER_CHUNK, IMAGES_PER_CHUNK = 65_536, 1000


@dataclass(frozen=True, eq=False)
class Scaling:
    """The map from examples, bytes or vectors, to what a model is given, and its inverse."""

    pixel_range: tuple[float, float] = (-1.0, 1.0)  # what pixels 0..255 are mapped to
    mean: Shaped[Tensor, " d"] | None = None  # of each column of vectors, float64; None leaves them as they are
    std: Shaped[Tensor, " d"] | None = None  # the same; 0 where a column never changes
    premultiplied: bool = False  # whether colours are multiplied by alpha, in images that have it
    low: Float64[Tensor, " c"] | None = None  # the number of each channel of deep data at one end of `pixel_range`
    high: Float64[Tensor, " c"] | None = None  # the same, at the other end
    dtype: str = ""  # NumPy's name of the numbers that deep images have in files

    @classmethod
    def fit(cls, x: Tensor, pixel_range: tuple[float, float] = (-1.0, 1.0), *, standardize: bool = True) -> "Scaling":
        """That of all examples of a dataset; without `standardize` vectors stay as they are."""
        if x.ndim > 2:
            return cls(pixel_range, premultiplied=has_alpha(x))
        return cls(pixel_range, *moments(x)) if standardize else cls(pixel_range)

    @classmethod
    def fit_dataset(
        cls, dataset: Dataset, pixel_range: tuple[float, float] = (-1.0, 1.0), *, standardize: bool = True
    ) -> "Scaling":
        """The same, of a dataset that may hold deep images."""
        if not dataset.is_deep:
            return cls.fit(dataset.x, pixel_range, standardize=standardize)
        low, high = channel_bounds(dataset.x, dataset.scale, dataset.range, dataset.alpha)
        return cls(pixel_range, premultiplied=dataset.alpha, low=low, high=high, dtype=dataset.source_dtype)

    @property
    def is_deep(self) -> bool:
        """Whether it is that of deep images."""
        return self.low is not None

    @property
    def may_have_alpha(self) -> bool:
        """Whether a fourth channel is alpha: of bytes always, of deep images if colours are multiplied by it."""
        return self.premultiplied or not self.is_deep

    def holds(self, dataset: Dataset) -> bool:
        """Whether it is for such examples: vectors, bytes, or deep images of this type whose own scale is within."""
        if self.low is None or self.high is None or not dataset.is_deep:
            return self.is_deep == dataset.is_deep
        kind = dataset.source_dtype, dataset.alpha, dataset.shape[0]
        if kind != (self.dtype, self.premultiplied, len(self.low)):
            return False
        low, high = channel_bounds(dataset.x, dataset.scale, dataset.range, dataset.alpha)
        return bool((low >= self.low).all() and (high <= self.high).all())

    @property
    def scale(self) -> Shaped[Tensor, " d"]:
        """What columns are divided by: their deviation or, where they never change, their own size, or 1."""
        assert self.mean is not None
        assert self.std is not None
        size = torch.where(self.mean == 0, 1.0, self.mean.abs())
        return torch.where(self.std > 0, self.std, size)

    @property
    def log_volume(self) -> float:
        """log |dx/du| of vectors: log p(x) = log p(u) - log_volume.  Densities of pixels are by custom on [0, 1]."""
        return 0.0 if self.mean is None else self.scale.double().log().sum().item()

    def to(self, device: torch.device) -> "Scaling":
        """The same on a device; one without float64 has float32."""
        tensors = {name: getattr(self, name) for name in ("mean", "std", "low", "high")}
        narrow = {"dtype": torch.float32} if device.type == "mps" else {}
        moved = {name: t.to(device, **narrow) for name, t in tensors.items() if t is not None}
        return replace(self, **moved) if moved else self

    def __call__(self, x: Shaped[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Examples as the model sees them; vectors with mean 0 and deviation 1, unless nothing is known of them."""
        low, high = self.pixel_range
        if self.is_deep:
            unit = self.to_unit(x)
            return (premultiply(unit) if self.premultiplied else unit).mul_(high - low).add_(low)
        if x.dtype == torch.uint8:
            u = (premultiply(x) if self.premultiplied else x).float().mul_((high - low) / 255)
            return u.add_(low) if low else u
        scaling = self.to(x.device)
        return x if scaling.mean is None else ((x.to(scaling.mean.dtype) - scaling.mean) / scaling.scale).float()

    def inverse(self, u: Float[Tensor, "n *shape"]) -> Shaped[Tensor, "n *shape"]:
        """A model's outputs as examples: bytes, clipped and rounded, or vectors, constant columns as they were.

        Of deep images these are numbers in their units, integers where the source has integers.
        """
        low, high = self.pixel_range
        if self.is_deep:
            unit = (u.float() - low).div_(high - low)
            return self.from_unit(unpremultiply(unit, OPAQUE) if self.premultiplied else unit)
        if u.ndim > 2:
            x = (u.float() - low).mul_(255 / (high - low)).clamp_(0, 255)
            if self.premultiplied:  # first: rounded, colours at alpha 1 could only be 0 or 255
                x = unpremultiply(x.mul_(64).round_().div_(64 * 255)).mul_(255)  # to 1/64: bytes come back exactly
            return x.round_().to(torch.uint8)
        scaling = self.to(u.device)
        if scaling.mean is None or scaling.std is None:
            return u.float()
        return (u.to(scaling.mean.dtype) * scaling.std + scaling.mean).float()

    def clipped_share(self, x: Shaped[Tensor, "n *shape"]) -> float:
        """The share of the numbers of deep images that are beyond `low` and `high`, and so clipped; 0 of others."""
        if self.low is None or self.high is None:
            return 0.0
        low, high = (along_channels(t.to(x.device, x.dtype), x) for t in (self.low, self.high))
        n_clipped = 0
        for part in x.split(IMAGES_PER_CHUNK):
            is_seen = part[:, 3:] > 0 if self.premultiplied else True
            n_clipped += int((((part < low) | (part > high)) & is_seen).sum())
        return n_clipped / x.numel()

    def to_unit(self, x: Shaped[Tensor, "n c *size"]) -> Float[Tensor, "n c *size"]:
        """Images as pixels in [0, 1]: bytes / 255, deep ones by `low` and `high`, others clipped."""
        if self.low is None or self.high is None:
            return x.float() / 255
        low, high = (along_channels(t.to(x.device, x.dtype), x) for t in (self.low, self.high))
        return ((x - low) / (high - low)).clamp_(0, 1).float()

    def as_measured(self, x: Shaped[Tensor, "n *shape"]) -> Shaped[Tensor, "n *measured"]:
        """The numbers of examples as metrics see them, as the function `as_measured` has them."""
        if not self.is_deep:
            return x
        units = (self.to_unit(part) for part in x.split(IMAGES_PER_CHUNK))
        if x.ndim != 4:
            return torch.cat([part.flatten(1) for part in units])
        images = torch.cat([Scaling().from_unit(part) for part in units])
        return images if self.premultiplied else side_by_side(images)

    def composite(self, x: Float[Tensor, "n c *size"], premultiplied: bool = False) -> Float[Tensor, "n c2 *size"]:
        """Numbers in [0, 1] as errors compare them: pixels with alpha on black and on white."""
        return composite_backgrounds(x, premultiplied) if self.may_have_alpha else x

    def from_unit(self, x: Float[Tensor, "n c *size"]) -> Shaped[Tensor, "n c *size"]:
        """Pixels in [0, 1], others clipped, as images: the inverse of `to_unit`."""
        if self.low is None or self.high is None:
            return (x * 255).round().clamp(0, 255).to(torch.uint8)
        wide = torch.float32 if x.device.type == "mps" else torch.float64
        low, high = (along_channels(t.to(x.device, wide), x) for t in (self.low, self.high))
        numbers = low + x.to(wide).clamp(0, 1) * (high - low)
        if not self.dtype.startswith("float"):
            limits = np.iinfo(self.dtype)
            numbers = numbers.round_().clamp_(float(limits.min), float(min(limits.max, MAX_INTEGER)))
        return numbers if self.dtype in WIDE_DTYPES else numbers.float()


def along_channels(values: Shaped[Tensor, " c"], x: Shaped[Tensor, "n c *size"]) -> Shaped[Tensor, "c *ones"]:
    """A number for each channel, in the shape in which it meets examples."""
    return values.view(-1, *[1] * (x.ndim - 2))


def picture_scaling(dataset: Dataset) -> Scaling:
    """What pictures of a dataset show black and white: the ends of each channel's scale, where it is deep."""
    return Scaling.fit_dataset(dataset) if dataset.is_deep else Scaling()


def vector_scaling(dataset: Dataset, scaling: Scaling = Scaling()) -> Scaling:
    """The units in which vectors are compared: deviations of columns.  Numbers of signals and volumes stay in [0, 1].

    Some of their places hardly vary, such as what surrounds a scan: in deviations these would count the most.
    """
    return Scaling() if dataset.is_deep else Scaling.fit(dataset.encoded_by(scaling).x)


def as_measured(dataset: Dataset, scaling: Scaling) -> Dataset:
    """Deep images as metrics see them: 256 levels by a model's scaling; bytes and vectors as they are.

    Where images are neither grey nor of three channels, or four of which one is alpha, all are seen, side by side in
    one grey image.  Signals and volumes are vectors of their numbers, from 0 to 1 by the scaling.
    """
    if not dataset.is_deep:
        return dataset.encoded_by(scaling)
    return replace(dataset, x=scaling.as_measured(dataset.x), source_dtype="", alpha=False)


def side_by_side(x: Shaped[Tensor, "n c h w"]) -> Shaped[Tensor, "n c2 h w2"]:
    """Grey images and those of three channels; of others one grey image each, their channels from left to right."""
    return x if x.shape[1] in (1, 3) else x.movedim(1, 2).flatten(2)[:, None]


def moments(x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """Mean and deviation of each column, in float64, of which only a chunk is held; exactly 0 where it is constant."""
    parts = x.split(VECTORS_PER_CHUNK)
    mean = sum((part.double().sum(0) for part in parts), x.new_zeros(x.shape[1], dtype=torch.float64)) / len(x)
    squares = sum(((part.double() - mean).square().sum(0) for part in parts), torch.zeros_like(mean))
    is_constant = x.amin(0) == x.amax(0)  # else what the mean was rounded by would count as a deviation
    return torch.where(is_constant, x[0].double(), mean), torch.where(is_constant, 0.0, (squares / len(x)).sqrt())


def has_alpha(x: Tensor) -> bool:
    return x.ndim == 4 and x.shape[1] == 4


def premultiply(x: Shaped[Tensor, "n *shape"]) -> Shaped[Tensor, "n *shape"]:
    """Images with their colours multiplied by alpha, bytes or in [0, 1]; other images, and vectors, as they are."""
    if not has_alpha(x):
        return x
    colours, alpha = x[:, :3], x[:, 3:]
    if x.dtype == torch.uint8:
        return torch.cat([((colours.int() * alpha.int() + 127) // 255).to(torch.uint8), alpha], 1)
    return torch.cat([colours * alpha, alpha], 1)


def unpremultiply(x: Shaped[Tensor, "n *shape"], opaque: int = 255) -> Shaped[Tensor, "n *shape"]:
    """The inverse of `premultiply`, also of colours brighter than alpha allows.

    Black where alpha, as a whole number up to `opaque`, is 0.
    """
    if not has_alpha(x):
        return x
    if x.dtype == torch.uint8:
        return (unpremultiply(x.float() / 255) * 255).round().to(torch.uint8)
    alpha = x[:, 3:]
    return torch.cat([torch.where(alpha > 0.5 / opaque, (x[:, :3] / alpha).clamp(0, 1), 0.0), alpha], 1)


def composite_backgrounds(x: Shaped[Tensor, "n *shape"], premultiplied: bool = False) -> Shaped[Tensor, "n *shape2"]:
    """Images with alpha as they look on black and on white, six channels; others as they are.

    So metrics compare what is seen, on whatever ground: two images that are alike on both are alike on all.  Bytes, or
    pixels in [0, 1], whose colours may be `premultiplied`; brighter than alpha allows they are clipped.
    """
    if not has_alpha(x):
        return x
    x = x if premultiplied else premultiply(x)
    alpha = x[:, 3:]
    black = torch.minimum(x[:, :3], alpha)
    return torch.cat([black, black + ((255 if x.dtype == torch.uint8 else 1) - alpha)], 1)


def hidden_colour_stats(x: Tensor) -> tuple[float, float, Float[Tensor, " 3"]]:
    """What nobody sees of images: the share of pixels that are transparent, of those with a colour, and their mean."""
    transparent, coloured, total = 0, 0, torch.zeros(3, dtype=torch.float64)
    for part in x.split(IMAGES_PER_CHUNK) if has_alpha(x) and x.dtype == torch.uint8 else ():
        is_transparent = part[:, 3] == 0
        transparent += int(is_transparent.sum())
        coloured += int((is_transparent & (part[:, :3] > 0).any(1)).sum())
        total += (part[:, :3] * is_transparent[:, None]).double().sum((0, 2, 3))
    pixels = x[:, 0].numel()
    return transparent / pixels, coloured / pixels, (total / max(1, transparent)).float()
