"""Examples that a dataset has twice, pixel for pixel or nearly so, also across its parts; and images of one colour.

Near duplicates are found in near-linear time: a difference hash of 64 bits (N. Krawetz, "Kind of Like That", 2013,
hackerfactor.com), whose bits are split into bands; images with an equal band are sorted along a random projection of
their thumbnails, and each is compared with its neighbours in that order (M. Charikar, STOC 2002).  Thumbnails have
the last word, since hashes of drawings on an empty ground are often alike.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from .dataset import Dataset, convert_channels
from .scaling import Scaling, has_alpha, premultiply

MARGIN = 2.0
"""levels of 255 by which neighbours differ for a bit of 1: in flat areas noise would choose"""
BANDS, MAX_DISTANCE, NEIGHBOURS = 4, 6, 64
"""bands of 16 bits; bits by which hashes of near duplicates differ at most, of which 3 leave a band equal in any case;
images that each is compared with in each band"""
SIDE, MIN_CORRELATION, PAIRS_PER_CHUNK = 16, 0.99, 4096
"""pixels of a thumbnail's side, least correlation of two near duplicates' thumbnails, and pairs compared at once"""
MAX_NUMBERS = 2**22
"""numbers of images that are looked at at once"""
GROUND = 128.0
"""the grey on which images with alpha are compared: neither black nor white drawings vanish on it"""
Pairs = list[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Which examples are alike, as pairs of indices (later one, first one), and which are of one colour.

    `exact` have equal pixels; `near` nearly equal ones, by hash and thumbnail, of examples without an exact one.
    `leaked_exact` and `leaked_near` are pairs of an example of the test part and one of the train part.
    """

    exact: Pairs
    near: Pairs
    leaked_exact: Pairs
    leaked_near: Pairs
    blank: list[int]
    n_test: int = 0


def find_duplicates(train: Dataset, test: Dataset | None = None) -> Duplicates:
    """Duplicates within a dataset, and between it and a test part of the same shape; near ones of images only.

    Takes a digest, a hash and a thumbnail of 256 bytes, of RGB 448, for each example, and some examples in float32.
    """
    scaling, first = Scaling.fit_dataset(train, standardize=False), dict[bytes, int]()
    exact, blank = list[int](), list[int]()
    n_at_once, total = max(1, MAX_NUMBERS // train.x[0].numel()), len(train) + (0 if test is None else len(test))
    d = thumbnail(to_levels(train.x[:1].cpu(), scaling)).shape[1] if train.has_images else 0
    bits, thumbnails = np.empty((total, 64), bool), np.empty((total, d), np.uint8)  # in pieces they would split memory
    for part in (part for each in (train, test) if each is not None for part in each.x.split(n_at_once)):
        # colours that nobody sees make no difference
        seen = (premultiply(part) if train.may_have_alpha else part).cpu()
        start = len(exact)
        for i, row in enumerate(seen.flatten(1).contiguous().numpy(), start):
            exact.append(first.setdefault(blake2b(row.data, digest_size=16).digest(), i))
        if train.has_images:
            is_blank = (seen.amax((2, 3)) == seen.amin((2, 3))).all(1)
            blank += (is_blank.nonzero().flatten() + start).tolist()
            levels = to_levels(part.cpu(), scaling)
            rows = slice(start, start + len(part))
            bits[rows], thumbnails[rows] = difference_hash(levels), thumbnail(levels)
    near = list(range(len(exact)))
    if train.has_images:
        unique = np.array(sorted(set(exact)))
        twins = near_duplicates(bits[unique], thumbnails[unique])
        for i, twin in zip(unique.tolist(), unique[twins].tolist(), strict=True):
            near[i] = twin
    n = len(train)
    leaks = [(j - n, exact[j], near[exact[j]]) for j in range(n, len(exact))]
    return Duplicates(
        exact=[(i, exact[i]) for i in range(n) if exact[i] < i],
        near=[(i, near[i]) for i in range(n) if near[i] < i],
        leaked_exact=[(j, i) for j, i, _ in leaks if i < n],
        leaked_near=[(j, twin) for j, i, twin in leaks if twin < n <= i],
        blank=[i for i in blank if i < n],
        n_test=len(leaks),
    )


def to_levels(x: Tensor, scaling: Scaling) -> Tensor:
    """Images n x c x h x w as they are seen, float32 in 0..255: deep ones by their scaling, alpha on grey."""
    if scaling.is_deep:
        x = scaling.to_unit(x)
        if not scaling.premultiplied:
            return x * 255
        x = Scaling().from_unit(x)
    if has_alpha(x):
        return premultiply(x)[:, :3] + (1 - x[:, 3:] / 255) * GROUND
    return x.float()


def to_grey(levels: Tensor) -> Tensor:
    """n x 1 x h x w: luma of RGB, which JPEG keeps better than colours; of other channels the mean."""
    return convert_channels(levels, 1) if levels.shape[1] == 3 else levels.mean(1, keepdim=True)


def difference_hash(levels: Tensor) -> np.ndarray:
    """n x 64 booleans of images n x c x h x w in 0..255: of 8 x 9 means of grey, where the right neighbour is brighter.

    Brightness does not matter, contrast, size and compression little.
    """
    means = adaptive_avg_pool2d(to_grey(levels), (8, 9))
    return np.asarray(means[..., 1:] > means[..., :-1] + MARGIN).reshape(len(levels), 64)


def thumbnail(levels: Tensor) -> np.ndarray:
    """Images n x c x h x w in 0..255 as n x d bytes: 16 x 16 means of grey, 8 x 8 of each channel less grey."""
    grey = to_grey(levels)
    parts = [adaptive_avg_pool2d(grey, SIDE)]
    if levels.shape[1] > 1:
        parts.append(adaptive_avg_pool2d(levels - grey, SIDE // 2) / 2 + GROUND)
    return np.asarray(torch.cat([part.flatten(1) for part in parts], 1).round().to(torch.uint8))


def standardize(thumbnails: np.ndarray) -> np.ndarray:
    """Thumbnails n x d without their brightness, of length 1: a product of two is a correlation; 0 for flat ones."""
    x: np.ndarray = thumbnails.astype(np.float32)
    x[:, : SIDE**2] -= x[:, : SIDE**2].mean(1, keepdims=True)
    x[:, SIDE**2 :] = 2 * (x[:, SIDE**2 :] - GROUND)
    lengths = np.sqrt(np.square(x).sum(1, keepdims=True))
    return np.asarray(x / np.maximum(lengths, 1))


def near_duplicates(bits: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """For each of n images the first that is nearly equal, by index, or its own index where none is earlier.

    Of hashes n x 64 and thumbnails n x d.  A band that more than `NEIGHBOURS` images share is searched among
    neighbours only: there a pair may be missed.
    """
    n, d = thumbnails.shape
    direction = np.random.default_rng(0).standard_normal(d, np.float32)
    parts = np.array_split(thumbnails, -(-n // PAIRS_PER_CHUNK))
    projection = np.concatenate([standardize(part) @ direction for part in parts])
    twins, hashes = np.arange(n), np.packbits(bits, axis=1)
    for band in range(BANDS):  # of every fourth bit, so that empty rows of images are not a band of their own
        key = np.packbits(bits[:, band::BANDS], axis=1).view(np.uint16)[:, 0]
        order = np.lexsort((projection, key))
        for shift in range(1, min(NEIGHBOURS, n - 1) + 1):
            a, b = order[:-shift], order[shift:]
            share_band = key[a] == key[b]
            if not share_band.any():
                break
            pairs = np.sort(np.stack([a, b], 1)[share_band], axis=1)
            pairs = pairs[pairs[:, 0] < twins[pairs[:, 1]]]  # others have an earlier one
            pairs = pairs[np.unpackbits(np.bitwise_xor(*hashes[pairs.T]), axis=1).sum(1) <= MAX_DISTANCE]
            for chunk in np.array_split(pairs, len(pairs) // PAIRS_PER_CHUNK + 1):
                i, j = chunk.T
                is_alike = (standardize(thumbnails[i]) * standardize(thumbnails[j])).sum(1) >= MIN_CORRELATION
                np.minimum.at(twins, j[is_alike], i[is_alike])
    return twins
