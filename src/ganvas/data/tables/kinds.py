"""What kind a column of a table is, by its values and its name, unless the caller says it.

A column is looked at through its different values, `uniques`, and how often each occurs, `counts`: texts as an array of
Arrow, others as NumPy's numbers.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from ...errors import UserError
from .columns import CATEGORY_KINDS, Column, ColumnKind, Value
from .identifiers import describe_names, describe_numbers
from .texts import (
    DAY,
    LEADING_ZERO,
    NumberFormat,
    TimeFormat,
    TimeKind,
    all_match,
    describe_times,
    exact_decimals,
    find_doubt,
    find_number_format,
    find_time_format,
    matches,
    parse_numbers,
    parse_times,
)

if TYPE_CHECKING:
    import pyarrow as pa

NumberKind = Literal["integer", "real"]
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "NaT", "null", "NULL", "Null", "None", "?")
"""texts in files that stand for a missing value"""
NUMBER_MISSING = ("-", "--", ".")
"""the same, where all else is a number, a date or a time"""
BOOLEANS = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"))
MIN_ATOM_SHARE, ATOM_RATIO, MAX_ATOMS = 0.04, 5, 10
"""share of the rows that an atom has at least, how often the median of other numbers, and how many there are at most"""
MIN_IDENTIFIERS, IDENTIFIER_SHARE, MIN_NAMES = 20, 0.5, 50
"""rows by which identifiers can be told; share of texts that are different in them, and how many are, at least"""
IDENTIFIER_NAME = re.compile(r"(^|.*[ _.-])(id|key|index|uuid|guid|nr|no|number|row|rownum)$|^Unnamed: 0$", re.I)
CAMEL_NAME = re.compile(r".*[a-z](Id|ID|Key|Nr|No|Number)$")
MAX_WHOLE = 2.0**53
MAYBE_THOUSANDS = r"^[+-]?\d{1,3}([.,]\d{3})?$"
"""numbers that could have a separator of thousands in place of decimals"""
NARROW = {"float[pyarrow]": "float32", "Float32": "float32", "halffloat[pyarrow]": "float16"} | {
    name: name for name in ("float16", "float32")
}
"""NumPy's types of numbers with fewer digits, by pandas' names of them"""


class BadValueError(ValueError):
    """A value that is not of the kind that the caller says: its index among the different ones, and what it is not."""

    def __init__(self, index: int, what: str) -> None:
        super().__init__(what)
        self.index = index


@dataclass(frozen=True)
class Values:
    """A column as it was read: its different values, how often each occurs, and what the frame says of them."""

    name: str
    uniques: "pa.Array | np.ndarray"
    counts: np.ndarray
    n: int  # rows, those without a value among them
    dtype: str
    is_file: bool  # whether texts are of a file without types
    details: dict[str, Any]
    has_commas: bool = False  # whether decimals of the file may follow a comma

    @property
    def missing(self) -> float:
        """Share of the rows without a value."""
        return (self.n - int(self.counts.sum())) / self.n if self.n else 0.0

    def column(self, kind: ColumnKind, dtype: str = "", **values: Any) -> Column:
        """A column of this kind."""
        details = {**self.details, **values.pop("details", {})}
        return Column(self.name, kind, dtype or self.dtype, missing=self.missing, details=details, **values)


@dataclass(frozen=True)
class Choice:
    """What the caller says of a column."""

    kind: str
    rest: str = ""  # categories from low to high, or the format of dates

    @property
    def order(self) -> tuple[str, ...]:
        """Categories from low to high, as texts."""
        return tuple(part.strip() for part in self.rest.split("<")) if self.kind == "ordered" else ()


KINDS = (*get_args(ColumnKind), "ordered")
CHOICE_PATTERN = re.compile(rf"(?P<name>.+?):(?P<kind>{'|'.join(KINDS)})(=(?P<rest>.+))?", re.S)


def parse_choice(text: str) -> tuple[str, Choice]:
    """The name of a column and what is said of it, from age:integer, size:ordered=S<M<L or born:date=%d.%m.%Y."""
    match = CHOICE_PATTERN.fullmatch(text)
    if match is None:
        raise UserError(f"column={text}: give NAME:KIND, where the kind is one of {', '.join(KINDS)}")
    choice = Choice(match["kind"], match["rest"] or "")
    if choice.kind == "ordered" and len(choice.order) < 2:
        raise UserError(f"column={text}: name the categories from low to high, e.g. {match['name']}:ordered=S<M<L")
    if choice.rest and choice.kind not in ("ordered", "date", "datetime", "time"):
        raise UserError(f"column={text}: only ordered categories, dates and times have something after {choice.kind}")
    return match["name"], choice


def infer(values: Values, choice: Choice | None) -> tuple[Column, list[str]]:
    """The column that these values are, and notes; UserError where they are not of the kind that the caller says."""
    if choice is not None:
        return choose(values, choice)
    if not len(values.uniques):
        return values.column("constant", values.dtype if not values.is_file else "float64"), []
    column, notes = guess(values)
    if column.is_learnt and len(values.uniques) == 1 and column.kind != "identifier":
        column = as_categories(values, column)
        column = replace(column, kind="category" if values.missing else "constant")
    return column, notes


def guess(values: Values) -> tuple[Column, list[str]]:
    """The column that these values are most likely."""
    if isinstance(values.uniques, np.ndarray):
        return guess_numbers(values, values.uniques, exact_decimals_of(values.uniques, values.dtype))
    texts = values.uniques
    form = find_number_format(texts, has_commas=values.has_commas)
    is_name = form is not None and bool(matches(texts, LEADING_ZERO).any())
    has_unit = form is not None and bool(form.prefix or form.suffix)
    if form is not None and not is_name and (values.is_file or has_unit):
        numbers = parse_all(texts, form)
        plain = replace(values, details={**values.details, **form.as_details})
        if not has_unit:
            plain = replace(plain, dtype=number_dtype(texts, numbers, form.decimals, values.missing))
        notes = [f"{values.name} has numbers with a unit, {texts[0].as_py()!r}: learnt as numbers"] if has_unit else []
        if values.has_commas and form.decimals == 3 and all_match(texts, MAYBE_THOUSANDS):
            text = next(text for text in texts.to_pylist() if form.decimal in text)
            what = f"{text!r}: taken as a fraction; if it is a thousand, leave out {form.decimal!r}"
            notes.append(f"{values.name} has {what}")
        is_whole = form.decimals is not None and np.array_equal(numbers, np.rint(numbers))  # as 41.0 is
        column, more = guess_numbers(plain, numbers, 0 if is_whole else exact_decimals(numbers, form.decimals))
        return column, notes + more
    times = None if is_name else find_time_format(texts)
    if times is not None:
        ambiguous = f"{values.name} could have the day or the month first: taken as {times.format}"
        how = f"--column '{values.name}:{times.kind}=FORMAT' says it otherwise"
        notes = [f"{ambiguous}; {how}"] if times.is_ambiguous else []
        notes += [f"{values.name} has times of several offsets: samples have UTC's"] if "%z" in times.format else []
        return as_times(values, times), notes
    return guess_names(values, texts, form is not None)


def parse_all(texts: "pa.Array", form: NumberFormat) -> np.ndarray:
    """The numbers of texts that are all written so; BadValueError for one beyond those of float64."""
    numbers = parse_numbers(texts, form)
    if (bad := np.flatnonzero(np.isnan(numbers))).size:
        raise BadValueError(int(bad[0]), "is too large a number: mend it")
    return numbers


def number_dtype(texts: "pa.Array", numbers: np.ndarray, decimals: int | None, missing: float) -> str:
    """The type that `pandas.read_csv` gives to a column of numbers."""
    is_whole = decimals == 0 and not missing and not matches(texts, r"\.").any()
    return "int64" if is_whole and np.abs(numbers).max() < 2**63 else "float64"


def exact_decimals_of(numbers: np.ndarray, dtype: str) -> int | None:
    """The decimals that numbers of a type have; None where float64 does not have them so."""
    narrow = np.dtype(NARROW.get(dtype, "float64"))
    if numbers.dtype.kind in "iu":
        return 0
    if np.abs(numbers).max(initial=0) >= MAX_WHOLE:
        return None
    for decimals in range(16):
        if exact_decimals(numbers, decimals) is None:
            return None
        if np.array_equal(np.round(numbers[:1000], decimals).astype(narrow), numbers[:1000].astype(narrow)) and (
            np.array_equal(np.round(numbers, decimals).astype(narrow), numbers.astype(narrow))
        ):
            return decimals
    return None


def guess_numbers(values: Values, numbers: np.ndarray, decimals: int | None) -> tuple[Column, list[str]]:
    """A column of numbers: a boolean, an identifier, or numbers on a scale."""
    if values.details.get("times"):
        return number_column(values, numbers, values.details["times"], decimals), []
    if values.dtype in ("bool", "boolean", "bool[pyarrow]") or values.details.get("objects") == "bool":
        return as_categories(values, values.column("boolean")), []
    if decimals == 0 and len(numbers) == 2 and set(numbers.tolist()) == {0, 1}:
        return as_categories(values, values.column("boolean")), []
    n = len(numbers)
    is_unique = n == values.n and n >= MIN_IDENTIFIERS and decimals == 0
    is_counted = is_unique and np.array_equal(numbers, np.arange(n) + numbers[0]) and numbers[0] in (0, 1)
    is_named = bool(IDENTIFIER_NAME.fullmatch(values.name) or CAMEL_NAME.fullmatch(values.name))
    has_unit = bool(values.details.get("prefix") or values.details.get("suffix"))
    if (is_counted or (is_unique and is_named)) and not has_unit:
        return describe_numbers(values, numbers), []
    if decimals == 0 and np.abs(numbers).max() > MAX_WHOLE:
        return describe_numbers(values, numbers), [f"{values.name} has numbers beyond 2^53: taken as an identifier"]
    return number_column(values, numbers, "integer" if decimals == 0 else "real", decimals), []


def number_column(values: Values, numbers: np.ndarray, kind: ColumnKind, decimals: int | None) -> Column:
    """A column of numbers on a scale."""
    details = {"step": find_step(numbers)} if kind in ("datetime", "time") else {}
    return values.column(
        kind, decimals=decimals, low=float(numbers.min()), high=float(numbers.max()),
        atoms=find_atoms(numbers, values.counts, values.n), details=details,
    )  # fmt: skip


def find_atoms(numbers: np.ndarray, counts: np.ndarray, n: int) -> tuple[float, ...]:
    """The numbers that many rows have exactly, where the others have far fewer: the most frequent first."""
    numbers, group = np.unique(numbers, return_inverse=True)  # as texts may be written in two ways
    counts = np.bincount(group, counts)
    least = max(MIN_ATOM_SHARE * n, ATOM_RATIO * float(np.median(counts)), 2)
    order = np.argsort(-counts, kind="stable")[:MAX_ATOMS]
    return tuple(float(numbers[i]) for i in order if counts[i] >= least)


def find_step(seconds: np.ndarray) -> float:
    """The largest unit of time, in seconds, of which all numbers are multiples."""
    for step in (86_400.0, 3600.0, 60.0, 1.0, 1e-3):
        if np.allclose(seconds / step, np.rint(seconds / step), rtol=0, atol=1e-6 / step):
            return step
    return 1e-6


def as_times(values: Values, form: TimeFormat) -> Column:
    """A column of dates or times that are texts."""
    numbers = parse_times(values.uniques, form.kind, form.format)
    details = ({} if form.is_padded else {"padded": False}) | ({"fraction": form.decimals} if form.decimals else {})
    column = number_column(values, numbers, form.kind, None)
    dtype = values.dtype if not values.is_file else "str"
    return replace(column, format=form.format, dtype=dtype, details={**column.details, **details})


def guess_names(values: Values, texts: "pa.Array", are_numbers: bool) -> tuple[Column, list[str]]:
    """A column of texts: a boolean, categories, or an identifier; BadValueError where it was to have numbers."""
    words, n, n_present = {text.lower() for text in texts[:3].to_pylist()}, len(texts), int(values.counts.sum())
    if n == 2 and any(words == set(pair) for pair in BOOLEANS):
        return as_categories(values, values.column("boolean")), []
    notes, is_identifier = list[str](), n > MIN_NAMES and n > IDENTIFIER_SHARE * n_present
    if are_numbers:
        how = f"if they are quantities, say --column '{values.name}:real'"
        notes = [f"{values.name} has numbers as texts, such as {texts[0].as_py()!r}: taken as names; {how}"]
    elif (doubt := find_doubt(texts)) is not None:
        i, what = doubt
        if is_identifier:
            raise BadValueError(i, f"{what}: mend it, or take all as names by --column '{values.name}:category'")
        notes = [f"{values.name}: {texts[i].as_py()!r} {what}: all are taken as names"]
    if is_identifier:
        return describe_names(values, texts), notes
    return as_categories(values, values.column("category")), notes


def as_categories(values: Values, column: Column, order: Sequence[Value] = ()) -> Column:
    """The column with its values as categories, and how often each occurs."""
    names, dtype = category_values(values, column)
    counts = dict(zip(names, values.counts.tolist(), strict=True))
    categories = tuple(order) or tuple(sorted(counts))
    sizes = [counts.get(name, 0) for name in categories]
    details = {**column.details, "counts": sizes}
    if not isinstance(values.uniques, np.ndarray) and isinstance(categories[0], bool):
        details["words"] = [text for _, text in sorted(zip(names, values.uniques.to_pylist(), strict=True))]
    return replace(column, categories=categories, dtype=dtype, details=details)


def category_values(values: Values, column: Column) -> tuple[list[Any], str]:
    """The values as Python's own, in their order, and the type of the column."""
    dtype = values.dtype
    if isinstance(values.uniques, np.ndarray):
        is_bool = dtype in ("bool", "boolean", "bool[pyarrow]") or values.details.get("objects") == "bool"
        whole = bool(np.array_equal(values.uniques, np.rint(values.uniques)))
        convert = bool if is_bool else int if whole else float
        return [convert(x) for x in values.uniques.tolist()], dtype
    names: list[Any] = values.uniques.to_pylist()
    if not values.is_file:
        return names, dtype
    words = {name.lower() for name in names}
    if column.kind in ("boolean", "constant") and words <= {"false", "true"} and len(words) == len(names):
        return [name.lower() == "true" for name in names], "object" if values.missing else "bool"
    form = find_number_format(values.uniques)
    if form is not None and not (form.prefix or form.suffix or form.thousands) and form.decimal == ".":
        numbers = parse_numbers(values.uniques, form)
        if form.decimals == 0 and not matches(values.uniques, LEADING_ZERO).any():
            texts = [str(int(x)) for x in numbers]
            if texts == names:
                return [int(x) for x in names], "float64" if values.missing else "int64"
    return names, "str"


def choose(values: Values, choice: Choice) -> tuple[Column, list[str]]:
    """The column of the kind that the caller says; BadValueError where a value is not of it."""
    kind, texts = choice.kind, values.uniques
    if kind in CATEGORY_KINDS or kind == "ordered":
        return choose_categories(values, choice), []
    if kind == "constant":
        if len(values.uniques) > 1:
            raise BadValueError(1, "is another value than the first, and a constant has one")
        return infer(values, None)
    if kind == "identifier":
        if isinstance(texts, np.ndarray):
            return describe_numbers(values, texts), []
        if values.is_file and (form := find_number_format(texts)) == NumberFormat():
            numbers = parse_numbers(texts, form)
            return describe_numbers(replace(values, dtype=number_dtype(texts, numbers, 0, values.missing)), numbers), []
        return describe_names(values, texts), []
    if kind in ("integer", "real"):
        return choose_numbers(values, cast("NumberKind", kind)), []
    return choose_times(values, cast("TimeKind", kind), choice.rest), []


def choose_categories(values: Values, choice: Choice) -> Column:
    """A column of categories, or a boolean."""
    column = values.column("boolean" if choice.kind == "boolean" else "category")
    names, _ = category_values(values, column)
    if choice.kind == "boolean" and len(names) > 2:
        raise BadValueError(2, "is a third value, and a boolean has two")
    by_text = {str(name): name for name in names}
    if choice.kind != "ordered":
        return as_categories(values, column)
    if unknown := [i for i, name in enumerate(names) if str(name) not in choice.order]:
        raise BadValueError(unknown[0], f"is none of the ordered categories {', '.join(choice.order)}")
    order = [by_text.get(text, text) for text in choice.order if text in by_text or not by_text]
    return replace(as_categories(values, column, order), is_ordered=True)


def choose_numbers(values: Values, kind: NumberKind) -> Column:
    """A column of integers or reals."""
    numbers, decimals = values.uniques, None
    if not isinstance(numbers, np.ndarray):
        texts = values.uniques
        form = find_number_format(texts, has_commas=values.has_commas)
        if form is None:
            numbers = parse_numbers(texts, NumberFormat())
            raise BadValueError(
                int(np.flatnonzero(np.isnan(numbers))[0]) if np.isnan(numbers).any() else 0, "is no number"
            )
        numbers, decimals = parse_all(texts, form), form.decimals
        values = replace(values, details={**values.details, **form.as_details})
        if values.is_file and not (form.prefix or form.suffix):
            values = replace(values, dtype=number_dtype(texts, numbers, decimals, values.missing))
        decimals = exact_decimals(numbers, decimals)
    elif values.details.get("times"):
        raise BadValueError(0, "is a date or a time")
    else:
        decimals = exact_decimals_of(numbers, values.dtype)
    if kind == "integer" and (broken := np.flatnonzero(numbers != np.rint(numbers))).size:
        raise BadValueError(int(broken[0]), "is no integer")
    return number_column(values, numbers.astype(np.float64), kind, 0 if kind == "integer" else decimals)


def choose_times(values: Values, kind: TimeKind, form: str) -> Column:
    """A column of dates or times, in the format that the caller says or in one that fits."""
    texts = values.uniques
    if isinstance(texts, np.ndarray):
        if values.details.get("times") not in ("date", kind) or kind == "time":
            raise BadValueError(0, f"is no {kind}")
        seconds = DAY if (values.details["times"], kind) == ("date", "datetime") else 1
        return number_column(values, texts * float(seconds), kind, None)
    if not form:
        time_form = find_time_format(texts)
        if time_form is None or time_form.kind != kind:
            how = f"say its format, e.g. --column '{values.name}:{kind}=%d.%m.%Y'"
            raise BadValueError(0, f"is no {kind} of a format that all have: {how}")
        return as_times(values, time_form)
    if (bad := np.flatnonzero(np.isnan(parse_times(texts, kind, form)))).size:
        raise BadValueError(int(bad[0]), f"is no {kind} of the format {form}")
    return as_times(values, describe_times(texts, kind, form))
