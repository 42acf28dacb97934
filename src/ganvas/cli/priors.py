"""`ganvas fit-prior`: densities fitted to the codes of a trained model."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .. import data as data_sources
from ..data import Collection, View
from ..distributions.priors import BEST, Fitted
from ..errors import UserError
from ..inference.trained import NO_ENCODER, WEIGHTS, Trained
from ..model import Encodes
from ..training import run_folder
from ..training.progress import Bar
from ..training.resume import again
from .app import tell
from .common import VIEW, Flat, Json, RunName, opened


def fit_prior(
    run: RunName,
    data: Annotated[str | None, Parameter(help="whose codes; by default what the run was trained on")] = None,
    /,
    *,
    kinds: Annotated[
        tuple[str, ...], Parameter(negative=(), help="only these, by comma: gaussian, mixture, flow")
    ] = (),
    seed: Annotated[int, Parameter(help="of the codes, of those held out, and of the fits")] = 0,
    view: Annotated[View, Flat] = VIEW,
    quiet: Annotated[bool, Parameter(negative=(), help="show no progress")] = False,
    json: Json = False,
) -> None:
    """Fit priors to the codes of an autoencoder or a VAE, so that it can sample from where its codes are.

    They are kept with the weights, in the same file, in place of any before: `ganvas sample RUN --prior best`. The
    score is the mean log-density of held-out codes in nats, higher is better; standard is N(0, I).
    """
    path, bar = run_folder.find(run), Bar(quiet)
    place = path if path.is_dir() else path.parent
    with run_folder.alone(place, bar.notes) if (place / run_folder.CONFIG).exists() else nullcontext():
        fit_within(run, path, data, kinds, seed, view, bar, json)


def fit_within(
    run: str, path: Path, data: str | None, kinds: tuple[str, ...], seed: int, view: View, bar: Bar, json: bool
) -> None:
    """`fit_prior`, while nothing else writes the weights."""
    trained = opened(run)
    trained.needs(Encodes, NO_ENCODER)
    source: str | Collection = its_own(trained, run, view, bar) if data is None else data
    chosen = data_sources.names_in(kinds) or None
    fitted = trained.fit_prior(source, None if data is None else view, kinds=chosen, seed=seed, progress=bar.say)
    assert fitted.priors is not None
    file = path / WEIGHTS if path.is_dir() else path
    fitted.save(file)
    bar.notes(fitted.priors.notes)
    bar.say(f"kept in {file}: ganvas sample {run} --prior {BEST}")
    report(fitted.priors, str(file), json)


def its_own(trained: Trained, run: str, view: View, bar: Bar) -> Collection:
    """What the run was trained on; UserError where that is not known, or cannot be read again."""
    if view != VIEW:
        raise UserError(f"options of data need data: ganvas fit-prior {run} DATA, or none for what it was trained on")
    config = None if trained.folder is None else run_folder.read_config(trained.folder)
    if trained.folder is None or config is None or config["data"]["source"] == "array":
        raise UserError(f"{run} does not say where its data are: give them, ganvas fit-prior {run} DATA")
    trained.needs(Encodes, NO_ENCODER)
    found = again(config, None, trained.folder, bar, "ganvas fit-prior")
    assert isinstance(found, Collection)  # of an encoder
    return found


def report(fitted: Fitted, file: str, as_json: bool) -> None:
    """The likelihoods, on stdout."""
    lines = [f"{'prior':<10} nats per held-out code"]
    lines += [
        f"{kind:<10} {value:>22.2f}{'  best' if kind == fitted.best else ''}" for kind, value in fitted.held_out.items()
    ]
    value = {
        "weights": file, "data": fitted.data, "held_out": fitted.held_out, "best": fitted.best,
        "codes": fitted.counts[0], "codes_held_out": fitted.counts[1], "notes": list(fitted.notes),
    }  # fmt: skip
    tell(lines, value, as_json)
