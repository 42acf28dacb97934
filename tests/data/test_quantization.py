"""The range of numbers that are black and white, as text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from ganvas.data import DataOptions
from ganvas.data.quantization import normalize_range

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(NUMBERS, NUMBERS)
def test_bounds_come_back_as_they_were_given(low: float, high: float) -> None:
    for value in (f"{low!r},{high!r}", f" {low!r}  {high!r}", (low, high), [str(low), str(high)]):
        if low < high:
            text = normalize_range(value)
            assert DataOptions(range=str(text)).bounds == (low, high)
            assert normalize_range(text) == text
        else:
            with pytest.raises(PydanticCustomError, match="the lower first"):
                normalize_range(value)


@given(st.text(max_size=20))
def test_any_text_is_a_range_or_refused(text: str) -> None:
    try:
        bounds = DataOptions(range=str(normalize_range(text))).bounds
    except PydanticCustomError:
        return
    assert bounds == "auto" or (bounds is not None and bounds[0] < bounds[1])
