"""`ganvas evaluate`: the numbers of a trained model; `ganvas features`: what its samples can be compared on."""

from typing import Annotated, Any

from cyclopts import Parameter

from .. import evaluation
from ..data.options import split_names
from ..evaluation.samples import MetricValues
from ..evaluation.tables import report_lines
from ..io.text import format_number
from ..metrics.features import FEATURE_NAMES, RECOMMENDED_FOR, download_weights, find_weights
from ..training.progress import ProgressBar
from .app import print_result, spell_options
from .common import FLAG, PRIOR_HELP, Given, HeldOutFlags, HeldOutOptions, Json, Quiet, RunName, load_run, require_data

NO_TEST_SPLIT_NOTE = "there are no held-out examples: these are the training examples, and so all numbers are better"
TRAINING_DATA_NOTE = (
    "the run was trained on these examples, or on most of them, and so all numbers are better: leave out DATA to "
    "measure on held-out examples, if there are any"
)
DATA_HELP = "held-out examples; by default the test split of the run's data"
PAIRS_HELP = "two sources, paired example by example, that tell right translations"
METRICS_HELP = "measure only these: " + ", ".join(evaluation.METRIC_NAMES)
DOWNLOAD_HELP = "fetch the published weights of these features"
IMPORTANCE_HELP = "samples per example for the importance weighted bound; 500 by default"
TARGET_HELP = "column of a table that models predict; by default the last one with few categories"
N_HELP = "how many samples, and how many examples; 10,000 and all by default"
MAX_NUMBERS = 12
"""numbers of a list that are shown, at most; --json has all"""
FEATURES_HELP = "features on which samples are compared: " + ", ".join(("auto", *FEATURE_NAMES))
Features = Annotated[str, Parameter(help=FEATURES_HELP)]
AllowFew = Annotated[bool, FLAG, Parameter(help="report FID even with fewer samples than features")]
SampleSeed = Annotated[int, Parameter(help="seed of the samples")]
LIKELIHOOD_ROWS = (
    ("elbo", "ELBO", "{elbo} nats, {elbo_samples} samples an example"),
    ("elbo", "", "{elbo_bits_per_dimension:.4f} bits per dimension{bits_note}"),
    ("elbo", "  reconstruction", "{reconstruction_nats:.2f} nats, -E log p(x|z)"),
    ("elbo", "  KL", "{kl_nats:.2f} nats, KL(q(z|x) || p(z))"),
    ("bound", "L_{importance_samples}", "{bound} nats, importance weighted bound on log p(x)"),
    ("bound", "", "{bound_bits_per_dimension:.4f} bits per dimension{bits_note}"),
)
"""lines for people, each where a number is known"""


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
    fitted_prior: Annotated[str | None, Parameter(help=PRIOR_HELP)] = None,
    target: Annotated[str | None, Parameter(help=TARGET_HELP)] = None,
    seed: SampleSeed = 0,
    options: HeldOutFlags = HeldOutOptions(),
    quiet: Quiet = False,
    json: Json = False,
    given: Given = frozenset(),
) -> None:
    """Measure a trained model: its samples; for VAEs also likelihood, latent space and reconstructions."""
    trained, bar = load_run(run), ProgressBar(quiet)
    require_data(data, given, f"data: ganvas evaluate {run} DATA, or none for the run's own")
    data_options = None if data is None else options
    sources = data if data is None or data_b is None else (data, data_b)
    values = evaluation.evaluate(
        trained, sources, data_options, metrics=split_names(metrics), importance_samples=importance_samples, n=n,
        features=features, allow_few=allow_few, fitted_prior=fitted_prior, pairs=pairs, target=target, seed=seed,
        progress=bar.say,
    )  # fmt: skip
    if values["split"] == "train":
        bar.print_notes([NO_TEST_SPLIT_NOTE])
    elif sources is not None and (origin := trained.training_data) and origin.is_named_by(sources, options):
        bar.print_notes([TRAINING_DATA_NOTE])
    print_result(translator_lines(values) if "cycle_statistics" in values else model_lines(values), values, json)


def features(*, download: Annotated[str | None, Parameter(help=DOWNLOAD_HELP)] = None, json: Json = False) -> None:
    """List the features on which samples are compared, and where their weights are."""
    if download is not None:
        path = str(download_weights(download))
        print_result([path], {"features": download, "weights": path}, json)
        return
    rows, lines = [], []
    for name, purpose in RECOMMENDED_FOR.items():
        there, weights = find_weights(name)
        rows.append({"features": name, "for": purpose, "there": there, "weights": weights})
        lines.append(f"{name:<22} {purpose:<44} {'' if there else 'not there: '}{weights}")
    print_result(lines, rows, json)


def line(name: str, text: str) -> str:
    """A line for people: what, and how much."""
    return f"{name:<24} {text}"


def split_word(values: MetricValues, test: str = "test") -> str:
    """Which examples a model was measured on."""
    return {"test": test, "train": "training"}.get(values["split"], "given")


def model_lines(values: MetricValues) -> list[str]:
    """The numbers of a model: what, how much, how it was measured."""
    count = f"{values['examples']} " if "examples" in values else ""
    examples = f"{count}{split_word(values)} examples of {values['data']}"
    examples += f" (from a sample of its {values['sampled_from']:,})" if "sampled_from" in values else ""
    lines = [f"{values['model']} at step {values['step']}, on {examples}, seed {values['seed']}"]
    numbers = dict(values)
    for name in (name for name in ("elbo", "bound") if name in values):
        error = values[f"{name}_error"]
        numbers[name] = f"{values[name]:.2f}" + ("" if error is None else f" +- {error:.2f}")
    rows = (texts for name, *texts in LIKELIHOOD_ROWS if name in values)
    lines += [line(title.format_map(numbers), text.format_map(numbers)) for title, text in rows]
    if "active_units" in values:
        by_kl = "" if values["active_units_by_kl"] is None else f", {values['active_units_by_kl']} by KL > 0.01 nats"
        active = f"{values['active_units']} of {values['dimensions']} by variance of the mean > 0.01{by_kl}"
        kl = sorted(values["kl_per_dimension"] or (), reverse=True)
        largest = join_first([f"{x:.2f}" for x in kl])
        kl_line = line("KL a dimension", largest or "none: the prior is a mixture")
        lines += [line("active units", active), kl_line, *information_lines(values)]
    if "reconstruction_mse" in values:
        psnr = values.get("psnr_db")
        quality = "" if psnr is None else f", PSNR {psnr:.2f} dB, SSIM {values['ssim']:.4f}"
        lines.append(line("reconstruction", f"mean square error {values['reconstruction_mse']:.5f}{quality}"))
        if "reconstruction_rmse" in values:
            errors = ", ".join(format_number(value, 4) for value in values["reconstruction_rmse"])
            lines.append(line("", f"root mean square error in units of the data {errors}"))
    lines += sample_lines(values) if "samples" in values else []
    return lines + (["", *report_lines(values["table"].evaluation)] if "table" in values else [])


def information_lines(values: MetricValues) -> list[str]:
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
    information, kl = f"{information} nats, {why}", f"{kl} nats, the aggregate posterior's"
    return [
        line("mutual information", information.format_map(values)), line("KL(q(z) || p(z))", kl.format_map(values)),
    ]  # fmt: skip


def translator_lines(values: MetricValues) -> list[str]:
    """The numbers of a translator: each way round trips, distances from the target domain, errors against the truth."""
    examples = "{} and {}".format(*values["examples"]) + f" {split_word(values)} examples of {values['data']}"
    lines = [f"{values['model']} at step {values['step']}, on {examples}"]
    for direction in (direction for direction in ("to_b", "to_a") if direction in values):
        scores, block = values[direction], list[str]()
        if scores.get("cycle_error") is not None:
            block = [line("cycle error", f"{scores['cycle_error']:.4f} +- {scores['cycle_error:error']:.4f}")]
        distance = f"{scores['sliced_wasserstein']:.4f}, floor {scores['sliced_wasserstein:floor']:.4f}"
        if (source := scores.get("sliced_wasserstein:input")) is not None:
            distance += f", of what is translated {source:.4f}"
        others = {name: x for name, x in scores.items() if name != "sliced_wasserstein"}
        block += [line("sliced Wasserstein", distance), *floor_lines(others)]
        errors = values.get("pairs", {}).get(direction, {})
        baseline = errors.get("identity_baseline", {})  # errors of leaving the input as it is
        for name, x in errors.items():
            if isinstance(x, float) and name != "median_rank" and not name.endswith(":floor"):
                unchanged = f", unchanged {baseline[name]:.4f}" if name in baseline else ""
                floor = f", floor {errors[f'{name}:floor']:.4f}" if f"{name}:floor" in errors else ""
                block.append(line(f"{name} (pairs)", f"{x:.4f}{unchanged}{floor}"))
        lines += [f"translations to {direction[-1].upper()}:", *(f"  {text}" for text in block)]
    return [*lines, *(f"warning: {sentence}" for sentence in values["warnings"])]


def sample_lines(values: MetricValues) -> list[str]:
    """The numbers of samples, each beside its floor."""
    floor = {"train": "of as many training examples", "halves": "of the other half of the data"}[values["floor_source"]]
    examples = f"{split_word(values, 'held-out')} examples; floor: the same {floor}"
    return [
        f"{values['samples']} samples against as many {examples}",
        f"features {values['features']}: {values['protocol']}", *floor_lines(values, f":{values['features']}"),
    ]  # fmt: skip


def floor_lines(values: MetricValues, suffix: str = "") -> list[str]:
    """Numbers with floor and standard error, those of classes in lines of their own; then what was not measured."""
    lines = []
    for name in (name for name in values if f"{name}:floor" in values):
        title, x = name.removesuffix(suffix), values[name]
        floor, error = values[f"{name}:floor"], values.get(f"{name}:error")
        if isinstance(x, dict):
            lines += [title, *(floor_line(f"  {key}", x[key], floor[key], (error or {}).get(key)) for key in x)]
        else:
            lines.append(floor_line(title, x, floor, error))
    return lines + [line(name, f"left out: {spell_options(why)}") for name, why in values["skip_reasons"].items()]


def floor_line(title: str, x: Any, floor: Any, error: Any) -> str:
    """A number, or several, with floor and standard error."""
    error_text = "" if error is None else f" +- {format_numbers(error)}"
    return line(title, f"{format_numbers(x)}{error_text}, floor {format_numbers(floor)}")


def join_first(texts: list[str]) -> str:
    """The first numbers, and how many more there are."""
    return " ".join(texts[:MAX_NUMBERS]) + (f" and {len(texts) - MAX_NUMBERS} more" if len(texts) > MAX_NUMBERS else "")


def format_numbers(x: Any) -> str:
    """A number, or several."""
    if isinstance(x, list):
        return join_first([format_number(number) for number in x])
    return "none" if x is None else format_number(x, 4)
