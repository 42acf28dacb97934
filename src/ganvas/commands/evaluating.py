"""`ganvas evaluate`: the numbers of a trained model."""

from typing import Annotated, Any

from cyclopts import Parameter

from .. import data as data_sources
from .. import folders
from ..artifact import Trained
from ..cli import tell
from ..data import Collection, View, names_in
from ..errors import UserError
from ..evaluation import METRICS
from ..evaluation import evaluate as measure
from ..progress import Bar
from .common import VIEW, Flat, Json, RunName, opened


def evaluate(
    run: RunName,
    data: Annotated[
        str | None, Parameter(help="held-out examples; by default the test split of the run's data")
    ] = None,
    /,
    *,
    metrics: Annotated[tuple[str, ...], Parameter(negative=(), help="only these: " + ", ".join(METRICS))] = (),
    k: Annotated[int, Parameter(alias="-k", help="samples an example of the importance weighted bound")] = 500,
    n: Annotated[int | None, Parameter(alias="-n", help="how many of the examples; all if not given")] = None,
    seed: Annotated[int, Parameter(help="of the samples")] = 0,
    view: Annotated[View, Flat] = VIEW,
    quiet: Annotated[bool, Parameter(negative=(), help="show no progress")] = False,
    json: Json = False,
) -> None:
    """Measure a trained autoencoder or VAE: bounds on the likelihood, use of the latent space, reconstructions."""
    trained, bar = opened(run), Bar(quiet)
    source, note = held_out(trained, run, view) if data is None else (data, "")
    bar.notes([note] if note else [])
    values = measure(
        trained, source, None if data is None else view,
        metrics=names_in(metrics) or METRICS, k=k, n=n, seed=seed, progress=bar.say,
    )  # fmt: skip
    tell("\n".join(lines(values)), values, json)


def held_out(trained: Trained, run: str, view: View) -> tuple[Collection, str]:
    """The test split of what the run was trained on, or else that itself, with a note; UserError where unknown."""
    if view != VIEW:
        raise UserError(f"options of data need data: ganvas evaluate {run} DATA, or none for the run's own")
    config = None if trained.folder is None else folders.read_config(trained.folder)
    if config is None or config["data"]["source"] == "array":
        raise UserError(f"{run} does not say where its data are: give held-out ones, ganvas evaluate {run} DATA")
    source, own = config["data"]["source"], config["data"]["view"]
    try:
        return data_sources.load(source, View(**(own | {"split": "test"}))), ""
    except UserError:
        note = "the run's data have no test split: these are the training examples, on which all numbers are better"
        return data_sources.load(source, View(**own)), note


def lines(values: dict[str, Any]) -> list[str]:
    """The numbers, for people: what, how much, how it was taken."""
    v = values
    shown = [f"{v['model']} at step {v['step']}, on {v['examples']} examples of {v['data']}, seed {v['seed']}"]

    def line(name: str, text: str) -> None:
        shown.append(f"{name:<24} {text}")

    if "elbo" in v:
        line("ELBO", f"{with_error(v, 'elbo')} nats, {v['elbo_draws']} samples an example")
        line("", f"{v['elbo_bits_per_dimension']:.4f} bits per dimension")
        line("  reconstruction", f"{v['reconstruction_nats']:.2f} nats, -E log p(x|z)")
        line("  KL", f"{v['kl_nats']:.2f} nats, KL(q(z|x) || p(z))")
    if "bound" in v:
        line(f"L_{v['bound_k']}", f"{with_error(v, 'bound')} nats, importance weighted bound on log p(x)")
        line("", f"{v['bound_bits_per_dimension']:.4f} bits per dimension")
    if "active_units" in v:
        by = f"by variance of the mean > 0.01, {v['active_units_by_kl']} by KL > 0.01 nats"
        line("active units", f"{v['active_units']} of {v['dimensions']} {by}")
        kl = sorted(v["kl_per_dimension"], reverse=True)
        more = f" and {len(kl) - 12} more" if len(kl) > 12 else ""
        line("KL a dimension", " ".join(f"{x:.2f}" for x in kl[:12]) + more)
    if "mutual_information" in v:
        line(
            "mutual information", f"{v['mutual_information']:.2f} nats, on {v['mutual_information_examples']} examples"
        )
        line(
            "KL(q(z) || p(z))",
            f"{v['aggregate_from_prior']:.2f} nats: the aggregate posterior's distance from the prior",
        )
    if "reconstruction_mse" in v:
        more = f", PSNR {v['psnr_db']:.2f} dB, SSIM {v['ssim']:.4f}" if "ssim" in v else ""
        line("reconstruction", f"mean square error {v['reconstruction_mse']:.5f}{more}")
    return shown


def with_error(values: dict[str, Any], name: str) -> str:
    return f"{values[name]:.2f} +- {values[f'{name}_error']:.2f}"
