"""Rows of a table from a trained model, also rows of which some values are given.

Given some values c of a row, its code z has the density p(z|c), in proportion to p(z) p(c|z).  So many codes are drawn
from p(z), and of these the answer's codes by the weights w = p(c|z), which the decoder gives exactly since columns are
independent given z (sampling importance resampling, Rubin 1987).  All other values are drawn given these codes.  The
effective sample size, (sum w)^2 / sum w^2, says how many codes share the weight: where it is small rows resemble each
other more than they should.  Nothing is rejected, so no condition takes longer than another.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from ..data.tables.columns import Column
from ..data.tables.encoding import TableEncoding
from ..data.tables.scaling import TableScaling
from ..distributions.tables import Columns
from ..errors import UserError, did_you_mean
from ..model import GenerativeModel
from ..models.ctgan import CTGAN
from ..randomness import draw_rows, make_generator
from ..table_shape import TableShape
from ..viz.images import Examples

if TYPE_CHECKING:
    from .trained import Trained

POOL_SIZE, CODES_PER_ROW = 20_000, 4
"""codes from which the answer's are drawn, at least; and for each row"""
MIN_EFFECTIVE_SHARE = 0.1
"""effective sample size, as a share of the rows, below which it is worth a note"""
MAX_ROUNDS = 30
"""times that rows which break a constraint are drawn anew"""
CPU = torch.device("cpu")


class Given(NamedTuple):
    """Values of rows that are given, of the columns that are learnt: numbers n x c, and which of them are."""

    x: Float64[Tensor, "n c"]
    is_given: Bool[Tensor, "n c"]


def draw_noise(shape: Any, n: int, seed: int) -> Tensor | None:
    """Uniform numbers by which n rows of a table are drawn, given their codes; None for examples of another shape."""
    if not isinstance(shape, TableShape):
        return None
    random, size = make_generator(CPU, seed, "rows"), shape.noise_size
    return draw_rows(n, lambda m: (torch.rand(m, size, generator=random),))[0]


def draw_rows_of(trained: "Trained", z: Tensor, noise: Tensor, *labels: Tensor) -> Tensor:
    """The rows for latent codes z, n x d, n x c numbers, whose entries are drawn by this noise."""
    model, shape, nets = trained.model, trained.shape, trained.nets
    assert isinstance(model, GenerativeModel)
    assert isinstance(shape, TableShape)
    draw = getattr(model, "draw", None)  # a model of the user's own may have none
    x = draw(z, shape, noise, *labels, **nets) if draw else shape.draw(model.generate(z, *labels, **nets), noise)
    return trained.domain_scaling().inverse(x)


def decode_drawn(trained: "Trained", z: Tensor, labels: Tensor | None, seed: int) -> Tensor:
    """The examples for latent codes z, of a table rows that are drawn given these, and not the likeliest."""
    noise = draw_noise(trained.shape, len(z), seed)
    return (trained.decode(z, labels) if noise is None else trained.decode(z, labels, noise)).x


def table_scaling(trained: "Trained", option: str) -> TableScaling:
    """How the model sees rows; UserError where it learnt no table, for which this option is."""
    scaling = trained.domain_scaling()
    if not isinstance(scaling, TableScaling):
        raise UserError(f"{option} is for models of tables, and this one learnt none: leave it out")
    return scaling


def find_column(columns: Sequence[Column], name: str) -> int:
    """The place of a column among those that are learnt; UserError for another."""
    names = [column.name for column in columns]
    if name not in names:
        raise UserError(f'the model has no column "{name}".{did_you_mean(name, names)} It has: {", ".join(names)}')
    return names.index(name)


def given_values(trained: "Trained", where: Mapping[str, Any]) -> Given:
    """What `where` asks of a row: 1 x c; UserError for a column or a value that the model does not know."""
    columns = table_scaling(trained, "where").learnt_columns
    x = torch.full((1, len(columns)), torch.nan, dtype=torch.float64)
    is_given = torch.zeros(1, len(columns), dtype=torch.bool)
    for name, value in where.items():
        j = find_column(columns, name)
        x[0, j], is_given[0, j] = parse_value(columns[j], value), True
    return Given(x, is_given)


def parse_value(column: Column, value: Any) -> float:
    """The number of a value of a column; UserError where it has none.  A missing value is None or ""."""
    import pandas as pd

    from ..data.tables.frame import to_numbers

    if value is None or value == "":
        if not column.missing:
            raise UserError(f'where: no value of the column "{column.name}" is missing, so none can be asked for')
        return float("nan")
    if column.is_category:
        names = [str(category) for category in column.categories]
        if str(value) not in names:
            hint = did_you_mean(str(value), names)
            raise UserError(f'column "{column.name}" has no value "{value}".{hint} It has: {", ".join(names[:20])}')
        return float(names.index(str(value)))
    numbers, _ = to_numbers(pd.DataFrame({column.name: [value]}), [column])
    check_can_be_drawn(column, numbers[:, 0], f"where {column.name}={value}")
    return float(numbers[0, 0])


def check_can_be_drawn(column: Column, numbers: np.ndarray, where: str) -> None:
    """UserError where a number of a column, not missing, would come back as another: rounded, or from its range."""
    from ..data.tables.frame import round_numbers, to_frame  # need pandas

    if not column.is_number:
        return
    drawn = round_numbers(column, numbers)
    other = np.flatnonzero(~np.isclose(drawn, numbers, rtol=1e-12, atol=1e-9) & ~np.isnan(numbers))
    if len(other):
        low, high = ["any"] * 2 if column.low is None else to_frame([column], [[column.low], [column.high]]).iloc[:, 0]
        extent = f"values from {low} to {high}"
        if column.kind in ("integer", "real") and column.decimals is not None:
            extent += f" with {column.decimals} decimals" if column.decimals else ", whole numbers"
        row = f", row {other[0] + 1}" if len(numbers) > 1 else ""
        raise UserError(f'{where}{row}: the column "{column.name}" has {extent}: give one of these')


def draw_given(
    trained: "Trained", given: Given, seed: int, fitted_prior: str | None
) -> tuple[Float64[Tensor, "n c"], Float[Tensor, " n"]]:
    """Rows with the values that are given, and the effective sample size of each row's codes."""
    encoding = table_scaling(trained, "where").encoding
    given = learnt_values(encoding, given)
    z, sizes = draw_codes_given(trained, given, seed, fitted_prior)
    noise = draw_noise(trained.shape, len(z), seed)
    assert noise is not None
    learnt = encoding.constraints.learnt(trained.generate(z, None, noise).x)
    return encoding.constraints.restore(torch.where(given.is_given, given.x, learnt)), sizes


def learnt_values(encoding: TableEncoding, given: Given) -> Given:
    """Values that are given as they are learnt; UserError for one that a constraint binds to others that are not."""
    constraints = encoding.constraints
    for i in constraints.kept:
        *others, last = constraints.items[i].places
        if bool((given.is_given[:, last] & ~given.is_given[:, others].all(1)).any()):
            text = constraints.items[i].text
            raise UserError(f'"{text}" binds what is given to columns that are not: give these as well')
    return Given(constraints.learnt(given.x), given.is_given)


def draw_codes_given(
    trained: "Trained", given: Given, seed: int, fitted_prior: str | None
) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
    """A code for each row, drawn given its values, and the effective sample size of the weights that it is drawn by."""
    n = len(given.x)
    random = make_generator(CPU, seed, "given")
    keyed = torch.cat([given.x.nan_to_num(torch.inf), given.is_given.double()], 1)
    different, row_of, counts = keyed.unique(dim=0, return_inverse=True, return_counts=True)
    pool = trained.draw_codes(max(POOL_SIZE, CODES_PER_ROW * int(counts.max())), random, fitted_prior)
    z, sizes = pool.new_empty(n, pool.shape[1]), pool.new_empty(n)
    known = dict[int | None, tuple[Tensor, Tensor]]()
    for i in range(len(different)):
        rows = (row_of == i).nonzero()[:, 0]
        one = Given(given.x[rows[:1]], given.is_given[rows[:1]])
        place = rarest_condition(trained, one)
        if place not in known:
            codes = pool if place is None else torch.cat([pool[:, :-1], torch.full((len(pool), 1), float(place))], 1)
            known[place] = codes, outputs(trained, codes)
        codes, log_p = known[place]
        weights = log_weights(trained, log_p, one).double().softmax(0)
        sizes[rows] = float(1 / weights.square().sum())
        z[rows] = codes[torch.multinomial(weights, len(rows), replacement=True, generator=random)]
    return z, sizes


def outputs(trained: "Trained", z: Float[Tensor, "n d"]) -> Float[Tensor, "n outputs"]:
    """What the decoder says of rows with these codes, before entries are drawn: log probabilities, and positions."""
    shape: TableShape = trained.shape
    model = trained.require(GenerativeModel, "has no decoder")

    def of_part(part: Tensor) -> Tensor:
        log_p: Tensor
        y = trained.nets["decoder"](part) if "decoder" in trained.nets else None
        if isinstance(y, Columns):
            log_p = shape.log_probabilities(y.y)
            log_p[:, shape.positions] = y.location
            return log_p
        p: Tensor = model.generate(part, **trained.nets)
        log_p = p.clamp_min(1e-12).log()
        log_p[:, shape.positions] = p[:, shape.positions]
        return log_p

    return trained.map_chunks(of_part, z)


def log_weights(trained: "Trained", log_p: Float[Tensor, "n d"], given: Given) -> Float[Tensor, " n"]:
    """log p(c|z) of the values c of one row for each of n codes, up to a constant: entries, and not where in them."""
    scaling, shape = table_scaling(trained, "where"), trained.shape
    total = log_p.new_zeros(len(log_p))
    for j in given.is_given[0].nonzero()[:, 0].tolist():
        entry, _ = scaling.encoding.columns[j].encode(given.x[:, j])
        total += log_p[:, shape.starts[j] + int(entry[0])]
    return total


def rarest_condition(trained: "Trained", given: Given) -> int | None:
    """The place of the rarest of the given entries that CTGAN can be asked for; None of other models."""
    if not isinstance(trained.model, CTGAN):
        return None
    scaling, shape = table_scaling(trained, "where"), trained.shape
    columns = [j for j in given.is_given[0].nonzero()[:, 0].tolist() if j in shape.condition_columns]
    places = [int(scaling.encoding.columns[j].encode(given.x[:, j])[0][0]) + shape.starts[j] for j in columns]
    return min(places, key=lambda place: float(shape.shares[place]), default=None)


def balanced_values(trained: "Trained", name: str, n: int) -> Given:
    """n rows of which as many have each value of a category, in turn."""
    columns = table_scaling(trained, "balance").learnt_columns
    j = find_column(columns, name)
    if not columns[j].is_category:
        raise UserError(f'balance={name}: "{name}" is {columns[j].kind}, and balance is for categories')
    x = torch.full((n, len(columns)), torch.nan, dtype=torch.float64)
    x[:, j] = torch.arange(n) % len(columns[j].categories)
    is_given = torch.zeros(n, len(columns), dtype=torch.bool)
    is_given[:, j] = True
    return Given(x, is_given)


def like_values(trained: "Trained", frame: Any) -> Given:
    """The values of a data frame's rows, of which cells without a value are to be completed: n x c."""
    from ..data.tables.frame import to_numbers

    columns = table_scaling(trained, "like").learnt_columns
    others = {column.name for column in table_scaling(trained, "like").columns} - {column.name for column in columns}
    if new := [str(name) for name in frame.columns if str(name) in others]:
        what = "identifiers and constants are not learnt, so rows cannot be completed by them"
        raise UserError(f"like: {what}: leave out {', '.join(new)}")
    places = [find_column(columns, str(name)) for name in frame.columns]
    numbers, _ = to_numbers(frame, [columns[j] for j in places])
    for i, j in enumerate(places):
        check_can_be_drawn(columns[j], numbers[:, i], "like")
    x = torch.full((len(frame), len(columns)), torch.nan, dtype=torch.float64)
    x[:, places] = torch.as_tensor(numbers, dtype=torch.float64)
    return Given(x, ~x.isnan())


def sample_rows(
    trained: "Trained", n: int | None, *, seed: int = 0, fitted_prior: str | None = None,
    where: Mapping[str, Any] | None = None, like: Any = None, balance: str | None = None,
) -> Examples:  # fmt: skip
    """n rows, all with the values that `where` gives, or that the rows of a data frame `like` have, or balanced."""
    table_scaling(trained, "where" if where else "like" if like is not None else "balance")
    given = given_values(trained, where or {})
    if balance and balance in (where or {}):
        raise UserError(f"where gives {balance} one value, and balance all of them: leave out one of the two")
    if like is not None:
        if balance or n is not None:
            raise UserError(f"like completes {len(like)} rows, each once: leave out {'balance' if balance else 'n'}")
        given = merge(given, like_values(trained, like))
    else:
        n = 64 if n is None else n
        given = Given(given.x.expand(n, -1), given.is_given.expand(n, -1))
        given = merge(given, balanced_values(trained, balance, n)) if balance else given
    x, sizes = draw_given(trained, given, seed, fitted_prior)
    metadata = {"effective_sample_size": float(sizes.min())}
    examples = Examples(
        x, scaling=trained.domain_scaling(), metadata=metadata, notes=tuple(effective_size_notes(sizes))
    )

    def draw(rows: Tensor, seed: int) -> Tensor:
        return draw_given(trained, Given(given.x[rows], given.is_given[rows]), seed, fitted_prior)[0]

    return enforce(examples, draw, seed)


def enforce(examples: Examples, draw: Callable[[Tensor, int], Tensor], seed: int) -> Examples:
    """The rows, of which those that break a constraint are drawn anew, by their numbers and a seed.

    UserError where some still do after `MAX_ROUNDS`.
    """
    scaling = examples.scaling
    if not isinstance(scaling, TableScaling) or not (checked := scaling.encoding.constraints.checked):
        return examples
    from ..data.tables.frame import round_rows  # needs pandas

    def as_source(x: Tensor) -> Tensor:  # in whole minutes two times can be one
        return torch.from_numpy(round_rows(scaling.learnt_columns, x.cpu().numpy()))

    x, n_drawn = examples.x.clone(), 0
    rows = as_source(x)
    for i in range(MAX_ROUNDS + 1):
        broken = (~torch.stack([constraint.holds(rows) for constraint in checked]).all(0)).nonzero()[:, 0]
        if not len(broken):
            break
        if i == MAX_ROUNDS:
            texts = ", ".join(c.text for c in checked if not bool(c.holds(rows).all()))
            what = f"{len(broken):,} of {len(x):,} rows still break a constraint after {MAX_ROUNDS} rounds ({texts})"
            raise UserError(f"{what}: ask for fewer rows, or train for longer")
        x[broken] = draw(broken, seed + 7919 * (i + 1))
        rows[broken] = as_source(x[broken])
        n_drawn += len(broken)
    notes = (f"{n_drawn:,} rows that broke a constraint were drawn anew",) if n_drawn else ()
    return replace(examples, x=x, notes=(*examples.notes, *notes))


def merge(a: Given, b: Given) -> Given:
    """What both give, the first where both do; one row goes with any number."""
    is_given = a.is_given | b.is_given
    return Given(torch.where(a.is_given, a.x, b.x), is_given)


def effective_size_notes(sizes: Float[Tensor, " n"]) -> list[str]:
    """What the effective sample sizes mean, in words."""
    low, n = float(sizes.min()), len(sizes)
    high = f" to {float(sizes.max()):,.0f}" if low < sizes.max() else ""
    text = f"effective sample size of the codes: {low:,.0f}{high}"
    few = low < min(n, POOL_SIZE) * MIN_EFFECTIVE_SHARE
    return [text + (": few, so rows with these values resemble each other more than they should" if few else "")]
