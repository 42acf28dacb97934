"""How near translations are to the truth, where it is known: each of n has its own right answer."""

import re
from collections.abc import Sequence
from math import pi

import torch
from jaxtyping import Float, Int64
from torch import Tensor

BLOCK = 256
"""translations that are compared with all targets at once"""


def absolute_errors(made: Float[Tensor, "n *shape"], truth: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
    """Mean |difference| of each pair, in the units of the examples."""
    return (made - truth).abs().flatten(1).mean(1)


def ranks(made: Float[Tensor, "n *shape"], targets: Float[Tensor, "m *shape"]) -> Int64[Tensor, " n"]:
    """The place of target i among all m, by Euclidean distance from translation i: 1 where it is the nearest.

    Targets that are as near as the right one count half, so that a constant translation is in the middle.
    """
    everything, places = targets.flatten(1).double(), []
    for start in range(0, len(made), BLOCK):
        far = torch.cdist(made[start : start + BLOCK].flatten(1).double(), everything)
        right = far.diagonal(start)[:, None] if start else far.diagonal()[:, None]
        nearer, ties = (far < right).sum(1), (far == right).sum(1) - 1
        places.append(1 + nearer + ties // 2)
    return torch.cat(places)


def nearest_labels(
    made: Float[Tensor, "n *shape"], examples: Float[Tensor, "m *shape"], labels: Int64[Tensor, " m"]
) -> Int64[Tensor, " n"]:
    """The label of the example nearest to each translation: the simplest classifier."""
    everything = examples.flatten(1)
    near = [torch.cdist(part.flatten(1), everything).argmin(1) for part in made.split(BLOCK)]
    return labels[torch.cat(near)]


def nearest_others(made: Float[Tensor, "n *shape"], targets: Float[Tensor, "n *shape"]) -> Int64[Tensor, " n"]:
    """The place of the target nearest to each translation (Euclidean), its own right answer left out."""
    everything, places = targets.flatten(1).double(), []
    for start in range(0, len(made), BLOCK):
        far = torch.cdist(made[start : start + BLOCK].flatten(1).double(), everything)
        far.diagonal(start).fill_(torch.inf)
        places.append(far.argmin(1))
    return torch.cat(places)


DEGREES = re.compile(r"([+\-\u2212]?\d+(?:\.\d+)?) ?(?:deg|degrees|\u00b0)", re.IGNORECASE)
"""names of classes that are angles, such as 30deg, -7.5 degrees and 45\u00b0"""


def angles_of(classes: Sequence[str]) -> Float[Tensor, " classes"] | None:
    """The angles, in radians, that all classes are named after; None where they are not, or all are the same."""
    found = [DEGREES.fullmatch(name.strip()) for name in classes]
    degrees = [float(m[1].replace("\u2212", "-")) for m in found if m]
    if len(degrees) < len(classes) or len(set(degrees)) < 2:
        return None
    return torch.tensor(degrees) * (pi / 180)


def angle_errors(
    made: Float[Tensor, "n *shape"], targets: Float[Tensor, "n *shape"], angles: Float[Tensor, " n"]
) -> tuple[float, float]:
    """How far the angles of translations are from those of their targets: `circular_rmse` and `circular_correlation`.

    The angle of a translation is read off as that of the nearest target other than its own.
    """
    found = angles[nearest_others(made, targets)]
    return circular_rmse(found, angles), circular_correlation(found, angles)


def turned(found: Float[Tensor, " n"], truth: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Signed differences of angles, in radians from -pi to pi."""
    return torch.remainder(found - truth + pi, 2 * pi) - pi


def circular_rmse(found: Float[Tensor, " n"], truth: Float[Tensor, " n"]) -> float:
    """Root mean square difference of angles in radians: pi / 3^(1/2) = 1.81 where they have nothing in common."""
    return float(turned(found, truth).square().mean().sqrt())


def circular_correlation(found: Float[Tensor, " n"], truth: Float[Tensor, " n"]) -> float:
    """Correlation of angles, from -1 (the other way round) to 1, whatever constant lies between them.

    |E e^{i(a - b)}| - |E e^{i(a + b)}|: how well one angle follows the other, less how well it follows its negative.
    Source: Fisher & Lee, A correlation coefficient for circular data, Biometrika 70 (1983), for uniform angles.
    """
    mean = [torch.polar(torch.ones_like(found), angle).mean().abs() for angle in (found - truth, found + truth)]
    return float(mean[0] - mean[1])
