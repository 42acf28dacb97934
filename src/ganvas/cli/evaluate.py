"""`ganvas evaluate`: the numbers of a trained model; `ganvas features`: what its samples can be compared on."""

from typing import Annotated, Any

from cyclopts import Parameter

from ..data.options import split_names
from ..evaluation import METRIC_NAMES
from ..evaluation import evaluate as measure
from ..metrics.features import FEATURE_NAMES, RECOMMENDED_FOR, find_weights
from ..metrics.features import download_weights as fetch
from ..training.progress import ProgressBar
from .app import print_result, spell_options
from .common import DEFAULT_HELD_OUT, FLAG, Given, HeldOutFlags, Json, Quiet, RunName, load_run, require_data

NO_TEST_SPLIT_NOTE = "there are no held-out examples: these are the training examples, and so all numbers are better"
TRAINING_DATA_NOTE = (
    "the run was trained on these examples, or on most of them, and so all numbers are better: leave out DATA to "
    "measure on held-out examples, if there are any"
)
DATA_HELP = "held-out examples; by default the test split of the run's data"
PAIRS_HELP = "two sources, paired example by example, that tell right translations"
METRICS_HELP = "measure only these: " + ", ".join(METRIC_NAMES)
DOWNLOAD_HELP = "fetch the published weights of these features"
IMPORTANCE_HELP = "samples per example for the importance weighted bound; 500 by default"
N_HELP = "how many samples, and how many examples; 10,000 and all by default"
FEATURES_HELP = "features on which samples are compared: " + ", ".join(("auto", *FEATURE_NAMES))
Features = Annotated[str, Parameter(help=FEATURES_HELP)]
AllowFew = Annotated[bool, FLAG, Parameter(help="report FID even with fewer samples than features")]
SampleSeed = Annotated[int, Parameter(help="seed of the samples")]
PAIR_METRICS = (
    "l1", "psnr_db", "ssim", "mean_rank", "top1_accuracy", "feature_mean_rank", "feature_top1_accuracy",
    "label_agreement", "angle_rmse", "angle_correlation",
)  # fmt: skip
"""errors of translations against the truth, in the order in which they are printed"""
LIKELIHOOD_ROWS = (
    ("elbo", "ELBO", "{elbo} nats, {elbo_samples} samples an example"),
    ("elbo", "", "{elbo_bits_per_dimension:.4f} bits per dimension{bits_note}"),
    ("elbo", "  reconstruction", "{reconstruction_nats:.2f} nats, -E log p(x|z)"),
    ("elbo", "  KL", "{kl_nats:.2f} nats, KL(q(z|x) || p(z))"),
    ("bound", "L_{importance_samples}", "{bound} nats, importance weighted bound on log p(x)"),
    ("bound", "", "{bound_bits_per_dimension:.4f} bits per dimension{bits_note}"),
)
"""lines for people, each where a number is known"""
Values = dict[str, Any]
"""what `ganvas.evaluate` returns"""


def evaluate(
    run: RunName,
    data: Annotated[str | None, Parameter(help=DATA_HELP)] = None,
    data_b: Annotated[str | None, Parameter(help="domain B of a translator, whose domain A is DATA")] = None,
    /,
    *,
    pairs: Annotated[tuple[str, str] | None, Parameter(help=PAIRS_HELP)] = None,
    metrics: Annotated[tuple[str, ...], Parameter(negative=(), help=METRICS_HELP)] = (),
    importance_samples: Annotated[int | None, Parameter(alias="-k", help=IMPORTANCE_HELP)] = None,
    n: Annotated[int | None, Parameter(alias="-n", help=N_HELP)] = None,
    features: Features = "auto",
    allow_few: AllowFew = False,
    fitted_prior: Annotated[str | None, Parameter(help="fitted prior to draw samples from, e.g. best")] = None,
    seed: SampleSeed = 0,
    options: HeldOutFlags = DEFAULT_HELD_OUT,
    quiet: Quiet = False,
    json: Json = False,
    given: Given = frozenset(),
) -> None:
    """Measure a trained model: its samples; for VAEs also likelihood, latent space and reconstructions."""
    trained, bar = load_run(run), ProgressBar(quiet)
    require_data(data, given, f"data: ganvas evaluate {run} DATA, or none for the run's own")
    data_options = None if data is None else options
    sources = data if data is None or data_b is None else (data, data_b)
    values = measure(
        trained, sources, data_options, metrics=split_names(metrics), importance_samples=importance_samples, n=n,
        features=features, allow_few=allow_few, fitted_prior=fitted_prior, pairs=pairs, seed=seed, progress=bar.say,
    )  # fmt: skip
    if values["split"] == "train":
        bar.print_notes([NO_TEST_SPLIT_NOTE])
    elif sources is not None and (origin := trained.training_data) and origin.is_named_by(sources, options):
        bar.print_notes([TRAINING_DATA_NOTE])
    print_result(translator_lines(values) if "cycle_statistics" in values else model_lines(values), values, json)


def features(*, download: Annotated[str | None, Parameter(help=DOWNLOAD_HELP)] = None, json: Json = False) -> None:
    """List the features on which samples are compared, and where their weights are."""
    if download is not None:
        path = str(fetch(download))
        print_result([path], {"features": download, "weights": path}, json)
        return
    rows, lines = [], []
    for name in FEATURE_NAMES:
        there, weights = find_weights(name)
        rows.append({"features": name, "for": RECOMMENDED_FOR[name], "there": there, "weights": weights})
        lines.append(f"{name:<22} {RECOMMENDED_FOR[name]:<44} {'' if there else 'not there: '}{weights}")
    print_result(lines, rows, json)


def line(name: str, text: str) -> str:
    """A line for people: what, and how much."""
    return f"{name:<24} {text}"


def split_word(values: Values, test: str = "test") -> str:
    """Which examples a model was measured on."""
    return {"test": test, "train": "training"}.get(values["split"], "given")


def model_lines(values: Values) -> list[str]:
    """The numbers of a model: what, how much, how it was measured."""
    count = f"{values['examples']} " if "examples" in values else ""
    examples = f"{count}{split_word(values)} examples of {values['data']}"
    lines = [f"{values['model']} at step {values['step']}, on {examples}, seed {values['seed']}"]
    numbers = values | {name: with_error(values, name) for name in ("elbo", "bound") if name in values}
    rows = (texts for name, *texts in LIKELIHOOD_ROWS if name in values)
    lines += [line(title.format_map(numbers), text.format_map(numbers)) for title, text in rows]
    if "active_units" in values:
        lines += code_lines(values)
    if "reconstruction_mse" in values:
        psnr = values.get("psnr_db")
        quality = "" if psnr is None else f", PSNR {psnr:.2f} dB, SSIM {values['ssim']:.4f}"
        lines.append(line("reconstruction", f"mean square error {values['reconstruction_mse']:.5f}{quality}"))
    return lines + (sample_lines(values) if "samples" in values else [])


def with_error(values: Values, name: str) -> str:
    """A number with its standard error, if it has one."""
    error = values[f"{name}_error"]
    return f"{values[name]:.2f}" + ("" if error is None else f" +- {error:.2f}")


def code_lines(values: Values) -> list[str]:
    """How the latent dimensions are used."""
    by_kl = "" if values["active_units_by_kl"] is None else f", {values['active_units_by_kl']} by KL > 0.01 nats"
    active = f"{values['active_units']} of {values['dimensions']} by variance of the mean > 0.01{by_kl}"
    kl = sorted(values["kl_per_dimension"] or (), reverse=True)
    largest = " ".join(f"{x:.2f}" for x in kl[:12]) + (f" and {len(kl) - 12} more" if len(kl) > 12 else "")
    kl_line = line("KL a dimension", largest or "none: the prior is a mixture")
    return [line("active units", active), kl_line, *information_lines(values)]


def information_lines(values: Values) -> list[str]:
    """Mutual information and the aggregate posterior's distance, with what such an estimate can show at most."""
    if "mutual_information" not in values:
        return [line("mutual information", "not measured: the model is a hierarchy")]
    information, kl = "{mutual_information:.2f}", "{kl_aggregate_prior:.2f}"
    why = "on {mutual_information_examples} examples"
    if values["mutual_information_is_bound"]:
        has_upper, has_lower = values["mutual_information_upper"] is not None, values["kl_aggregate_prior_lower"]
        information = f"at least {information}" + ", at most {mutual_information_upper:.2f}" * has_upper
        kl = f"at most {kl}" + (", at least {kl_aggregate_prior_lower:.2f}" if has_lower else "")
        why = "of which {mutual_information_examples} examples can show {mutual_information_limit:.2f} for certain"
    lines = (("mutual information", f"{information} nats, {why}"),
             ("KL(q(z) || p(z))", f"{kl} nats, the aggregate posterior's"))  # fmt: skip
    return [line(name, text.format_map(values)) for name, text in lines]


def translator_lines(values: Values) -> list[str]:
    """The numbers of a translator: a block each way."""
    examples = "{} and {}".format(*values["examples"]) + f" {split_word(values)} examples of {values['data']}"
    lines = [f"{values['model']} at step {values['step']}, on {examples}"]
    for direction in (direction for direction in ("to_b", "to_a") if direction in values):
        pair_scores = values.get("pairs", {}).get(direction, {})
        lines.append(f"translations to {direction[-1].upper()}:")
        lines += [f"  {text}" for text in direction_lines(values[direction]) + pair_lines(pair_scores)]
    return [*lines, *(f"warning: {sentence}" for sentence in values["warnings"])]


def direction_lines(scores: Values) -> list[str]:
    """Round trips of one way, and distances from the target domain."""
    error, source = scores.get("cycle_error"), scores.get("sliced_wasserstein:input")
    lines = [] if error is None else [line("cycle error", f"{error:.4f} +- {scores['cycle_error:error']:.4f}")]
    distance = f"{scores['sliced_wasserstein']:.4f}, floor {scores['sliced_wasserstein:floor']:.4f}"
    lines.append(
        line("sliced Wasserstein", distance + ("" if source is None else f", of what is translated {source:.4f}"))
    )
    return lines + floor_lines({name: x for name, x in scores.items() if name != "sliced_wasserstein"})


def pair_lines(scores: Values) -> list[str]:
    """Errors of one way against the truth, beside those of leaving the input as it is."""
    lines, baseline = [], scores.get("identity_baseline", {})
    for key in (key for key in PAIR_METRICS if key in scores):
        unchanged = f", unchanged {baseline[key]:.4f}" if key in baseline else ""
        floor = f", floor {scores[f'{key}:floor']:.4f}" if f"{key}:floor" in scores else ""
        lines.append(line(f"{key} (pairs)", f"{scores[key]:.4f}{unchanged}{floor}"))
    return lines


def sample_lines(values: Values) -> list[str]:
    """The numbers of samples, each beside its floor."""
    floor = {"train": "of as many training examples", "halves": "of the other half of the data"}[values["floor_source"]]
    examples = f"{split_word(values, 'held-out')} examples; floor: the same {floor}"
    return [
        f"{values['samples']} samples against as many {examples}",
        f"features {values['features']}: {values['protocol']}", *floor_lines(values, f":{values['features']}"),
    ]  # fmt: skip


def floor_lines(values: Values, suffix: str = "") -> list[str]:
    """Numbers with floor and standard error, those of classes in lines of their own; then what was not measured."""
    lines = []
    for name in (name for name in values if f"{name}:floor" in values):
        title, x = name.removesuffix(suffix), values[name]
        floor, error = values[f"{name}:floor"], values.get(f"{name}:error")
        if isinstance(x, dict):
            lines += [title, *(floor_line(f"  {key}", x[key], floor[key], (error or {}).get(key)) for key in x)]
        else:
            lines.append(floor_line(title, x, floor, error))
    skipped = values["skip_reasons"].items()
    return lines + [line(name, f"left out: {spell_options(why)}") for name, why in skipped]


def floor_line(title: str, x: Any, floor: Any, error: Any) -> str:
    """A number, or several, with floor and standard error."""
    error_text = "" if error is None else f" +- {format_numbers(error)}"
    return line(title, f"{format_numbers(x)}{error_text}, floor {format_numbers(floor)}")


def format_numbers(x: Any) -> str:
    """A number, or several."""
    if isinstance(x, list):
        return " ".join(f"{number:.3g}" for number in x)
    return "none" if x is None else f"{x:.4g}"
