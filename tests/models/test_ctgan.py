"""CTGAN: rows by conditions, the terms of its losses, packs, and what it refuses."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import ganvas
from ganvas.cli.app import main
from ganvas.data import fit_scaling, make_stream
from ganvas.data.tables.encoding import ColumnEncoding
from ganvas.data.tables.table import Table
from ganvas.errors import UserError
from ganvas.model import Batch
from ganvas.models.ctgan import RowCritic, one_hot_conditions
from ganvas.table_shape import TableShape
from tests.support.tables import table_collection

MODEL = ganvas.CTGAN(latent=3, width=8, depth=2, pack=4, dropout=0.0)


@pytest.fixture
def table() -> Table:
    return table_collection(400)


def shape_of(table: Table) -> TableShape:
    assert isinstance(table.shape, TableShape)
    return table.shape


def stream(table: Table, batch: int = 40, **options: Any) -> Any:
    data = table.by_condition()
    return make_stream(data, fit_scaling(data, MODEL), batch=batch, seed=1, **options)


def test_conditions_are_drawn_by_the_logarithm_of_their_rows(table: Table) -> None:
    """A column, each as likely; an entry of it in proportion to log(1 + its rows): by NumPy, and chi-square."""
    shape, generator = shape_of(table), torch.Generator().manual_seed(1)
    drawn = [table.by_condition().draw_order(generator) for _ in range(20)]
    places = torch.cat([d for d in drawn if d is not None]).div(len(table), rounding_mode="floor").numpy()
    expected = np.zeros(*shape)
    assert table.encoding is not None
    entries = table.encoding.encode(table.x).numpy()
    for i in shape.condition_columns:
        part = shape.entry_slices[i]
        weights = np.log(1 + entries[:, part].sum(0))
        expected[part] = weights / weights.sum() / len(shape.condition_columns)
    counts = np.bincount(places, minlength=shape[0])
    assert not counts[expected == 0].any()
    found = stats.chisquare(counts[expected > 0], expected[expected > 0] * len(places))
    assert found.pvalue > 1e-3


def test_a_row_that_is_drawn_has_its_condition(table: Table) -> None:
    batches = stream(table)
    for _ in range(10):
        batch = next(batches)
        assert batch.y is not None
        assert torch.equal(batch.x.gather(1, batch.y[:, None])[:, 0], torch.ones(40))


def test_conditions_of_rows_are_found_once(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded, encode, data = list[int](), ColumnEncoding.encode, table.by_condition()
    monkeypatch.setattr(ColumnEncoding, "encode", lambda self, x: (encoded.append(len(x)), encode(self, x))[1])
    for _ in range(3):
        data.draw_order(torch.Generator())
    assert len(encoded) == len(shape_of(table).condition_columns)


def test_walks_hold_a_condition(table: Table) -> None:
    run = ganvas.train(MODEL, table, steps=1, batch_size=40, quiet=True)
    codes, decode = list[Tensor](), run.decode
    object.__setattr__(run, "decode", lambda z, *rest: (codes.append(z), decode(z, *rest))[1])
    for path in ("linear", "spherical"):
        ganvas.interpolate(run, rows=6, columns=4, interpolation=path)
        conditions = codes.pop()[:, -1].view(6, 4)
        assert torch.equal(conditions, conditions[:, :1].expand(-1, 4))
        assert len(conditions[:, 0].unique()) > 1


def test_rows_of_a_condition_are_drawn_alike(table: Table) -> None:
    """Of the members and the others, about as many each; of those with a condition, every row about as often."""
    n, generator = len(table), torch.Generator().manual_seed(1)
    order = torch.cat([table.by_condition().draw_order(generator) for _ in range(60)])  # type: ignore[misc]
    index, place = order % n, order // n
    member = shape_of(table).starts[3]
    counts = index[place == member].bincount(minlength=n)
    rows = (table.x[:, 3] == 0).nonzero()[:, 0]
    assert counts.sum() == counts[rows].sum()
    assert stats.chisquare(counts[rows].numpy()).pvalue > 1e-3


def test_batches_follow_from_the_seed_and_the_position(table: Table) -> None:
    one, again, later = stream(table), stream(table), stream(table, position=13)
    batches = [next(one) for _ in range(16)]
    for batch in batches:
        assert_equal(batch, next(again))
    for batch in batches[13:]:
        assert_equal(batch, next(later))
    assert not torch.equal(batches[0].y, batches[10].y)  # of another epoch
    assert_equal(batches[0], next(stream(table, device_bytes=10)))  # conditions stay with their rows


def assert_equal(a: Batch, b: Batch) -> None:
    assert torch.equal(a.x, b.x)
    assert a.y is not None
    assert b.y is not None
    assert torch.equal(a.y, b.y)


def conditions(shape: TableShape, y: Tensor) -> Tensor:
    """One-hot, by places."""
    return (y[:, None] == shape.conditions).float()


def judge(D: RowCritic, x: Tensor, y: Tensor, shape: TableShape) -> Tensor:
    """D of packs, by matrices: x and the conditions of a pack in one vector, then leaky rectifiers of slope 0.2."""
    n = len(x) // 4
    h = torch.cat([x.reshape(n, -1), conditions(shape, y).reshape(n, -1)], 1)
    layers = [m for m in D.net.modules() if isinstance(m, torch.nn.Linear)]
    for i, layer in enumerate(layers):
        h = h @ layer.weight.T + layer.bias
        h = torch.where(h > 0, h, 0.2 * h) if i < len(layers) - 1 else h
    return h


def test_losses_are_those_of_the_paper(table: Table) -> None:
    """By hand: E D on packs of four, the penalty on the gradient at points between, and the cross-entropy."""
    torch.manual_seed(0)
    shape = shape_of(table)
    nets = MODEL.networks(shape)
    G, D = nets["G"], nets["D"]
    batch = next(stream(table))
    x, y = batch.x, batch.y
    moves = MODEL.step(iter([Batch(x, y, 400)]), 0, G=G, D=D)
    torch.manual_seed(1)
    critic = next(moves)
    torch.manual_seed(1)
    z = torch.cat([torch.randn(40, 3), y[:, None].float()], 1)
    fake = G(z).detach()
    u = torch.lerp(x.view(10, -1), fake.view(10, -1), torch.rand(10, 1)).requires_grad_()
    (slope,) = torch.autograd.grad(judge(D, u.view(40, -1), y, shape).sum(), u)
    penalty = 10 * (slope.norm(dim=1) - 1).square().mean()
    assert critic.terms["real"].item() == pytest.approx(-judge(D, x, y, shape).mean().item(), rel=1e-4)
    assert critic.terms["fake"].item() == pytest.approx(judge(D, fake, y, shape).mean().item(), rel=1e-4)
    assert critic.terms["gp"].item() == pytest.approx(penalty.item(), rel=1e-4)
    torch.manual_seed(2)
    generator = next(moves)
    torch.manual_seed(2)
    rows = G(torch.cat([torch.randn(40, 3), y[:, None].float()], 1))
    assert generator.terms["fool"].item() == pytest.approx(-judge(D, rows, y, shape).mean().item(), rel=1e-4)
    followed = torch.stack([row[place] for row, place in zip(rows, y, strict=True)])
    assert generator.terms["follow"].item() == pytest.approx(-followed.log().mean().item(), rel=1e-4)
    assert next(moves, None) is None


def test_the_critic_sees_ten_rows_and_their_conditions(table: Table) -> None:
    shape = shape_of(table)
    D = ganvas.CTGAN().networks(shape)["D"]
    assert isinstance(D, RowCritic)
    first = next(m for m in D.net.modules() if isinstance(m, torch.nn.Linear))
    assert first.in_features == 10 * (shape[0] + len(shape.conditions))
    x, y = next(stream(table, batch=20))[:2]
    assert D(x.view(2, -1), y.view(2, 10)).shape == (2, 1)
    assert torch.equal(one_hot_conditions(shape, y).float(), conditions(shape, y))


def test_a_generator_that_does_not_follow_gets_a_gradient(table: Table) -> None:
    """However unlikely the condition: with a floor of 1e-6 a third of the rows of an untrained G had none."""
    shape, y = shape_of(table), torch.full((20,), shape_of(table).starts[2])
    G = MODEL.networks(shape)["G"]
    with torch.no_grad():
        G.last.bias[y[0]] = -9  # type: ignore[union-attr, operator]
    moves = MODEL.step(iter([Batch(torch.zeros(20, *shape), y, 400)]), 0, G=G, D=MODEL.networks(shape)["D"])
    next(moves)
    follow = next(moves).terms["follow"]
    (gradient,) = torch.autograd.grad(follow, [G.last.bias])  # type: ignore[union-attr, list-item]
    assert follow > 20
    assert float(gradient[y[0]]) == pytest.approx(-5, rel=0.1)  # 1 / temperature, of every row


def test_noise_is_normal_and_conditions_are_as_often_as_rows_have_them(table: Table) -> None:
    shape = shape_of(table)
    z = MODEL.sample_prior(4000, shape, torch.Generator().manual_seed(1), **MODEL.networks(shape))
    assert stats.kstest(z[:, :-1].flatten().numpy(), "norm").pvalue > 1e-3
    assert set(z[:, -1].long().tolist()) <= set(shape.conditions.tolist())
    assert torch.equal(MODEL.to_normal(z), z)


def test_a_batch_is_made_of_packs_and_more_than_a_row(table: Table) -> None:
    with pytest.raises(UserError, match="batch_size=42 cannot be packed by pack=4"):
        MODEL.validate_batch_size(42, table.shape)
    with pytest.raises(UserError, match="too small for batch norm"):
        ganvas.CTGAN(pack=1).validate_batch_size(1, table.shape)


def test_other_data_than_tables_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "ctgan", "ring", "--steps", "1", "--quiet"]) == 2
    assert "ctgan learns tables with columns, and ring holds vectors: use wgangp" in capsys.readouterr().err
    assert main(["bench", "ctgan", "--dimensions", "3", "--quiet"]) == 2
    assert "ctgan learns tables with columns" in capsys.readouterr().err
