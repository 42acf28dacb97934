"""Conformal p-values: by their definition, and false alarms by simulation."""

import pytest
import torch

from ganvas.metrics.conformal import conformal_p_values


def test_they_are_what_their_equation_says() -> None:
    held_out = torch.tensor([3.0, 1.0, 2.0, 2.0, torch.inf], dtype=torch.float64)
    scores = torch.tensor([0.0, 1.0, 2.0, 2.5, 3.0, 4.0, torch.inf], dtype=torch.float64)
    expected = [(1 + sum(h >= s for h in held_out.tolist())) / 6 for s in scores.tolist()]
    assert conformal_p_values(scores, held_out).tolist() == expected


@pytest.mark.parametrize("digits", [None, 1], ids=["distinct", "ties"])
@pytest.mark.parametrize("n", [19, 200])
def test_ordinary_examples_raise_five_false_alarms_in_a_hundred(n: int, digits: int | None) -> None:
    """Over many draws of the held-out part, whose size and ties may only make alarms rarer."""
    draws = torch.randn(4000, n + 50, dtype=torch.float64).exp()
    draws = draws if digits is None else draws.round(decimals=digits)
    p = torch.stack([conformal_p_values(row[n:], row[:n]) for row in draws])
    rate = (p <= 0.05).double().mean().item()
    assert rate <= 0.053
    assert digits is not None or rate == pytest.approx(0.05, abs=0.004)
