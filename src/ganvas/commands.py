"""What each command does.  Options of models, training and data are the fields of their own dataclasses."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Any

import torch
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from . import data as data_sources
from . import demo as demo_page
from . import explore, folders
from . import runs as running
from .artifact import Trained, at_least_one, load_trained
from .cli import tell
from .data import View
from .model import Model, plain
from .models import MODELS
from .paths import refuse_existing, unused
from .pictures import PICTURES, Examples
from .progress import Bar
from .training import Plan, device_for

Flat = Parameter(name="*")
Json = Annotated[bool, Parameter(name="--json", negative=(), help="print the result as JSON")]
Force = Annotated[bool, Parameter(negative=(), help="overwrite what exists")]
RunName = Annotated[str, Parameter(help="a run folder, a name in runs/, a weights file, or: last")]
SourceName = Annotated[
    str, Parameter(help="a folder, a .npy, .npz or IDX file, or a name: " + ", ".join(data_sources.BUILTIN))
]
VIEW = View()


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where examples go."""

    out: Path | None = None
    """a picture (.png), an array (.npz, .npy), or a folder for single PNGs"""
    force: Annotated[bool, Parameter(negative=())] = False
    """overwrite what exists"""
    json: Annotated[bool, Parameter(negative=())] = False
    """print the result as JSON"""


TARGET = Target()

train_app = App(name="train", help="Train a model on a folder of images, a file, or a named data set.")


def train_command(cls: type[Model]) -> Callable[..., None]:
    """The command that trains models of this class: its options are the class's fields, Plan's and View's."""

    def command(
        data: SourceName,
        /,
        *,
        model: Annotated[cls, Parameter(name="*", group="Model")] = cls(),  # type: ignore[valid-type]
        plan: Annotated[Plan, Parameter(name="*", group="Training")] = Plan(),
        view: Annotated[View, Parameter(name="*", group="Data")] = VIEW,
        out: Annotated[Path, Parameter(help="where run folders are made")] = Path("runs"),
        folder: Annotated[Path | None, Parameter(help="the run's folder, which must not exist")] = None,
        quiet: Annotated[bool, Parameter(negative=(), help="show no progress")] = False,
        json: Json = False,
    ) -> None:
        options = plain(plan) | plain(view)
        finished(running.train(model, data, out=out, folder=folder, quiet=quiet, **options), json)

    command.__doc__ = f"{cls.__doc__}\n\nWrites a run folder: samples with `ganvas sample last`."
    return command


for _name, _cls in MODELS.items():
    train_app.command(train_command(_cls), name=_name)


def finished(trained: Trained, as_json: bool) -> None:
    assert trained.folder is not None
    tell(str(trained.folder), folders.summary(trained.folder), as_json)


def resume(
    run: RunName,
    /,
    *,
    steps: Annotated[int | None, Parameter(help="go on to this step, beyond the run's plan")] = None,
    quiet: bool = False,
    json: Json = False,
) -> None:
    """Go on with a run that was stopped or killed, exactly as if it had not been."""
    finished(running.resume(folders.find(run), steps=steps, quiet=quiet), json)


def sample(
    run: RunName,
    /,
    *,
    n: Annotated[int, Parameter(alias="-n", help="how many")] = 64,
    seed: Annotated[int, Parameter(help="of the noise")] = 0,
    to: Annotated[Target, Flat] = TARGET,
) -> None:
    """Generate new examples with a trained model."""
    trained = opened(run)
    deliver(lambda: trained.sample(n, seed=seed), trained, "samples", to)


def reconstruct(
    run: RunName,
    data: SourceName,
    /,
    *,
    n: Annotated[int, Parameter(alias="-n", help="how many of the examples, at most")] = 32,
    view: Annotated[View, Flat] = VIEW,
    to: Annotated[Target, Flat] = TARGET,
) -> None:
    """Encode and decode examples; a picture shows each beside its reconstruction."""
    trained = opened(run)
    deliver(lambda: pairs(trained, data, view, n, to.out), trained, "reconstructions", to)


def pairs(trained: Trained, data: str, view: View, n: int, out: Path | None) -> Examples:
    """Reconstructions; for a picture, each after its example."""
    collection = trained.fitting(data, view)
    collection = replace(collection, x=collection.x[: at_least_one(n, "n")], labels=None)
    made = trained.reconstruct(collection)
    picture = out is None or out.suffix.lower() in PICTURES
    if made.x.ndim == 2 or not picture:
        return made
    both = made.x.new_empty((2 * len(made), *made.x.shape[1:]))
    both[0::2], both[1::2] = collection.x, made.x
    return Examples(both, columns=8)


def interpolate(
    run: RunName,
    data: Annotated[str | None, Parameter(help="walk between examples of this source, not between noise")] = None,
    /,
    *,
    rows: Annotated[int, Parameter(help="how many walks")] = 8,
    columns: Annotated[int, Parameter(help="examples in a walk")] = 10,
    seed: Annotated[int, Parameter(help="of the ends")] = 0,
    view: Annotated[View, Flat] = VIEW,
    to: Annotated[Target, Flat] = TARGET,
) -> None:
    """Walk through the latent space from one example to another."""
    trained = opened(run)
    walk = partial(explore.interpolate, trained, rows, columns, seed=seed, data=data, view=view)
    deliver(walk, trained, "interpolation", to)


def runs(
    *, out: Annotated[Path, Parameter(help="where the run folders are")] = Path("runs"), json: Json = False
) -> None:
    """List the runs, oldest first."""
    listed = [folders.summary(folder) for folder in folders.all_runs(out)]
    if json:
        tell("", listed, True)
        return
    if not listed:
        Console(stderr=True).print(f"no runs in {out} yet: ganvas train vae emoji", markup=False)
        return
    table = Table("run", "model", "data", "step", "seconds", "last losses", box=None)
    for line in listed:
        if "error" in line:
            table.add_row(line["run"], line["error"])
            continue
        losses = "  ".join(f"{name} {value:.4g}" for name, value in line["losses"].items())
        table.add_row(
            line["run"],
            line["model"],
            line["data"],
            f"{line['step']}/{line['steps']}",
            f"{line['seconds']:.0f}",
            losses,
        )
    console = Console()
    Console(width=console.width if console.is_terminal else 1000).print(table)


def data(
    source: SourceName,
    /,
    *,
    view: Annotated[View, Flat] = VIEW,
    out: Annotated[Path | None, Parameter(help="the contact sheet; a scatter plot for vectors")] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Report on a data source, with a contact sheet."""
    with Bar().reading() as progress:
        collection = data_sources.load(source, view, progress=progress)
    sheet = unused(beside(source) / f"{collection.name}-contact-sheet.png") if out is None else out
    refuse_existing(sheet, force)
    Examples(collection.x[spread(len(collection), 100 if collection.are_images else 5000)]).save(sheet)
    report = described(collection) | {"contact sheet": str(sheet)}
    tell("\n".join(f"{key:<14} {in_words(value)}" for key, value in report.items() if value), report, json)


def described(collection: data_sources.Collection) -> dict[str, Any]:
    """The facts of a collection."""
    x = collection.x
    kind = "images, bytes" if collection.are_images else "vectors, float32"
    axes = (0, 2, 3) if collection.are_images else (0,)
    mean = x.sum(axes, dtype=torch.float64) / (x.numel() / x.shape[1])
    return {
        "name": collection.name,
        "examples": len(collection),
        "kind": kind,
        "shape": " x ".join(map(str, collection.shape)) + (" (c x h x w)" if collection.are_images else ""),
        "range": f"{x.min().item():g} to {x.max().item():g}",
        "mean": ", ".join(f"{value:.4g}" for value in mean[:8].tolist()),
        "classes": data_sources.counts(collection),
        "notes": list(collection.notes),
        "fingerprint": collection.fingerprint(),
    }


def beside(source: str) -> Path:
    """The current folder, or one for temporary files where that is part of the data: a sheet is no data."""
    inside = Path(source).is_dir() and Path(source).resolve() in [Path.cwd(), *Path.cwd().parents]
    return Path(gettempdir()) if inside else Path()


def in_words(value: Any) -> str:
    """A value of the report, for people."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return "; ".join(value) if isinstance(value, list) else str(value)


def demo(
    *,
    out: Annotated[Path, Parameter(help="where the demo's folder is made")] = Path("runs"),
    length: Annotated[float, Parameter(help="multiplies the steps of training; 0.1 for a quick look")] = 1.0,
    quiet: bool = False,
) -> None:
    """Train an autoencoder, a VAE and a GAN on 147 smileys, then compare what they generate on one page."""
    print(demo_page.demo(out, length, quiet=quiet))


def opened(run: str) -> Trained:
    return load_trained(folders.find(run), device_for("auto"))


def deliver(make: Callable[[], Examples], trained: Trained, name: str, to: Target) -> None:
    """Make examples, write them where asked, and say where that is."""
    path = unused((trained.folder or Path()) / f"{name}.png") if to.out is None else to.out
    refuse_existing(path, to.force)
    examples = make()
    examples.save(path)
    tell(str(path), {"out": str(path), "examples": len(examples)}, to.json)


def spread(n: int, most: int) -> list[int]:
    """At most so many indices, evenly spread over n."""
    return [i * n // min(n, most) for i in range(min(n, most))]
