"""How near translations are to the truth, where it is known: each of n has its own right answer."""

import re
from collections.abc import Iterator, Sequence
from math import pi

import torch
from jaxtyping import Float, Int64
from torch import Tensor

Values = Float[Tensor, "n *shape"]
Others = Float[Tensor, "m *shape"]
Angles = Float[Tensor, " n"]
TRANSLATIONS_PER_CHUNK = 256
"""translations that are compared with all targets at once"""
ANGLE_PATTERN = re.compile(r"([+\-\u2212]?\d+(?:\.\d+)?) ?(?:deg|degrees|\u00b0)", re.IGNORECASE)
"""names of classes that are angles, such as 30deg, -7.5 degrees and 45\u00b0"""


def distance_blocks(translations: Tensor, targets: Tensor, dtype: torch.dtype) -> Iterator[tuple[int, Tensor]]:
    """Euclidean distances of translations from all targets in blocks, each with the number of its first translation."""
    x, y = translations.flatten(1), targets.flatten(1).to(dtype)
    for i in range(0, len(x), TRANSLATIONS_PER_CHUNK):
        yield i, torch.cdist(x[i : i + TRANSLATIONS_PER_CHUNK].to(dtype), y)


def absolute_errors(translations: Values, truth: Values) -> Float[Tensor, " n"]:
    """Mean |difference| of each pair, in the units of the examples."""
    return (translations - truth).abs().flatten(1).mean(1)


def target_ranks(translations: Values, targets: Others) -> Int64[Tensor, " n"]:
    """The place of target i among all m, by Euclidean distance from translation i: 1 where it is the nearest.

    Targets that are as near as the right one count half, so that a constant translation is in the middle.
    """
    ranks = []
    for i, distances in distance_blocks(translations, targets, torch.float64):
        own = distances.diagonal(i)[:, None]
        nearer, ties = (distances < own).sum(1), (distances == own).sum(1) - 1
        ranks.append(1 + nearer + ties // 2)
    return torch.cat(ranks)


def nearest_labels(translations: Values, examples: Others, labels: Int64[Tensor, " m"]) -> Int64[Tensor, " n"]:
    """The label of the example nearest to each translation: the simplest classifier."""
    blocks = distance_blocks(translations, examples, examples.dtype)
    return labels[torch.cat([distances.argmin(1) for _, distances in blocks])]


def nearest_other_targets(translations: Values, targets: Values) -> Int64[Tensor, " n"]:
    """The place of the target nearest to each translation (Euclidean), its own right answer left out."""
    nearest = []
    for i, distances in distance_blocks(translations, targets, torch.float64):
        distances.diagonal(i).fill_(torch.inf)
        nearest.append(distances.argmin(1))
    return torch.cat(nearest)


def class_angles(classes: Sequence[str]) -> Float[Tensor, " classes"] | None:
    """The angles, in radians, that all classes are named after; None where they are not, or all are the same."""
    matches = [ANGLE_PATTERN.fullmatch(name.strip()) for name in classes]
    degrees = [float(m[1].replace("\u2212", "-")) for m in matches if m]
    if len(degrees) < len(classes) or len(set(degrees)) < 2:
        return None
    return torch.tensor(degrees) * (pi / 180)


def angle_errors(translations: Values, targets: Values, angles: Angles) -> tuple[float, float]:
    """`circular_rmse` and `circular_correlation` of targets' angles and those of the others nearest to translations."""
    predicted = angles[nearest_other_targets(translations, targets)]
    return circular_rmse(predicted, angles), circular_correlation(predicted, angles)


def angle_difference(predicted: Angles, truth: Angles) -> Angles:
    """Signed differences of angles, in radians from -pi to pi."""
    return torch.remainder(predicted - truth + pi, 2 * pi) - pi


def circular_rmse(predicted: Angles, truth: Angles) -> float:
    """Root mean square difference of angles in radians: pi / 3^(1/2) = 1.81 where they have nothing in common."""
    return float(angle_difference(predicted, truth).square().mean().sqrt())


def circular_correlation(predicted: Angles, truth: Angles) -> float:
    """Correlation of angles, from -1 (the other way round) to 1, whatever constant lies between them.

    |E e^{i(a - b)}| - |E e^{i(a + b)}|: how well one angle follows the other, less how well it follows its negative.
    Source: Fisher & Lee, A correlation coefficient for circular data, Biometrika 70 (1983), for uniform angles.
    """
    angles, unit = (predicted - truth, predicted + truth), torch.ones_like(predicted)
    same, opposite = (torch.polar(unit, angle).mean().abs() for angle in angles)
    return float(same - opposite)
