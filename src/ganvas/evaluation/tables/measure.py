"""Is a synthetic table any good, and may it be shared?  Numbers beside their floors, and a verdict in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from ...data.tables.association import Rows, associations
from ...data.tables.columns import Column, learnt_columns
from ...errors import UserError
from ...metrics.features.base import Progress, say_nothing
from .detection import Detection, detect
from .distances import row_hashes
from .estimators import require_scikit_learn, sample_rows
from .marginals import Comparison, compare_column
from .privacy import Privacy, measure_privacy
from .quality import Quality, measure_quality
from .usefulness import Usefulness, measure_usefulness

MIN_HELD_OUT, MAX_RELATED_ROWS = 20, 5000
"""held-out rows that a floor needs, at least, and rows on which relations are measured, at most"""


@dataclass(frozen=True, eq=False)
class TableEvaluation:
    """What was measured of synthetic rows.  Of what has a floor, the floor is None where held-out rows are too few."""

    columns: tuple[Column, ...]
    """those that were measured"""
    left_out: tuple[Column, ...]
    """constants and identifiers, which are not learnt"""
    rows: dict[str, int]
    quality: Quality
    quality_as_many: Quality | None
    """of as many synthetic rows as there are held-out ones: few rows are less like others by chance"""
    quality_floor: Quality | None
    """of held-out rows"""
    quality_shuffled: Quality
    """of training rows in which each column was shuffled by itself: what a model of single columns reaches"""
    detection: Detection | None
    """against held-out rows, or training rows where there are none"""
    detection_floor: Detection | None
    """of training rows against held-out rows"""
    usefulness: Usefulness | None
    privacy: Privacy | None
    repeated: tuple[float, float]
    """share of rows that come more than once, of as many real and synthetic ones"""
    marginals: tuple[Comparison, ...]
    associations: tuple[Float64[np.ndarray, "c c"], ...]
    """of training, synthetic and, if there are any, held-out rows"""


def evaluate_table(
    x_real: Rows, x_held_out: Rows, x_synthetic: Rows, columns: Sequence[Column], *,
    target: str | None = None, seed: int = 0, progress: Progress = say_nothing,
) -> TableEvaluation:  # fmt: skip
    """Measure synthetic rows against the rows that were learnt from and real ones that were not.

    Rows are n x c, a number for each of the `columns` that are learnt, as `data/tables/columns.py` says, NaN where a
    value is missing.  `target` is the column that models predict, by default a category.  All is deterministic by
    `seed`.

    Raises UserError where there are no rows, no column of the target's name, or no scikit-learn.
    """
    require_scikit_learn()
    learnt = learnt_columns(columns)
    for name, x in (("real", x_real), ("synthetic", x_synthetic)):
        if not len(x) or not learnt:
            raise UserError(f"there is nothing to measure: {len(x)} {name} rows of {len(learnt)} columns")
    assert x_real.shape[1] == x_held_out.shape[1] == x_synthetic.shape[1] == len(learnt)
    has_floor = len(x_held_out) >= MIN_HELD_OUT
    shuffled = np.stack([np.random.default_rng((seed, j)).permutation(x) for j, x in enumerate(x_real.T)], 1)
    progress("column shapes and pair trends")
    others = [x_synthetic, shuffled]
    others += [sample_rows(x_synthetic, len(x_held_out), seed), x_held_out] if has_floor else []
    quality, quality_shuffled, *floor = measure_quality(x_real, others, learnt)
    progress("telling synthetic from real rows")
    detection = detect(x_held_out if has_floor else x_real, x_synthetic, learnt, seed)
    detection_floor = detect(x_held_out, x_real, learnt, seed, with_importance=False) if has_floor else None
    progress("models that learn from synthetic rows")
    sources = {"real": x_real, "synthetic": x_synthetic, "shuffled": shuffled}
    usefulness = measure_usefulness(sources, x_held_out, learnt, target, seed)
    progress("what synthetic rows give away")
    privacy = measure_privacy(x_real, x_held_out, x_synthetic, learnt, seed)
    n = min(len(x_real), len(x_synthetic))
    sets = [x_real, x_synthetic, *([x_held_out] if has_floor else [])]
    related = (sample_rows(x, MAX_RELATED_ROWS, seed) for x in sets)
    return TableEvaluation(
        columns=learnt, left_out=tuple(column for column in columns if not column.is_learnt),
        rows={"training": len(x_real), "held_out": len(x_held_out), "synthetic": len(x_synthetic)},
        quality=quality, quality_as_many=floor[0] if floor else None,
        quality_floor=floor[1] if floor else None, quality_shuffled=quality_shuffled,
        detection=detection, detection_floor=detection_floor, usefulness=usefulness, privacy=privacy,
        repeated=(repeated_share(sample_rows(x_real, n, seed)), repeated_share(sample_rows(x_synthetic, n, seed))),
        marginals=tuple(compare_column(x_real[:, j], x_synthetic[:, j], c) for j, c in enumerate(learnt)),
        associations=tuple(associations(learnt, *related)),
    )  # fmt: skip


def repeated_share(x: Rows) -> float:
    """The share of rows that are equal to an earlier one."""
    return 1 - len(np.unique(row_hashes(x))) / len(x)
