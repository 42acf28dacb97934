"""Exploring a model of a table: rows, of which some values are given, and how their columns spread."""

from collections.abc import Mapping
from shlex import join
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from ..data.tables.association import associations
from ..data.tables.columns import Column
from ..data.tables.scaling import TableScaling
from ..data.tables.summary import ROWS
from ..data.tables.write import encode_csv
from ..errors import UserError
from ..evaluation.anomalies import score_examples
from ..inference.sampling import sample_examples
from ..inference.table_part import marginal_parts
from ..viz.images import Examples
from ..viz.table_html import MAX_COLUMNS, SETS, association_chart, render_part, row_table
from .explore_routes import N_STRANGE, Few, Seed, explorer_of, parse_moves
from .explorer import Explorer
from .runs import find_folder
from .settings import settings_of

router: APIRouter = APIRouter()
Many = Annotated[int, Query(ge=1, le=100_000)]
WHERE = "where:"
"""what the name of a value begins with that a column is given"""
N_PAIRS, MAX_SCORED = 8, 5000
"""rows that are rebuilt, and rows among which the strangest are looked for"""


def table_of(explorer: Explorer) -> TableScaling:
    """How the model sees rows; UserError where it learnt no table."""
    if explorer.table is None:
        raise UserError("this run's examples are no rows of a table")
    return explorer.table


def given_to(request: Request) -> dict[str, str]:
    """The values by column that a visitor gives: `where:COLUMN=VALUE` in the address."""
    pairs = request.query_params.multi_items()
    return {name.removeprefix(WHERE): value for name, value in pairs if name.startswith(WHERE) and value.strip()}


def part(*pieces: str) -> Response:
    """Parts of a page, which no browser keeps: the same address shows a model that is being trained."""
    return HTMLResponse("\n".join(pieces), headers={"cache-control": "no-store"})


def draw(explorer: Explorer, n: int, seed: int, where: Mapping[str, str]) -> Examples:
    """New rows, all with the values that are given."""
    table_of(explorer)
    return sample_examples(explorer.trained, n, seed=seed, where=where)


@router.get("/explore/{name}/rows")
def rows(request: Request, name: str, seed: Seed = 0, n: Few = 20) -> Response:
    """New rows as a table, with what is to be known of them and the command that does the same."""
    explorer, where = explorer_of(request, name), given_to(request)
    with explorer.lock:
        examples = draw(explorer, n, seed, where)
        folder = find_folder(settings_of(request).runs_dir, name)
        words = ["ganvas", "sample", str(folder), "-n", "1000", "--seed", str(seed)]
        words += [word for column, value in where.items() for word in ("--where", f"{column}={value}")]
        return part(
            render_part("rows", table=row_table(examples.frame())), render_part("notes", texts=examples.notes),
            render_part("command", text=join([*words, "--out", "new.csv"])),
        )  # fmt: skip


@router.get("/explore/{name}/rows.csv")
def rows_file(request: Request, name: str, seed: Seed = 0, n: Many = 1000) -> Response:
    """New rows as a file."""
    explorer = explorer_of(request, name)
    with explorer.lock:
        examples = draw(explorer, n, seed, given_to(request))
    assert isinstance(examples.scaling, TableScaling)
    content = encode_csv(examples.frame(), examples.scaling.columns, examples.scaling.file_format)
    headers = {"cache-control": "no-store", "content-disposition": 'attachment; filename="samples.csv"'}
    return Response(content, media_type="text/csv", headers=headers)


@router.get("/explore/{name}/row")
def one_row(request: Request, name: str, seed: Seed = 0, z: str = "") -> Response:
    """The likeliest row for one code, with dimensions where the sliders are."""
    explorer = explorer_of(request, name)
    with explorer.lock:
        columns = table_of(explorer).learnt_columns
        code = explorer.moved_code(explorer.base_code(seed), parse_moves(z))
        row = row_table(learnt_frame(columns, explorer.decode(code, None).x))
    return part(render_part("row", names=row["head"], texts=row["rows"][0]))


def learnt_frame(columns: tuple[Column, ...], x: Any) -> Any:
    """Rows as a data frame of the columns that are learnt: others are made up anew each time."""
    from ..data.tables.frame import to_frame

    return to_frame(columns, x.numpy())


@router.get("/explore/{name}/rebuilt")
def rebuilt(request: Request, name: str, seed: Seed = 0) -> Response:
    """Rows of the data, each above what the model makes of it."""
    explorer = explorer_of(request, name)
    with explorer.lock:
        columns = table_of(explorer).learnt_columns
        data = explorer.known_data().sample(N_PAIRS, seed, "reconstructions")
        parts = (row_table(learnt_frame(columns, x)) for x in (data.x, explorer.trained.reconstruct(data).x))
    before, after = parts
    lines = [line for pair in zip(before["rows"], after["rows"], strict=True) for line in pair]
    differs = [[a != b for a, b in zip(*pair, strict=True)] for pair in zip(before["rows"], after["rows"], strict=True)]
    marks = [line for one in differs for line in ([False] * len(one), one)]
    table = before | {"rows": lines, "marks": marks, "sides": ("real", "rebuilt")}
    return part(render_part("rows", table=table))


@router.get("/explore/{name}/strangest-rows")
def strangest_rows(request: Request, name: str) -> Response:
    """The rows of the run's data that the model finds strangest, and the most ordinary."""
    explorer = explorer_of(request, name)
    with explorer.lock:
        columns = table_of(explorer).learnt_columns
        data = explorer.known_data().sample(MAX_SCORED, 0, "strangest")
        result = score_examples(explorer.trained, data)
        order, pieces = result.scores.argsort(descending=True, stable=True), list[str]()
        for end, index in (("strangest", order), ("most ordinary", order.flip(0))):
            rows = row_table(learnt_frame(columns, result.data.x[index[:N_STRANGE]]))
            pieces += [render_part("title", text=f"The {end} of {len(data):,} rows, by {result.kind}")]
            pieces += [render_part("rows", table=rows)]
    return part(*pieces)


@router.get("/explore/{name}/marginals")
def table_marginals(request: Request, name: str, seed: Seed = 0) -> Response:
    """How each column spreads in real rows and in new ones, and which go together in either."""
    explorer, where = explorer_of(request, name), given_to(request)
    with explorer.lock:
        scaling = table_of(explorer)
        x = draw(explorer, ROWS, seed, where).x
        real = None if explorer.data is None else explorer.data.sample(ROWS, 0, "marginals").x
    charts, more = marginal_parts(scaling, x, real)
    columns = scaling.learnt_columns[:MAX_COLUMNS]
    sets = {
        side: rows[:, : len(columns)].numpy() for side, rows in zip(SETS, (real, x), strict=True) if rows is not None
    }
    pairs = zip(sets, associations(columns, *sets.values()), strict=True)
    names = [column.name for column in columns]
    matrices = [association_chart(names, matrix, f"What goes together, {side}") for side, matrix in pairs]
    texts = [f"{more:,} more columns are not drawn"] if more else []
    return part(
        render_part("marginals", charts=charts, sets=SETS), render_part("notes", texts=texts),
        render_part("associations", charts=matrices),
    )  # fmt: skip
