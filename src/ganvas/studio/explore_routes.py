"""Exploring a trained model: sliders, maps, walks, neighbours, pictures that are sent, strange examples."""

from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response
from starlette.concurrency import run_in_threadpool

from ..errors import UserError
from ..evaluation.anomalies import score_examples
from ..inference.sampling import sample_examples
from ..inference.scores import score_kinds
from ..io.run_folder import RunFolder
from ..viz.images import ANIMATION_SUFFIXES, Examples, encode_picture
from ..viz.plots import histograms
from .explorer import Explorer, open_explorer
from .pages import render_page
from .runs import find_folder, own_file
from .settings import settings_of

router: APIRouter = APIRouter()
Seed = Annotated[int, Query(ge=0, lt=2**31)]
Few = Annotated[int, Query(ge=1, le=100)]
N_STRANGE, HISTOGRAM_BINS, MAX_COLUMNS = 12, 48, 16
"""examples of each end that are shown, bars of a histogram, and columns whose values are drawn"""


def explorer_of(request: Request, name: str) -> Explorer:
    """The model of the run of this name."""
    return open_explorer(find_folder(settings_of(request).runs_dir, name))


def picture(examples: Examples) -> Response:
    """A picture of examples, which no browser keeps: the same address shows a model that is being trained."""
    return Response(encode_picture(examples.render()), media_type="image/png", headers={"cache-control": "no-store"})


def data_address(examples: Examples) -> str:
    """A picture as an address that holds it."""
    return "data:image/png;base64," + b64encode(encode_picture(examples.render())).decode()


def parse_moves(text: str) -> dict[int, float]:
    """Dimensions and where they are put, "3:1.5,7:-2", as numbers by dimension."""
    try:
        parts = [part.split(":") for part in text.split(",") if part]
        moves = {int(j): float(value) for j, value in parts}
    except ValueError:
        raise UserError(f"z={text!r}: give dimensions and places, such as 3:1.5,7:-2") from None
    if not all(abs(value) <= 100 for value in moves.values()):
        raise UserError("a place is at most 100 deviations from the middle")
    return moves


@router.get("/explore")
def choose(request: Request) -> Response:
    """The runs that can be explored."""
    runs = [card for card in request.app.state.gallery.cards() if card.state != "damaged"]
    return render_page(request, "explore_runs.html", title="Explore", runs=runs)


@router.get("/explore/{name}")
def page(request: Request, name: str) -> Response:
    """All that can be done with a run's model."""
    explorer = explorer_of(request, name)
    with explorer.lock:
        trained = explorer.trained
        usage = explorer.usage if explorer.draws else None
        order = [] if usage is None else [j for j in usage.order if j < explorer.n_dimensions]
        dimensions = [{"j": j, "label": usage.label(j)} for j in order if usage]
        shared: dict[str, Any] = {
            "title": name, "name": name, "dimensions": dimensions, "encodes": explorer.encodes,
            "classes": [] if explorer.table else explorer.classes, "has_data": explorer.data is not None,
        }  # fmt: skip
        if explorer.table is not None:
            columns = explorer.table.learnt_columns
            scores = bool(score_kinds(trained))
            return render_page(request, "explore_table.html", **shared, columns=columns, scores=scores)
        return render_page(
            request, "explore.html", **shared, draws=explorer.draws, translates=explorer.translates,
            is_vector=explorer.draws and len(trained.shape) == 1, domains=domain_names(explorer),
            directions=trained.directions if explorer.translates else (),
        )  # fmt: skip


def domain_names(explorer: Explorer) -> list[str]:
    """What the two domains of a translator are called, by their sources; nothing where these are not known."""
    data = explorer.trained.training_data if explorer.translates else None
    return [Path(source).name for source in data.source] if data is not None and isinstance(data.source, tuple) else []


@router.get("/explore/{name}/picture.png")
def one_picture(
    request: Request, name: str, seed: Seed = 0, z: str = "", label: str | None = None, upload: str = ""
) -> Response:
    """The example for one code, with dimensions where the sliders are."""
    explorer = explorer_of(request, name)
    with explorer.lock:
        code = explorer.moved_code(explorer.base_code(seed, upload), parse_moves(z))
        return picture(explorer.decode(code, label))


@router.get("/explore/{name}/samples.png")
def samples(request: Request, name: str, seed: Seed = 0, n: Few = 36, label: str | None = None) -> Response:
    """New examples."""
    explorer = explorer_of(request, name)
    with explorer.lock:
        return picture(sample_examples(explorer.trained, n, seed=seed, label=label or None))


@router.get("/explore/{name}/map.png")
def latent_map(
    request: Request, name: str, across: int, up: int, seed: Seed = 0, side: Annotated[int, Query(ge=2, le=20)] = 12,
    label: str | None = None, upload: str = "",
) -> Response:  # fmt: skip
    """A plane of two latent dimensions, decoded."""
    explorer = explorer_of(request, name)
    with explorer.lock:
        return picture(explorer.plane(explorer.base_code(seed, upload), across, up, side, label))


@router.get("/explore/{name}/walk{suffix}")
def walk(
    request: Request,
    name: str,
    suffix: str,
    first: str = "0",
    last: str = "1",
    columns: Few = 10,
    label: str | None = None,
) -> Response:
    """A walk between two seeds, or two pictures that were sent, as a strip (.png) or an animation (.webp, .gif)."""
    if suffix not in (".png", *ANIMATION_SUFFIXES):
        raise UserError(f"a walk is a .png, .webp or .gif, not {suffix}")
    explorer = explorer_of(request, name)
    with explorer.lock:
        start, end = (explorer.code_named(text) for text in (first, last))
        examples = explorer.walk(start, end, columns, label, first.isdecimal() and last.isdecimal())
    with TemporaryDirectory(prefix="ganvas-") as folder:
        path = Path(folder) / f"walk{suffix}"
        examples.save(path)
        return Response(path.read_bytes(), media_type=f"image/{suffix[1:]}", headers={"cache-control": "no-store"})


@router.get("/explore/{name}/nearest.png")
def nearest(request: Request, name: str, seed: Seed = 0, n: Few = 6) -> Response:
    """Samples beside the training examples nearest to them."""
    explorer = explorer_of(request, name)
    with explorer.lock:
        return picture(explorer.nearest(n, seed, 6))


@router.get("/explore/{name}/reconstructions.png")
def reconstructions(request: Request, name: str, seed: Seed = 0) -> Response:
    """Examples of the data above what the model makes of them."""
    explorer = explorer_of(request, name)
    with explorer.lock:
        part = explorer.known_data().sample(10, seed, "reconstructions")
        reconstruction = explorer.trained.reconstruct(part)
        return picture(replace(reconstruction, x=torch.cat([part.x, reconstruction.x]), columns=len(part), labels=None))


@router.get("/explore/{name}/marginals.png")
def marginals(request: Request, name: str, seed: Seed = 0) -> Response:
    """How the values of each column spread: of samples, and of the data where they are known."""
    explorer = explorer_of(request, name)
    with explorer.lock:
        x = sample_examples(explorer.trained, 2000, seed=seed).x
    if x.ndim != 2 or explorer.table is not None:
        what = "pictures" if explorer.table is None else "rows of a table: see /marginals"
        raise UserError(f"only vectors have columns of numbers: this run's examples are {what}")
    d = min(x.shape[1], MAX_COLUMNS)
    low, high = x[:, :d].min().item(), x[:, :d].max().item()
    counts = torch.stack([torch.histc(x[:, j], HISTOGRAM_BINS, low, high) for j in range(d)]).long()
    plot = histograms(counts, low, high, [f"column {j}" for j in range(d)])
    return Response(encode_picture(plot), media_type="image/png")


@router.post("/explore/{name}/upload")
async def upload(request: Request, name: str) -> dict[str, Any]:
    """Encode a picture that is sent: what the model makes of it, and where its code lies."""
    content, key = await request.body(), token_hex(8)

    def work() -> dict[str, Any]:
        explorer = explorer_of(request, name)
        with explorer.lock:
            if not explorer.encodes:
                raise UserError("this model has no encoder, so pictures have no codes")
            examples, z = explorer.encode_upload(content, key)
            usage = explorer.usage
            places = ((z[0] - usage.centre) / usage.scale.clamp_min(1e-12)).tolist()
            return {"upload": key, "picture": data_address(examples), "places": dict(enumerate(places))}

    return await run_in_threadpool(work)


@router.post("/explore/{name}/translate")
async def translate(request: Request, name: str, to: str = "B") -> Response:
    """Translate a picture that is sent."""
    content = await request.body()

    def work() -> Response:
        explorer = explorer_of(request, name)
        with explorer.lock:
            return picture(explorer.translate(content, to))

    return await run_in_threadpool(work)


@router.get("/explore/{name}/strangest")
def strangest(request: Request, name: str) -> dict[str, Any]:
    """The examples of the run's data that the model finds strangest, and the most ordinary."""
    explorer = explorer_of(request, name)
    with explorer.lock:
        result = score_examples(explorer.trained, explorer.known_data())
        order = result.scores.argsort(descending=True, stable=True)
        ends = {"strangest": order[:N_STRANGE], "most ordinary": order.flip(0)[:N_STRANGE]}
        pictures = {}
        for end, index in ends.items():
            part = result.data.select(index)
            examples = Examples(part.x, columns=N_STRANGE // 2, scaling=explorer.trained.domain_scaling())
            pictures[end] = data_address(examples)
    return {"score": result.kind, "pictures": pictures}


@router.get("/explore/{name}/weights")
def weights(request: Request, name: str) -> Response:
    """The model's file."""
    folder = find_folder(settings_of(request).runs_dir, name)
    path = RunFolder(folder).weights
    if not path.exists():
        raise UserError(f"{name} has no weights yet: wait for its first checkpoint")
    return FileResponse(own_file(path), filename=f"{name}.safetensors")
