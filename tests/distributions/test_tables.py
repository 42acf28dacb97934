"""p(x|z) of a table's rows, and the last layer of a generator of such rows, against NumPy."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ganvas.distributions.tables import (
    Columns,
    ColumnsHead,
    GumbelOutput,
    draw_truncated_logistic,
    truncated_logistic_log_density,
)
from ganvas.table_shape import Block, TableShape

SHAPE = TableShape((Block(2, 3, has_missing=True), Block(3, 0, has_missing=False), Block(0, 1, has_missing=False)))
CASES = [(m, s) for m in (-1.0, 0.0, 0.3, 0.9, 2.0) for s in (-2.0, -0.5, 0.0, 3.0)]
each = pytest.mark.parametrize(("location", "log_scale"), CASES)


def reference(location: float, log_scale: float) -> tuple[float, float, float]:
    """Scale, and the logistic's distribution function at 0 and at 1."""
    scale = np.exp(log_scale)
    low, high = stats.logistic.cdf([0, 1], location, scale)
    return scale, low, high


@each
def test_the_density_is_that_of_a_logistic_cut_off(location: float, log_scale: float) -> None:
    u = np.linspace(0, 1, 20_001)
    x, s = torch.from_numpy(u)[:, None], torch.tensor([log_scale], dtype=torch.float64)
    density = truncated_logistic_log_density(x, torch.full_like(x, location), s)[:, 0].exp().numpy()
    scale, low, high = reference(location, log_scale)
    np.testing.assert_allclose(density, stats.logistic.pdf(u, location, scale) / (high - low), rtol=1e-8)
    assert np.trapezoid(density, u) == pytest.approx(1, abs=1e-6)


@each
def test_positions_are_drawn_from_that_density(location: float, log_scale: float) -> None:
    noise = torch.rand(4000, 1, generator=torch.Generator().manual_seed(1))
    u = draw_truncated_logistic(torch.full((4000, 1), location), torch.tensor([log_scale]), noise)[:, 0].numpy()
    scale, low, high = reference(location, log_scale)
    cdf = lambda x: (stats.logistic.cdf(x, location, scale) - low) / (high - low)  # noqa: E731
    assert stats.kstest(u.astype(np.float64), cdf).pvalue > 1e-3
    assert ((u >= 0) & (u <= 1)).all()


def rows(n: int) -> Tensor:
    """Rows as models see them: of the first block interval 1, an atom or nothing; then entry 2, and an interval."""
    x = torch.zeros(n, *SHAPE)
    x[torch.arange(n), torch.arange(n) % 6] = 1
    x[:, 9] = x[:, 10] = 1
    x[:, 6], x[:, 11] = torch.rand(n), torch.rand(n)
    return x


def test_the_likelihood_is_a_sum_over_columns() -> None:
    """By NumPy, a row and a column at a time."""
    x, y, log_scale = rows(12), torch.randn(24, *SHAPE), torch.tensor([-1.0, 0.5])
    found = Columns(SHAPE, y, log_scale).nll(x)
    assert found.shape == (2, 12)
    for k in range(2):
        for i in range(12):
            row, out, total = x[i].double().numpy(), y[12 * k + i].double().numpy(), 0.0
            for start, entries, intervals, j in ((0, 6, range(2, 5), 0), (7, 3, (), 0), (10, 1, range(1), 1)):
                entry = int(row[start : start + entries].argmax())
                logits = out[start : start + entries]
                total -= logits[entry] - np.log(np.exp(logits).sum())
                if entry in intervals:
                    place = start + entries
                    location, scale = out[place] + 0.5, np.exp(float(log_scale[j]))
                    low, high = stats.logistic.cdf([0, 1], location, scale)
                    total -= stats.logistic.logpdf(row[place], location, scale) - np.log(high - low)
            assert float(found[k, i]) == pytest.approx(total, rel=1e-4)


def test_rows_are_drawn_column_by_column() -> None:
    y, n = torch.randn(1, *SHAPE).expand(5000, -1), 5000
    p = ColumnsHead(SHAPE)(y)
    x = p.draw(torch.rand(n, SHAPE.noise_size, generator=torch.Generator().manual_seed(1)))
    for part in SHAPE.entry_slices:
        shares = x[:, part].mean(0)
        torch.testing.assert_close(shares, y[0, part].softmax(0), atol=0.03, rtol=0)
    assert ((x[:, [6, 11]] >= 0) & (x[:, [6, 11]] <= 1)).all()


def test_the_mean_can_be_differentiated() -> None:
    y = torch.randn(4, *SHAPE, requires_grad=True)
    (ColumnsHead(SHAPE)(y).mean * torch.randn(4, *SHAPE)).sum().backward()
    assert y.grad is not None
    assert y.grad[:, :6].abs().sum() > 0


def test_the_head_learns_the_scale_of_positions() -> None:
    head, x = ColumnsHead(SHAPE), rows(12)
    head(torch.zeros(12, *SHAPE)).nll(x).sum().backward()
    assert head.log_scale.grad is not None
    assert head.log_scale.grad.isfinite().all()
    assert (head.log_scale.grad != 0).all()


@pytest.mark.parametrize("training", [True, False])
def test_gumbel_outputs_are_probabilities_a_block(training: bool) -> None:
    layer, y = GumbelOutput(SHAPE).train(training), torch.randn(200, *SHAPE, requires_grad=True)
    p = layer(y)
    for part in SHAPE.entry_slices:
        torch.testing.assert_close(p[:, part].sum(1), torch.ones(200))
    share = p[:, 2:5].sum(1)
    torch.testing.assert_close(p[:, 6], 0.5 + share * (y[:, 6].sigmoid() - 0.5))
    torch.testing.assert_close(p[:, 11], y[:, 11].sigmoid())
    if not training:
        torch.testing.assert_close(p[:, :6], y[:, :6].softmax(1))
        assert torch.equal(p, layer(y))
    (p * torch.randn_like(p)).sum().backward()
    assert y.grad is not None
    assert y.grad.isfinite().all()
    wide = [i for i in range(12) if i != 10]  # the only entry of its block has probability 1 whatever its logit
    assert (y.grad.abs().sum(0)[wide] > 0).all()


@pytest.mark.parametrize("position", [-200.0, 30.0, 200.0])
def test_a_position_far_from_the_middle_has_finite_gradients(position: float) -> None:
    """exp(30 / 0.2) is beyond float32: GANs on tables skipped such steps, and then gave up."""
    y = torch.randn(20, *SHAPE)
    y[:, [6, 11]] = position
    layer = GumbelOutput(SHAPE).train()
    y.requires_grad_()
    (gradient,) = torch.autograd.grad((layer(y) * torch.randn(20, *SHAPE)).sum(), y)
    assert gradient.isfinite().all()
    mean = Columns(SHAPE, y, torch.zeros(2)).mean
    (gradient,) = torch.autograd.grad((mean * torch.randn(20, *SHAPE)).sum(), y)
    assert gradient.isfinite().all()


def test_gumbel_noise_draws_entries_by_their_probabilities() -> None:
    """The largest of logits with Gumbel noise is entry i with probability softmax_i."""
    y = torch.randn(1, *SHAPE).expand(8000, -1)
    torch.manual_seed(1)
    largest = GumbelOutput(SHAPE).train()(y)[:, :6].argmax(1).bincount(minlength=6) / 8000
    torch.testing.assert_close(largest, y[0, :6].softmax(0), atol=0.025, rtol=0)
