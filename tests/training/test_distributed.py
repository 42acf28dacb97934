"""Ranks that train together: real processes on the loopback, joined by gloo."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ganvas.io.safetensors import select_prefix
from tests.support.ranks import BATCH, CASES, draws_of_two_ranks, start_ranks, train_case, wait_for


@pytest.fixture(scope="module")
def trained_by_two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """What two ranks make of every case; they also check that all skip a gradient that is not finite on one."""
    file: Path = tmp_path_factory.mktemp("ranks") / "results.safetensors"
    for code, _, errors in wait_for(start_ranks(["-m", "tests.support.ranks", str(file)])):
        assert code == 0, errors
    return load_file(file)


@pytest.mark.parametrize("fsdp", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_two_ranks_equal_one_with_batches_twice_as_large(
    name: str, fsdp: bool, trained_by_two: dict[str, Tensor]
) -> None:
    with draws_of_two_ranks():
        expected = train_case(name, 2 * BATCH, fsdp)
    actual = select_prefix(trained_by_two, f"{'fsdp/' * fsdp}{name}/")
    assert {f"{name}/{key}" for key in actual} == expected.keys()
    for key, tensor in actual.items():
        if "accuracy" not in key:  # of several ranks it is by each one's own border
            torch.testing.assert_close(tensor, expected[f"{name}/{key}"], atol=1e-5, rtol=1e-5, msg=key)
