"""`ganvas fit-prior`: densities fitted to the codes of a trained model."""

from contextlib import nullcontext
from functools import partial
from typing import Annotated

from cyclopts import Parameter

from .. import data as data_sources
from ..data import DataOptions, Dataset
from ..data.options import split_names
from ..errors import UserError
from ..inference.trained import NO_ENCODER
from ..inference.training_data import describe_data
from ..io.run_folder import find_weights
from ..model import EncoderModel
from ..training import run_records
from ..training.progress import ProgressBar
from .app import print_result
from .common import DataFlags, Given, Json, Quiet, RunName, load_run, require_data

KINDS_HELP = "fit only these, separated by commas: gaussian, mixture, flow"


def fit_prior(
    run: RunName,
    data: Annotated[str | None, Parameter(help="examples to encode; by default what the run was trained on")] = None,
    /,
    *,
    kinds: Annotated[tuple[str, ...], Parameter(negative=(), help=KINDS_HELP)] = (),
    seed: Annotated[int, Parameter(help="seed of the codes, of the held-out part and of the fits")] = 0,
    options: DataFlags = DataOptions(),
    quiet: Quiet = False,
    json: Json = False,
    given: Given = frozenset(),
) -> None:
    """Fit priors to the codes of an autoencoder or a VAE, so that it can sample from where its codes are.

    The file of the weights keeps them, in place of earlier ones; `ganvas sample RUN` then draws from the best.
    Their score is the mean log-density of held-out codes in nats: higher is better. The prior standard is N(0, I).
    """
    require_data(data, given, f"data: ganvas fit-prior {run} DATA, or none for what it was trained on")
    path, bar = run_records.find_run(run), ProgressBar(quiet)
    (file, folder, _), names = find_weights(path), split_names(kinds) or None
    with folder.lock(bar.print_notes) if folder.is_run else nullcontext():  # nothing else may write the weights
        trained = load_run(run)
        trained.require(EncoderModel, NO_ENCODER)
        source: str | Dataset | None = data
        if source is None:
            if (training_data := trained.training_data) is None:
                raise UserError(f"{run} does not say where its data are: give them, ganvas fit-prior {run} DATA")
            with bar.track_images() as progress:
                own_data = training_data.load(partial(data_sources.load_or_stream, progress=progress))
            training_data.check_unchanged(describe_data(own_data))
            source = own_data.in_memory
        trained = trained.fit_prior(source, None if data is None else options, kinds=names, seed=seed, progress=bar.say)
        trained.save(file)
    priors = trained.priors
    assert priors is not None
    bar.print_notes(priors.notes)
    bar.say(f"kept in {file}: ganvas sample {run} draws from the best")
    rows = ((kind, value, "  best" * (kind == priors.best)) for kind, value in priors.held_out.items())
    lines = [f"{'prior':<10} nats per held-out code", *(f"{kind:<10} {x:>22.2f}{mark}" for kind, x, mark in rows)]
    report = {
        "weights": str(file), "data": priors.data, "held_out": priors.held_out, "best": priors.best,
        "codes": priors.counts[0], "codes_held_out": priors.counts[1], "notes": list(priors.notes),
    }  # fmt: skip
    print_result(lines, report, json)
