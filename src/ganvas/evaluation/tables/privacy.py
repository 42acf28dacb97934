"""Do synthetic rows give training rows away?  Each number beside what it is of real rows that were not learnt from.

A row that was not learnt from may be near a synthetic row too, as people who are alike are.  So nothing here counts
what is near; it counts how much nearer the training rows are than others of the same source.  Five tests:

    nearer        whether synthetic rows are nearer to training rows than to as many held-out rows
    exact copies  synthetic rows that are training rows, beside held-out rows that are
    near copies   those nearer to a training row than 99% of held-out rows are, beside those as near to a held-out row
    membership    whether the distance to the nearest synthetic row tells training from held-out rows: the area under
                  the curve, and how many training rows are found where 1% of held-out rows are wrongly named (Carlini
                  et al., arXiv:2112.03570: few rows that leak do not show in the area)
    attributes    whether a column is guessed better of training rows than of held-out ones, by the synthetic row that
                  is nearest in all other columns
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import NormalDist

import numpy as np
import torch

from ...data.tables.association import Rows
from ...data.tables.columns import Column
from ...metrics.copies import copy_threshold
from .distances import Places, guess_errors, nearest, place_encoder, row_hashes
from .estimators import sample_rows
from .intervals import Estimate, Z, area_under_curve, clustered, difference

MAX_QUERIES, MAX_GUESSES, MAX_REFERENCES = 2000, 1000, 20_000
"""rows whose nearest rows are looked for, of which columns are guessed, and among which is looked, at most"""
MIN_ROWS = 20
FALSE_ALARMS = 0.01
"""share of held-out rows that a membership test may wrongly name"""
TOLERANCE = 0.05
"""a number is guessed where the guess is this near, in units of the spread of the training rows"""


@dataclass(frozen=True)
class Copies:
    """How many rows are as near to a row of a set as copies are."""

    training: float
    """share of the synthetic rows that copy a training row"""
    held_out: float
    """share of them that copy one of as many held-out rows: by chance"""
    real: float
    """share of held-out rows that are as near to a training row: by chance"""
    excess: Estimate
    """`training` - the share by chance"""


@dataclass(frozen=True)
class Guess:
    """How often a column is guessed from the others."""

    column: str
    training: float
    held_out: float
    excess: Estimate
    """the difference; its interval allows for as many looks as there are columns"""


@dataclass(frozen=True)
class Privacy:
    """What synthetic rows give away of training rows."""

    nearer: Estimate
    """share of synthetic rows that are nearer to the training rows than to as many held-out ones"""
    exact: Copies
    near: Copies
    membership: Estimate
    """area under the curve"""
    found: Estimate
    """share of training rows that are found, minus the share of held-out rows that are wrongly named"""
    found_share: float
    guesses: tuple[Guess, ...]
    rows: dict[str, int]
    """how many rows there are of each set, and how many were compared"""


def measure_privacy(
    train: Rows, held_out: Rows, synthetic: Rows, columns: Sequence[Column], seed: int = 0
) -> Privacy | None:
    """All five tests; None where there are too few rows of a set.  Held-out rows must not have been learnt from."""
    if min(len(train), len(held_out), len(synthetic)) < MIN_ROWS or not columns:
        return None
    place = place_encoder(train, columns)
    m = min(len(train), len(held_out), MAX_REFERENCES)
    references = [place(sample_rows(x, m, seed)) for x in (train, held_out)]
    queries = sample_rows(synthetic, MAX_QUERIES, seed)
    to_train, to_held_out = (nearest(place(queries), reference) for reference in references)
    chance, _ = nearest(references[1][:, :MAX_QUERIES], references[0])
    limit = float(copy_threshold(torch.from_numpy(chance)))
    is_near = [(distances == 0) | (distances < limit) for distances, _ in (to_train, to_held_out)]
    clusters = np.where(to_train[0] <= to_held_out[0], to_train[1], m + to_held_out[1])
    sign, error = clustered(np.sign(to_held_out[0] - to_train[0]), clusters)
    spread = Z * error
    near_share, near_error = clustered(is_near[0].astype(float) - is_near[1], clusters)
    near = Copies(
        float(is_near[0].mean()), float(is_near[1].mean()), float(((chance == 0) | (chance < limit)).mean()),
        Estimate(near_share, max(near_share - Z * near_error, -1.0), min(near_share + Z * near_error, 1.0), 0.0),
    )  # fmt: skip
    sources = place(sample_rows(synthetic, MAX_REFERENCES, seed))
    members, others = (nearest(x[:, :MAX_QUERIES], sources)[0] for x in references)
    found_share, found = membership_at(members, others)
    return Privacy(
        nearer=Estimate((1 + sign) / 2, max((1 + sign - spread) / 2, 0.0), min((1 + sign + spread) / 2, 1.0), 0.5),
        exact=exact_copies(train, held_out, synthetic, seed), near=near,
        membership=area_under_curve(members, others), found=found, found_share=found_share,
        guesses=measure_guesses(references[0], references[1], sources, columns),
        rows={"training": len(train), "held_out": len(held_out), "synthetic": len(synthetic),
              "compared": min(MAX_QUERIES, m), "compared_synthetic": len(queries)},
    )  # fmt: skip


def exact_copies(train: Rows, held_out: Rows, synthetic: Rows, seed: int) -> Copies:
    """Synthetic rows that are equal to a training row in all columns, beside held-out rows that are."""
    rows, real, fake = row_hashes(train), row_hashes(held_out), row_hashes(synthetic)
    copies, by_chance = np.isin(fake, rows), np.isin(real, rows)
    m = min(len(train), len(held_out))
    same = [float(np.isin(fake, row_hashes(sample_rows(x, m, seed))).mean()) for x in (train, held_out)]
    low, high = difference(int(copies.sum()), len(fake), int(by_chance.sum()), len(real))
    if same[0] <= 2 * same[1]:  # held-out rows come as well, from as many: these are common rows
        low = min(low, 0.0)
    excess = Estimate(float(copies.mean() - by_chance.mean()), low, high, 0.0)
    return Copies(float(copies.mean()), same[1], float(by_chance.mean()), excess)


def membership_at(members: np.ndarray, others: np.ndarray, rate: float = FALSE_ALARMS) -> tuple[float, Estimate]:
    """The share of members within the distance at which that share of others is, and what it is more than theirs."""
    limit = np.sort(others)[ceil(rate * len(others)) - 1]
    hits, alarms = int((members <= limit).sum()), int((others <= limit).sum())
    low, high = difference(hits, len(members), alarms, len(others))
    share = hits / len(members)
    return share, Estimate(share - alarms / len(others), low, high, 0.0)


def measure_guesses(train: Places, held_out: Places, sources: Places, columns: Sequence[Column]) -> tuple[Guess, ...]:
    """How often each column is guessed right by the nearest synthetic row, of training and of held-out rows."""
    right = [(guess_errors(x[:, :MAX_GUESSES], sources) <= TOLERANCE) for x in (train, held_out)]
    z = NormalDist().inv_cdf(1 - (1 - NormalDist().cdf(Z)) / len(columns))  # Bonferroni's
    guesses = []
    for column, known, unknown in zip(columns, *right, strict=True):
        low, high = difference(int(known.sum()), len(known), int(unknown.sum()), len(unknown), z)
        share, chance = float(known.mean()), float(unknown.mean())
        guesses.append(Guess(column.name, share, chance, Estimate(share - chance, low, high, 0.0)))
    return tuple(guesses)
