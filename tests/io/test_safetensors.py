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
from ganvas.io.safetensors import read_header, read_safetensors, write_safetensors

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


@pytest.mark.parametrize("place", [-1, -9, -16])
def test_a_flipped_bit_is_found(place: int) -> None:
    """Of a tensor at once; of the header, which its schema checks, where it is asked for."""
    header = {"model": "vae", "step": 4000, "ratio": 0.1}
    write_safetensors(FILE, header, {"a": torch.arange(4), "b": torch.tensor([float("nan")] * 2)})
    assert read_safetensors(FILE, check_header=True)[0] == header == read_header(FILE)
    content = bytearray(FILE.read_bytes())
    content[place] ^= 4
    FILE.write_bytes(content)
    with pytest.raises(UserError, match="is damaged or no safetensors file: its numbers are not those that were"):
        read_safetensors(FILE)
    content[place] ^= 4
    FILE.write_bytes(content.replace(b"4000", b"4001"))
    assert read_safetensors(FILE)[0]["step"] == 4001
    with pytest.raises(UserError, match="its header is not the one that was written"):
        read_safetensors(FILE, check_header=True)
