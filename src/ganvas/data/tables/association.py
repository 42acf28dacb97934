"""How strongly two columns of categories go together."""

import numpy as np
from jaxtyping import Int64

Codes = Int64[np.ndarray, " _"]
"""a small whole number for each row"""


def cramers_v(a: Codes, b: Codes, corrected: bool = False) -> float:
    """Cramer's V of two columns of n rows; 0 where one has a single value.

    `corrected` takes away what independent columns have on average (Bergsma, 2013, J. Korean Stat. Soc. 42).
    """
    (_, a), (_, b) = (np.unique(x, return_inverse=True) for x in (a, b))
    rows, width, n = int(a.max(initial=0)) + 1, int(b.max(initial=0)) + 1, len(a)
    if min(rows, width) < 2:
        return 0.0
    cells, counts = np.unique(a * width + b, return_counts=True)
    expected = np.bincount(a)[cells // width] * np.bincount(b)[cells % width]
    phi2, smaller = float((counts * (counts / expected)).sum() - 1), float(min(rows, width) - 1)
    if corrected and n > 1:
        phi2 = max(0.0, phi2 - (rows - 1) * (width - 1) / (n - 1))
        smaller = min(k - (k - 1) ** 2 / (n - 1) for k in (rows, width)) - 1
    return float(np.sqrt(min(max(phi2, 0.0) / smaller, 1.0))) if smaller > 0 else 0.0
