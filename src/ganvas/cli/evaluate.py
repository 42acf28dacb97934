"""`ganvas evaluate`: the numbers of a trained model; `ganvas features`: what its samples can be compared on."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ..data import View, names_in
from ..errors import UserError
from ..evaluation import METRICS
from ..evaluation import evaluate as measure
from ..inference.trained import Trained
from ..metrics.features import NAMES, SUITS, where
from ..metrics.features import download as fetch
from ..training.progress import Bar
from .app import tell
from .common import VIEW, Flat, Json, RunName, opened

NO_TEST = "no test split that was not trained on: these are the training examples, and so all numbers are better"
LEARNT = (
    "the run was trained on these examples, or on most of them, and so all numbers are better: leave DATA out to "
    "measure on held-out ones, if there are any"
)
OF_PAIRS = (
    "l1", "psnr_db", "ssim", "rank", "first", "feature_rank", "feature_first", "label_agreement", "angle_rmse",
    "angle_correlation",
)  # fmt: skip
"""errors of translations against the truth, in the order in which they are printed"""


def evaluate(
    run: RunName,
    data: Annotated[
        str | None, Parameter(help="held-out examples; by default the test split of the run's data")
    ] = None,
    other: Annotated[str | None, Parameter(help="those of domain B, of a translator, whose domain A is DATA")] = None,
    /,
    *,
    pairs: Annotated[
        tuple[str, str] | None, Parameter(help="two sources of examples that belong together, to measure translations")
    ] = None,
    metrics: Annotated[tuple[str, ...], Parameter(negative=(), help="only these: " + ", ".join(METRICS))] = (),
    k: Annotated[
        int | None, Parameter(alias="-k", help="samples an example of the importance weighted bound, 500 if not given")
    ] = None,
    n: Annotated[
        int | None, Parameter(alias="-n", help="how many samples, and examples; 10,000 and all if not given")
    ] = None,
    features: Annotated[str, Parameter(help="on which samples are compared: " + ", ".join(("auto", *NAMES)))] = "auto",
    few: Annotated[bool, Parameter(negative=(), help="a Frechet distance even of fewer samples than features")] = False,
    prior: Annotated[str | None, Parameter(help="fitted prior that samples are drawn from, as best")] = None,
    seed: Annotated[int, Parameter(help="of the samples")] = 0,
    view: Annotated[View, Flat] = VIEW,
    quiet: Annotated[bool, Parameter(negative=(), help="show no progress")] = False,
    json: Json = False,
) -> None:
    """Measure a trained model: samples, and of a VAE likelihood, use of the latent space and reconstructions."""
    trained, bar = opened(run), Bar(quiet)
    if data is None and view != VIEW:
        raise UserError(f"options of data need data: ganvas evaluate {run} DATA, or none for the run's own")
    own = None if data is None else view
    sources = data if data is None or other is None else (data, other)
    values = measure(
        trained, sources, own, metrics=names_in(metrics), k=k, n=n, features=features, few=few, prior=prior,
        pairs=pairs, seed=seed, progress=bar.say,
    )  # fmt: skip
    if values["split"] == "train":
        bar.notes([NO_TEST])
    elif sources is not None and learnt(trained, sources, view):
        bar.notes([LEARNT])
    tell(of_translator(values) if "round trip" in values else lines(values), values, json)


def learnt(trained: Trained, sources: str | tuple[str, str], view: View) -> bool:
    """Whether a run was trained on this split of these sources, as far as their names say."""
    origins = trained.origins()
    if origins is None or view.holdout or view.split != origins[1].split:
        return False
    own, given = (tuple([s] if isinstance(s, str) else s) for s in (origins[0], sources))
    return [Path(s).expanduser().resolve() for s in own] == [Path(s).expanduser().resolve() for s in given]


def features(
    *,
    download: Annotated[str | None, Parameter(help="fetch the published weights of these, as inception-v3-fid")] = None,
    json: Json = False,
) -> None:
    """List the features that `evaluate` compares samples on, and where their weights are."""
    if download is not None:
        path = str(fetch(download))
        tell([path], {"features": download, "weights": path}, json)
        return
    listed = [
        {"features": name, "for": SUITS[name], "there": where(name)[0], "weights": where(name)[1]} for name in NAMES
    ]
    text = [
        f"{v['features']:<22} {v['for']:<44} {v['weights'] if v['there'] else 'not there: ' + str(v['weights'])}"
        for v in listed
    ]
    tell(text, listed, json)


def lines(values: dict[str, Any]) -> list[str]:
    """The numbers, for people: what, how much, how it was taken."""
    v = values
    of = {"test": "test", "train": "training"}.get(v["split"], "given")
    count = f"{v['examples']} " if "examples" in v else ""
    shown = [f"{v['model']} at step {v['step']}, on {count}{of} examples of {v['data']}, seed {v['seed']}"]

    def line(name: str, text: str) -> None:
        shown.append(f"{name:<24} {text}")

    if "elbo" in v:
        line("ELBO", f"{with_error(v, 'elbo')} nats, {v['elbo_draws']} samples an example")
        line("", f"{v['elbo_bits_per_dimension']:.4f} bits per dimension{v['bits_of']}")
        line("  reconstruction", f"{v['reconstruction_nats']:.2f} nats, -E log p(x|z)")
        line("  KL", f"{v['kl_nats']:.2f} nats, KL(q(z|x) || p(z))")
    if "bound" in v:
        line(f"L_{v['bound_k']}", f"{with_error(v, 'bound')} nats, importance weighted bound on log p(x)")
        line("", f"{v['bound_bits_per_dimension']:.4f} bits per dimension{v['bits_of']}")
    if "active_units" in v:
        by_kl = "" if v["active_units_by_kl"] is None else f", {v['active_units_by_kl']} by KL > 0.01 nats"
        line("active units", f"{v['active_units']} of {v['dimensions']} by variance of the mean > 0.01{by_kl}")
        kl = sorted(v["kl_per_dimension"] or (), reverse=True)
        more = f" and {len(kl) - 12} more" if len(kl) > 12 else ""
        line("KL a dimension", " ".join(f"{x:.2f}" for x in kl[:12]) + more if kl else "none: the prior is a mixture")
        shown.extend(about_information(v))
    if "reconstruction_mse" in v:
        more = f", PSNR {v['psnr_db']:.2f} dB, SSIM {v['ssim']:.4f}" if v.get("psnr_db") is not None else ""
        line("reconstruction", f"mean square error {v['reconstruction_mse']:.5f}{more}")
    return shown + (about_samples(v) if "samples" in v else [])


def of_translator(v: dict[str, Any]) -> list[str]:
    """The numbers of a translator, for people: a block each way."""
    of = {"test": "test", "train": "training"}.get(v["split"], "given")
    shown = [
        f"{v['model']} at step {v['step']}, on {v['examples'][0]} and {v['examples'][1]} {of} examples of {v['data']}"
    ]
    pairs = v.get("pairs", {})
    for way in ("to B", "to A"):
        one, truth = v.get(way), pairs.get(way)
        if one is None:
            continue
        shown.append(f"translations {way}:")
        if "cycle_error" in one:
            shown.append(f"  {'cycle error':<24} {one['cycle_error']:.4f} +- {one['cycle_error:error']:.4f}")
        before = f", of what is translated {one['before']:.4f}" if "before" in one else ""
        shown.append(f"  {'sliced Wasserstein':<24} {one['distance']:.4f}, floor {one['distance:floor']:.4f}{before}")
        for name, value in one.items():
            if f"{name}:floor" in one and name != "distance":
                shown += [
                    f"  {line}" for line in with_floor(name, value, one[f"{name}:floor"], one.get(f"{name}:error"))
                ]
        shown += [f"  {name:<24} left out: {why}" for name, why in one["left_out"].items()]
        for key in OF_PAIRS:
            if truth and key in truth:
                least = f", unchanged {truth['unchanged'][key]:.4f}" if key in truth.get("unchanged", {}) else ""
                least += f", floor {truth[f'{key}:floor']:.4f}" if f"{key}:floor" in truth else ""
                shown.append(f"  {f'{key} (pairs)':<24} {truth[key]:.4f}{least}")
    return [*shown, *(f"warning: {sign}" for sign in v["signs"])]


def about_samples(v: dict[str, Any]) -> list[str]:
    """The numbers of samples, each beside its floor."""
    floor = {"train": "of as many training examples", "halves": "of the other half of the data"}[v["floor_from"]]
    of = {"test": "held-out", "train": "training"}.get(v["split"], "given")
    shown = [
        f"{v['samples']} samples against as many {of} examples; floor: the same {floor}",
        f"features {v['features']}: {v['protocol']}",
    ]
    for name, value in v.items():
        if f"{name}:floor" in v:
            short = name.removesuffix(f":{v['features']}")
            shown += with_floor(short, value, v[f"{name}:floor"], v.get(f"{name}:error"))
    return [*shown, *(f"{name:<24} left out: {why}" for name, why in v["left_out"].items())]


def with_floor(name: str, value: Any, least: Any, error: Any = None) -> list[str]:
    """A number of samples, or one of each class in lines of their own, with floor and standard error."""
    if isinstance(value, dict):
        lines = (with_floor(f"  {key}", value[key], least[key], (error or {}).get(key)) for key in value)
        return [name, *(line for several in lines for line in several)]
    return [f"{name:<24} {told(value)}{'' if error is None else f' +- {told(error)}'}, floor {told(least)}"]


def told(x: Any) -> str:
    """A number, or several, for people."""
    if isinstance(x, list):
        return " ".join(f"{one:.3g}" for one in x)
    return "none" if x is None else f"{x:.4g}"


def about_information(v: dict[str, Any]) -> list[str]:
    """Mutual information and the aggregate posterior's distance, with what such an estimate can show at most."""
    if "mutual_information" not in v:
        return [f"{'mutual information':<24} not measured: the model is a hierarchy"]
    least, most, n = v["mutual_information"], v["mutual_information_at_most"], v["mutual_information_examples"]
    from_prior, at_least = v["aggregate_from_prior"], v["aggregate_from_prior_at_least"]
    between, away, why = f"{least:.2f}", f"{from_prior:.2f}", f"on {n} examples"
    if v["mutual_information_is_bound"]:
        between = f"at least {least:.2f}" + ("" if most is None else f", at most {most:.2f}")
        away = f"at most {from_prior:.2f}" + (f", at least {at_least:.2f}" if at_least else "")
        why = f"of which {n} examples can show {v['mutual_information_limit']:.2f} for certain"
    return [
        f"{'mutual information':<24} {between} nats, {why}",
        f"{'KL(q(z) || p(z))':<24} {away} nats, the aggregate posterior's",
    ]


def with_error(values: dict[str, Any], name: str) -> str:
    error = values[f"{name}_error"]
    return f"{values[name]:.2f}" if error is None else f"{values[name]:.2f} +- {error:.2f}"
