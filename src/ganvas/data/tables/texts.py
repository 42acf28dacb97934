"""Numbers, dates and times that a table has as texts: how they are written, and what they are.

Texts are Arrow's arrays of strings, without those that stand for missing values.
"""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from itertools import product, takewhile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...errors import UserError, first_line

if TYPE_CHECKING:
    import pyarrow as pa

TimeKind = Literal["date", "datetime", "time"]
SPACES = " \u00a0\u202f"  # the second and the third do not break lines
PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
GROUPED = {
    ",": r"^[+-]?\d{1,3}(,\d{3})*(\.\d+)?$",
    ".": r"^[+-]?\d{1,3}(\.\d{3})*(,\d+)?$",
    " ": rf"^[+-]?\d{{1,3}}([{SPACES}]\d{{3}})*([.,]\d+)?$",
    "'": r"^[+-]?\d{1,3}('\d{3})*(\.\d+)?$",
}
"""numbers with a separator of thousands"""
COMMA = r"^[+-]?(\d+(,\d*)?|,\d+)$"
"""numbers with a decimal comma"""
LEADING_ZERO = r"^[+-]?0\d"
"""of names such as 007 and 01234"""
UNIT = r"^(?P<prefix>[$€£¥]\s?)?(?P<number>[+-]?[\d.,']+)(?P<suffix>\s?[A-Za-z%°µ€$£¥/²³]{1,8})?$"
MAX_EXACT, MAX_DECIMALS = 2.0**52, 22
"""numbers up to which float64 has all of one more decimal, and the greatest power of ten that it has"""
SAMPLE, MANY = 200, 10_000  # texts by which formats are found, before all are read, and by which zeros are
DATE_FORMATS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y",
    "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%Y-%m", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%d-%b-%y", "%b %Y",
    "%d %b, %Y", "%d %B, %Y", "%b %d %Y", "%B %d %Y",
)  # fmt: skip
TIME_LIKE = r"^(\d{1,4}[-/.:, ]|[A-Z][a-z]{2,8} \d).{1,38}$"
"""what dates and times begin with"""
TIME_FORMATS = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p")
ZONES = ("", "Z", " UTC", "%z")
DATETIME_FORMATS = tuple(
    date + between + time + zone
    for zone, time, between, date in product(ZONES, TIME_FORMATS, " T", DATE_FORMATS)
    if between == " " or date == "%Y-%m-%d"
)
"""formats of `strftime` that are tried, in this order"""
DAY = 86_400


NUMBER_SHARE, MAX_UNITS = 0.9, 10
"""share of numbers from which on texts among them are thought a mistake, and units that numbers may have, below it"""


@dataclass(frozen=True)
class NumberFormat:
    """How numbers are written."""

    decimals: int | None = 0  # at most; None where they are no decimals, such as 1e-7
    written: int = 0  # decimals that each has, though they be zeros
    decimal: str = "."
    thousands: str = ""
    prefix: str = ""
    suffix: str = ""

    @property
    def as_details(self) -> dict[str, Any]:
        """What of it is not plain, for `Column.details`."""
        names = ("written", "decimal", "thousands", "prefix", "suffix")
        plain = NumberFormat()
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(plain, name)}

    @classmethod
    def of(cls, decimals: int | None, details: dict[str, Any]) -> "NumberFormat":
        """The inverse of `as_details`."""
        names = ("written", "decimal", "thousands", "prefix", "suffix")
        return cls(decimals, **{name: details[name] for name in names if name in details})


def matches(texts: "pa.Array", pattern: str) -> np.ndarray:
    """Which texts match a pattern."""
    import pyarrow.compute as pc

    return np.asarray(pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False), bool)


def all_match(texts: "pa.Array", pattern: str) -> bool:
    """Whether all texts match a pattern: most do not, which the first few tell."""
    return bool(matches(texts[:SAMPLE], pattern).all()) and bool(matches(texts, pattern).all())


def find_number_format(texts: "pa.Array", *, has_commas: bool = False) -> NumberFormat | None:
    """How these numbers are written; None where they are none.

    `has_commas` says that the file separates columns by another character than a comma, as those do whose decimals
    follow one: then 1,234 is no thousand.
    """
    if all_match(texts, PLAIN):
        return with_decimals(texts, NumberFormat())
    if all_match(texts, COMMA) and (has_commas or not all_match(texts, GROUPED[","])):
        return with_decimals(texts, NumberFormat(decimal=","))
    for thousands, pattern in GROUPED.items():
        if all_match(texts, pattern):
            has_comma = thousands == "." or (thousands == " " and any_has(texts, ","))
            return with_decimals(texts, NumberFormat(decimal="," if has_comma else ".", thousands=thousands))
    return find_unit(texts, has_commas)


def find_unit(texts: "pa.Array", has_commas: bool) -> NumberFormat | None:
    """How numbers are written that have all the same unit, such as "12 kg" and "$5"."""
    import pyarrow.compute as pc

    if not all_match(texts, UNIT):
        return None
    parts = pc.extract_regex(texts, UNIT)
    prefixes, suffixes = (pc.unique(parts.field(i)).to_pylist() for i in (0, 2))
    if len(prefixes) > 1 or len(suffixes) > 1 or not (prefixes[0] or suffixes[0]):
        return None
    numbers = find_number_format(parts.field(1), has_commas=has_commas)
    if numbers is None:
        return None
    return NumberFormat(
        numbers.decimals, numbers.written, numbers.decimal, numbers.thousands, prefixes[0] or "", suffixes[0] or ""
    )


def any_has(texts: "pa.Array", part: str) -> bool:
    """Whether any of the texts has this part."""
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring(texts, part)).as_py())


def with_decimals(texts: "pa.Array", form: NumberFormat) -> NumberFormat:
    """The format with the decimals that these numbers have."""
    import pyarrow.compute as pc

    if form.decimal == "." and (any_has(texts, "e") or any_has(texts, "E")):
        return NumberFormat(None)
    points = pc.find_substring(texts, form.decimal).to_numpy(zero_copy_only=False)
    lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
    counts = np.where(points < 0, 0, lengths - points - 1)
    return NumberFormat(int(counts.max()), int(counts.min()), form.decimal, form.thousands)


def parse_numbers(texts: "pa.Array", form: NumberFormat) -> np.ndarray:
    """The numbers that texts are, NaN of those that are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if form.prefix or form.suffix:
        texts = pc.replace_substring_regex(texts, f"^{re.escape(form.prefix)}|{re.escape(form.suffix)}$", "")
    if form.thousands:
        for mark in SPACES if form.thousands == " " else form.thousands:
            texts = pc.replace_substring(texts, mark, "")
    if form.decimal != ".":
        texts = pc.replace_substring(texts, form.decimal, ".")
    try:
        parsed = pc.cast(texts, "float64")  # it takes what PLAIN does, and words for infinity and NaN
    except pa.ArrowInvalid:
        parsed = pc.cast(pc.if_else(matches(texts, PLAIN), texts, None), "float64")
    numbers = np.array(parsed.to_numpy(zero_copy_only=False), np.float64)
    numbers[np.isinf(numbers)] = np.nan  # 1e999
    return numbers


def format_numbers(numbers: np.ndarray, form: NumberFormat) -> list[str]:
    """Numbers as they are written, with as many decimals as they need and no fewer than all have."""
    most, least = form.decimals, form.written
    most = most if most is None else max(most, least)
    if most is None:
        texts = [repr(float(x)) for x in numbers]
    else:
        texts = [f"{x:,.{most}f}" if form.thousands else f"{x:.{most}f}" for x in numbers]
        if most > least:
            texts = [trim_zeros(text, most - least, bool(least)) for text in texts]
    if form.thousands or form.decimal != ".":
        marks = str.maketrans({",": form.thousands, ".": form.decimal})
        texts = [text.translate(marks) for text in texts]
    return [f"{form.prefix}{text}{form.suffix}" for text in texts] if form.prefix or form.suffix else texts


def trim_zeros(text: str, n: int, keeps_point: bool) -> str:
    """A number without the last zeros, at most n, nor a point that is then the last."""
    short = text.rstrip("0")
    short = text[: max(len(short), len(text) - n)]
    return short if keeps_point else short.rstrip(".")


def exact_decimals(numbers: np.ndarray, decimals: int | None) -> int | None:
    """The decimals, where float64 has all numbers of so many; else None."""
    if decimals and decimals > MAX_DECIMALS:
        return None
    if decimals and len(numbers) and np.abs(numbers).max() * 10.0**decimals >= MAX_EXACT:
        return None
    return decimals


@dataclass(frozen=True)
class TimeFormat:
    """How dates and times are written."""

    kind: TimeKind
    format: str
    is_ambiguous: bool = False  # whether day and month could be the other way round
    decimals: int = 0  # of seconds
    is_padded: bool = True  # whether a day is 05, not 5


def find_time_format(texts: "pa.Array") -> TimeFormat | None:
    """How these dates or times are written; None where they are none, or are written in several ways."""
    sample = texts[:SAMPLE]
    if not matches(sample, TIME_LIKE).all():
        return None
    kinds: tuple[tuple[TimeKind, tuple[str, ...]], ...] = (
        ("date", DATE_FORMATS), ("datetime", DATETIME_FORMATS), ("time", TIME_FORMATS),
    )  # fmt: skip
    first = sample[0].as_py()
    for kind, formats in kinds:
        fitting = [form for form in formats if fits(first, form) and parses(sample, form)]
        fitting = [form for form in fitting if len(texts) <= SAMPLE or parses(texts, form)]
        if fitting:
            return describe_times(texts, kind, fitting[0], len(fitting) > 1)
    return None


def describe_times(texts: "pa.Array", kind: TimeKind, form: str, more: bool = False) -> TimeFormat:
    """A format with what `strftime` leaves open: the decimals of seconds, and zeros before days and months."""
    form = form.replace("%z", common_offset(texts)) if "%z" in form else form
    exact = TimeFormat(kind, form, more)
    if "%f" in form:
        exact = TimeFormat(kind, form, more, max(map(len, parts_of(texts, r"\.(?P<part>\d+)"))))
    some = texts[:: max(1, len(texts) // MANY)]
    numbers, wanted = parse_times(some, kind, form), some.to_pylist()
    loose = TimeFormat(kind, form, more, exact.decimals, is_padded=False)
    is_loose = format_times(numbers, exact) != wanted == format_times(numbers, loose)
    return loose if is_loose else exact


def common_offset(texts: "pa.Array") -> str:
    """The offset from UTC that all of these times have, such as +02:00, which stay in it; else %z, and UTC."""
    offsets = parts_of(texts, r"(?P<part>[+-]\d\d:?\d\d)$")
    return offsets[0] if len(offsets) == 1 else "%z"


def parts_of(texts: "pa.Array", pattern: str) -> list[str]:
    """The different texts of the group `part` of a pattern, "" where it does not match."""
    import pyarrow.compute as pc

    parts = pc.struct_field(pc.extract_regex(texts, pattern), "part")
    return [part or "" for part in pc.unique(parts).to_pylist()]


def fits(text: str, form: str) -> bool:
    """Whether one text is of a format."""
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return True


def fitting_format(text: str) -> str:
    """The first format of dates that a text is of, or nothing."""
    return next((form for form in (*DATE_FORMATS, *DATETIME_FORMATS) if fits(text, form)), "")


def parses(texts: "pa.Array", form: str) -> bool:
    """Whether all texts are dates or times of this format."""
    return not np.isnan(parse_times(texts, "datetime", form)).any()


def parse_times(texts: "pa.Array", kind: str, form: str) -> np.ndarray:
    """Days or seconds, as `columns.py` counts them, of texts in a format; NaN of those that are not."""
    import pandas as pd

    is_utc = "%z" in form
    times = pd.to_datetime(
        pd.Series(texts.to_numpy(zero_copy_only=False), dtype=object), format=form, errors="coerce", utc=is_utc
    )
    return count_times(times, kind)


def count_times(times: Any, kind: str) -> np.ndarray:
    """Days or seconds of pandas' times, NaN where there is none; UserError for one beyond what microseconds can say."""
    import pandas as pd

    try:
        if getattr(times.dt, "tz", None) is not None:
            times = times.dt.tz_convert("UTC").dt.tz_localize(None)
        micros = times.astype("datetime64[us]").to_numpy().astype(np.int64)
    except pd.errors.OutOfBoundsDatetime as error:
        where = f"the column {times.name}" if times.name is not None else "a column"
        raise UserError(f"{where} has a time that no calendar has: {first_line(error)}") from error
    seconds = np.where(pd.isna(times), np.nan, micros / 1e6)
    if kind == "time":
        return np.mod(seconds, DAY)
    return np.floor(seconds / DAY) if kind == "date" else seconds


def as_times(numbers: np.ndarray, kind: str) -> Any:
    """Days or seconds, without NaN, as pandas' times, to the microsecond."""
    import pandas as pd

    micros = np.rint(numbers * (DAY * 1e6 if kind == "date" else 1e6)).astype(np.int64)
    return pd.DatetimeIndex(micros.astype("datetime64[us]"))


def format_times(numbers: np.ndarray, form: TimeFormat) -> list[str]:
    """Days or seconds, without NaN, as they are written."""
    times = as_times(numbers, form.kind)
    if "%z" in form.format:
        times = times.tz_localize("UTC")
    before, point, after = form.format.partition("%f")
    texts = list(times.strftime(before))
    if point:
        digits = [f"{micro:06d}"[: form.decimals] for micro in times.microsecond]
        rest = list(times.strftime(after)) if after else [""] * len(texts)
        texts = [a + b + c for a, b, c in zip(texts, digits, rest, strict=True)]
    return texts if form.is_padded else [re.sub(r"(?<!\d)0(?=\d(?!\d))", "", text, count=2) for text in texts]


def find_doubt(texts: "pa.Array") -> tuple[int, str] | None:
    """Which text is unlike the others, and how, where most are numbers, numbers with a unit, or dates."""
    import pyarrow.compute as pc

    are_numbers, n = matches(texts, PLAIN), len(texts)
    if NUMBER_SHARE * n <= are_numbers.sum() < n:
        return int(np.flatnonzero(~are_numbers)[0]), f"is no number, as {are_numbers.sum():,} of {n:,} values are"
    if matches(texts[:SAMPLE], UNIT).all() and matches(texts, UNIT).all():
        parts = pc.extract_regex(texts, UNIT)
        units = [a + b for a, b in zip(parts.field(0).to_pylist(), parts.field(2).to_pylist(), strict=True)]
        common, *others = Counter(units).most_common()
        if 0 < len(others) < MAX_UNITS:
            return units.index(others[0][0]), f"has another unit than most, which have {common[0].strip() or 'none'!r}"
    if matches(texts[:SAMPLE], TIME_LIKE).all():
        sample = texts[:SAMPLE].to_pylist()
        formats = list(takewhile(bool, map(fitting_format, sample)))
        if len(formats) == len(sample) and len(set(formats)) > 1:
            common_format = Counter(formats).most_common(1)[0][0]
            i = next(i for i, text in enumerate(sample) if not fits(text, common_format))
            return i, f"is a date written in another way than most, {common_format}"
    return None
