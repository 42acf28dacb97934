"""Safetensors files with a header of ours: what is written comes back, and anything else is refused in a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from ganvas.errors import UserError
from ganvas.io.safetensors import read_header, read_safetensors

FILE = Path("weights.safetensors")
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4), st.lists(st.floats(width=32), min_size=1, max_size=5))
def test_header_and_tensors_come_back(header: dict[str, Any], numbers: list[float]) -> None:
    tensor = torch.tensor(numbers)
    save_file({"G.weight": tensor}, FILE, {"ganvas": json.dumps(header)})
    found, tensors = read_safetensors(FILE)
    assert found == header == read_header(FILE)
    torch.testing.assert_close(tensors["G.weight"], tensor, rtol=0, atol=0, equal_nan=True)


@given(JSON.filter(lambda value: not isinstance(value, dict)))
def test_a_header_that_is_no_mapping_is_refused(value: Any) -> None:
    save_file({"G.weight": torch.zeros(1)}, FILE, {"ganvas": json.dumps(value)})
    with pytest.raises(UserError, match="is damaged or no safetensors file"):
        read_safetensors(FILE)


@given(st.binary(max_size=40), st.integers(0, 2**16))
def test_bytes_that_are_no_safetensors_file_are_refused(content: bytes, size: int) -> None:
    FILE.write_bytes(size.to_bytes(8, "little") + content)
    with pytest.raises(UserError):
        read_safetensors(FILE)
