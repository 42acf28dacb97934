"""Columns of every kind, in every type that a frame may have, and what kind each of them is."""

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

N = 60
RANDOM = np.random.default_rng(0)
REALS = np.round(RANDOM.normal(size=N) * 100, 2)
WHOLE = RANDOM.integers(-5, 300, N)
GAPS = np.arange(N) % 7 == 3
DAYS = pd.Series(pd.date_range("2019-12-30", periods=N, freq="D"))
MOMENTS = pd.Series(pd.date_range("2020-03-28 22:30:15.123456", periods=N, freq="7h"))


def with_gaps(values: Any, dtype: Any = None) -> Any:
    series = pd.Series(values, dtype=dtype)
    return series.mask(pd.Series(GAPS)) if dtype is None else series.where(~pd.Series(GAPS))


SERIES = {
    "reals": (pd.Series(REALS), "real"),
    "many decimals": (pd.Series(RANDOM.normal(size=N)), "real"),
    "huge": (pd.Series(RANDOM.normal(size=N) * 1e300), "real"),
    "reals with gaps": (with_gaps(REALS), "real"),
    "float32": (pd.Series(REALS.astype(np.float32)), "real"),
    "Float64": (with_gaps(REALS, "Float64"), "real"),
    "double[pyarrow]": (with_gaps(REALS, pd.ArrowDtype(pa.float64())), "real"),
    "decimal": (pd.Series([Decimal(f"{x:.2f}") for x in REALS], dtype=object), "real"),
    "float objects": (pd.Series([None if GAPS[i] else float(x) for i, x in enumerate(REALS)], dtype=object), "real"),
    "whole": (pd.Series(WHOLE), "integer"),
    "int8": (pd.Series((WHOLE % 100).astype(np.int8)), "integer"),
    "uint64": (pd.Series((WHOLE + 5).astype(np.uint64)), "integer"),
    "Int64": (with_gaps(WHOLE, "Int64"), "integer"),
    "int64[pyarrow]": (with_gaps(WHOLE, pd.ArrowDtype(pa.int64())), "integer"),
    "whole floats": (with_gaps(WHOLE.astype(float)), "integer"),
    "int objects": (pd.Series([None if GAPS[i] else int(x) for i, x in enumerate(WHOLE)], dtype=object), "integer"),
    "units": (pd.Series([f"{x} kg" for x in WHOLE]), "integer"),
    "prices": (pd.Series([f"${x:,.2f}" for x in np.abs(REALS) * 10.3]), "real"),
    "two units": (pd.Series(["3 kg", "4 lb", "5 kg"] * 20), "category"),
    "bool": (pd.Series(WHOLE > 100), "boolean"),
    "boolean": (with_gaps(WHOLE > 100, "boolean"), "boolean"),
    "bool objects": (pd.Series(np.select([GAPS, WHOLE > 9], [None, True], False), dtype=object), "boolean"),
    "0 and 1": (pd.Series((WHOLE > 100).astype(int)), "boolean"),
    "yes and no": (pd.Series(np.where(WHOLE > 100, "Yes", "No")), "boolean"),
    "words": (with_gaps(np.array(["a", "Bb", "ü"])[WHOLE % 3]), "category"),
    "words as objects": (pd.Series([None if GAPS[i] else "xyz"[i % 3] for i in range(N)], dtype=object), "category"),
    "ordered": (pd.Series(pd.Categorical(with_gaps(list("SML" * 20)), [*"SML", "XL"], ordered=True)), "category"),
    "categories of numbers": (pd.Series(pd.Categorical(WHOLE % 4)), "category"),
    "question marks": (pd.Series(["?", "NA", "x"] * 20), "category"),
    "numbers as names": (pd.Series(["007", "12"] * 30), "category"),
    "days": (with_gaps(DAYS), "date"),
    "moments": (with_gaps(MOMENTS), "datetime"),
    "moments in a zone": (with_gaps(MOMENTS.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")), "datetime"),
    "date objects": (pd.Series([None if GAPS[i] else day.date() for i, day in enumerate(DAYS)], dtype=object), "date"),
    "time objects": (pd.Series([moment.time() for moment in MOMENTS], dtype=object), "time"),
    "ISO": (pd.Series(DAYS.dt.strftime("%Y-%m-%d")), "date"),
    "German": (pd.Series(DAYS.dt.strftime("%d.%m.%Y")), "date"),
    "American": (pd.Series([f"{day.month}/{day.day}/{day.year}" for day in DAYS]), "date"),
    "British": (pd.Series(DAYS.dt.strftime("%d %b %Y")), "date"),
    "ISO with time": (pd.Series([str(m)[:23].replace(" ", "T") + "Z" for m in MOMENTS]), "datetime"),
    "clock": (pd.Series(MOMENTS.dt.strftime("%H:%M")), "time"),
    "constant": (pd.Series(["same"] * N), "constant"),
    "constant number": (pd.Series([7] * N, dtype=np.int16), "constant"),
    "nothing": (pd.Series([np.nan] * N), "constant"),
    "no objects": (pd.Series([None] * N, dtype=object), "constant"),
}  # fmt: skip
