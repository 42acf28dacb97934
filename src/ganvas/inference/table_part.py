"""What pages show of a model of a table: sampled rows, and how columns spread in these and in real rows."""

from dataclasses import replace
from typing import Any

from jaxtyping import Float64
from torch import Tensor

from ..data.tables.scaling import TableScaling
from ..data.tables.summary import ROWS, marginals, typical_rows
from ..io.run_folder import RunFolder
from ..io.safetensors import read_header
from ..viz.table_html import MAX_COLUMNS, Layout, marginal_chart, row_table
from .rows import table_scaling
from .sampling import sample_examples
from .trained import load_trained

SHOWN_ROWS = 12
"""sampled rows of a page"""


def learns_table(files: RunFolder) -> bool:
    """Whether the weights of a run are of a model of a table, by their header alone; False where there are none."""
    return files.weights.exists() and "table" in read_header(files.weights)


def describe_table(files: RunFolder) -> dict[str, Any] | None:
    """What the page on a run of a table shows of its samples; None of another run, or one without weights."""
    if not learns_table(files):
        return None
    trained = load_trained(files.path)
    scaling = table_scaling(trained, "a page of rows")
    samples = sample_examples(trained, ROWS)
    first = replace(samples, x=samples.x[:SHOWN_ROWS]).frame()
    charts, more = marginal_parts(scaling, samples.x)
    return {"rows": row_table(first), "charts": charts, "more": more, "columns": len(scaling.columns)}


def marginal_parts(
    scaling: TableScaling, x: Float64[Tensor, "n c"], real: Float64[Tensor, "m c"] | None = None
) -> tuple[list[Layout], int]:
    """The charts of how the first columns spread in samples beside real rows, and how many columns are left out.

    Without these what the model's file says of them is drawn.
    """
    hidden = bound_columns(scaling) if real is None else set[int]()
    unbound = [j for j in range(len(scaling.learnt_columns)) if j not in hidden]
    shown = unbound[:MAX_COLUMNS]
    real = typical_rows(scaling.encoding) if real is None else real
    sets = (rows[:, shown].numpy() for rows in (real, x))
    spreads = marginals([scaling.learnt_columns[j] for j in shown], *sets)
    return [marginal_chart(spread) for spread in spreads], len(unbound) - len(shown)


def bound_columns(scaling: TableScaling) -> set[int]:
    """Columns in whose place a model learns something else, so that its file does not say how they spread."""
    constraints = scaling.encoding.constraints
    return {constraints.items[i].places[-1] for i in constraints.kept}
