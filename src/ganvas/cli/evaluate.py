"""`ganvas evaluate`: the numbers of a trained model; `ganvas features`: what its samples can be compared on."""

from typing import Annotated, Any

from cyclopts import Parameter

from ..data import split_names
from ..errors import UserError
from ..evaluation import METRIC_NAMES
from ..evaluation import evaluate as measure
from ..metrics.features import FEATURE_NAMES, RECOMMENDED_FOR, find_weights
from ..metrics.features import download_weights as fetch
from ..training.progress import ProgressBar
from .app import print_result
from .common import DATA_OPTION_NAMES, DEFAULT_HELD_OUT, Given, HeldOutFlags, Json, RunName, load_run

NO_TEST_SPLIT_NOTE = (
    "no test split that was not trained on: these are the training examples, and so all numbers are better"
)
TRAINING_DATA_NOTE = (
    "the run was trained on these examples, or on most of them, and so all numbers are better: leave DATA out to "
    "measure on held-out ones, if there are any"
)
PAIR_METRICS = (
    "l1", "psnr_db", "ssim", "mean_rank", "top1_accuracy", "feature_mean_rank", "feature_top1_accuracy",
    "label_agreement", "angle_rmse", "angle_correlation",
)  # fmt: skip
"""errors of translations against the truth, in the order in which they are printed"""


def evaluate(
    run: RunName,
    data: Annotated[
        str | None, Parameter(help="held-out examples; by default the test split of the run's data")
    ] = None,
    data_b: Annotated[str | None, Parameter(help="domain B of a translator, whose domain A is DATA")] = None,
    /,
    *,
    pairs: Annotated[
        tuple[str, str] | None, Parameter(help="two sources, paired example by example, to measure translations")
    ] = None,
    metrics: Annotated[tuple[str, ...], Parameter(negative=(), help="only these: " + ", ".join(METRIC_NAMES))] = (),
    importance_samples: Annotated[
        int | None, Parameter(alias="-k", help="samples per example for the importance weighted bound; 500 by default")
    ] = None,
    n: Annotated[
        int | None, Parameter(alias="-n", help="how many samples, and how many examples; 10,000 and all by default")
    ] = None,
    features: Annotated[
        str, Parameter(help="what samples are compared on: " + ", ".join(("auto", *FEATURE_NAMES)))
    ] = "auto",
    allow_few: Annotated[bool, Parameter(negative=(), help="report FID even with fewer samples than features")] = False,
    fitted_prior: Annotated[str | None, Parameter(help="fitted prior to draw samples from, e.g. best")] = None,
    seed: Annotated[int, Parameter(help="seed of the samples")] = 0,
    options: HeldOutFlags = DEFAULT_HELD_OUT,
    quiet: Annotated[bool, Parameter(negative=(), help="show no progress")] = False,
    json: Json = False,
    given: Given = frozenset(),
) -> None:
    """Measure a trained model: its samples; for VAEs also likelihood, latent space and reconstructions."""
    trained, bar = load_run(run), ProgressBar(quiet)
    if data is None and given & DATA_OPTION_NAMES:
        raise UserError(f"options of data need data: ganvas evaluate {run} DATA, or none for the run's own")
    data_options = None if data is None else options
    sources = data if data is None or data_b is None else (data, data_b)
    values = measure(
        trained, sources, data_options, metrics=split_names(metrics), importance_samples=importance_samples, n=n,
        features=features, allow_few=allow_few, fitted_prior=fitted_prior,
        pairs=pairs, seed=seed, progress=bar.say,
    )  # fmt: skip
    if values["split"] == "train":
        bar.print_notes([NO_TEST_SPLIT_NOTE])
    elif sources is not None and trained.training_data and trained.training_data.is_named_by(sources, options):
        bar.print_notes([TRAINING_DATA_NOTE])
    print_result(translator_lines(values) if "cycle_statistics" in values else model_lines(values), values, json)


def features(
    *,
    download: Annotated[str | None, Parameter(help="fetch the published weights of these features")] = None,
    json: Json = False,
) -> None:
    """List the features that `evaluate` compares samples on, and where their weights are."""
    if download is not None:
        path = str(fetch(download))
        print_result([path], {"features": download, "weights": path}, json)
        return
    rows = [
        {
            "features": name,
            "for": RECOMMENDED_FOR[name],
            "there": find_weights(name)[0],
            "weights": find_weights(name)[1],
        }
        for name in FEATURE_NAMES
    ]
    table = [
        f"{v['features']:<22} {v['for']:<44} {v['weights'] if v['there'] else 'not there: ' + str(v['weights'])}"
        for v in rows
    ]
    print_result(table, rows, json)


def model_lines(result: dict[str, Any]) -> list[str]:
    """The numbers, for people: what, how much, how it was taken."""
    count = f"{result['examples']} " if "examples" in result else ""
    output = [
        f"{result['model']} at step {result['step']}, on {count}{split_word(result)} examples of {result['data']}, "
        f"seed {result['seed']}"
    ]

    def line(name: str, text: str) -> None:
        output.append(f"{name:<24} {text}")

    if "elbo" in result:
        line("ELBO", f"{format_with_error(result, 'elbo')} nats, {result['elbo_samples']} samples an example")
        line("", f"{result['elbo_bits_per_dimension']:.4f} bits per dimension{result['bits_note']}")
        line("  reconstruction", f"{result['reconstruction_nats']:.2f} nats, -E log p(x|z)")
        line("  KL", f"{result['kl_nats']:.2f} nats, KL(q(z|x) || p(z))")
    if "bound" in result:
        line(
            f"L_{result['importance_samples']}",
            f"{format_with_error(result, 'bound')} nats, importance weighted bound on log p(x)",
        )
        line("", f"{result['bound_bits_per_dimension']:.4f} bits per dimension{result['bits_note']}")
    if "active_units" in result:
        by_kl = "" if result["active_units_by_kl"] is None else f", {result['active_units_by_kl']} by KL > 0.01 nats"
        line(
            "active units", f"{result['active_units']} of {result['dimensions']} by variance of the mean > 0.01{by_kl}"
        )
        kl = sorted(result["kl_per_dimension"] or (), reverse=True)
        more = f" and {len(kl) - 12} more" if len(kl) > 12 else ""
        line("KL a dimension", " ".join(f"{x:.2f}" for x in kl[:12]) + more if kl else "none: the prior is a mixture")
        output.extend(information_lines(result))
    if "reconstruction_mse" in result:
        more = (
            f", PSNR {result['psnr_db']:.2f} dB, SSIM {result['ssim']:.4f}" if result.get("psnr_db") is not None else ""
        )
        line("reconstruction", f"mean square error {result['reconstruction_mse']:.5f}{more}")
    return output + (sample_lines(result) if "samples" in result else [])


def translator_lines(result: dict[str, Any]) -> list[str]:
    """The numbers of a translator, for people: a block each way."""
    n_a, n_b = result["examples"]
    output = [f"{result['model']} at step {result['step']}, on {n_a} and {n_b} {split_word(result)} examples of "
              f"{result['data']}"]  # fmt: skip
    for direction in ("to_b", "to_a"):
        if direction in result:
            output.append(f"translations to {direction[-1].upper()}:")
            output += direction_lines(result[direction])
            output += pair_lines(result.get("pairs", {}).get(direction, {}))
    return [*output, *(f"warning: {sentence}" for sentence in result["warnings"])]


def direction_lines(scores: dict[str, Any]) -> list[str]:
    """Round trips of one way, and distances from the target domain."""
    output = []
    if "cycle_error" in scores:
        output.append(f"  {'cycle error':<24} {scores['cycle_error']:.4f} +- {scores['cycle_error:error']:.4f}")
    distance, floor = scores["sliced_wasserstein"], scores["sliced_wasserstein:floor"]
    source = scores.get("sliced_wasserstein:input")
    of_input = "" if source is None else f", of what is translated {source:.4f}"
    output.append(f"  {'sliced Wasserstein':<24} {distance:.4f}, floor {floor:.4f}{of_input}")
    for name, value in scores.items():
        if f"{name}:floor" in scores and name != "sliced_wasserstein":
            lines = floor_lines(name, value, scores[f"{name}:floor"], scores.get(f"{name}:error"))
            output += [f"  {line}" for line in lines]
    return output + [f"  {name:<24} left out: {why}" for name, why in scores["skip_reasons"].items()]


def pair_lines(scores: dict[str, Any]) -> list[str]:
    """Errors of one way against the truth, beside those of leaving the input as it is."""
    output, baseline = [], scores.get("identity_baseline", {})
    for key in PAIR_METRICS:
        if key in scores:
            notes = f", unchanged {baseline[key]:.4f}" if key in baseline else ""
            notes += f", floor {scores[f'{key}:floor']:.4f}" if f"{key}:floor" in scores else ""
            output.append(f"  {f'{key} (pairs)':<24} {scores[key]:.4f}{notes}")
    return output


def split_word(result: dict[str, Any], test: str = "test") -> str:
    """Which examples a model was measured on, for people."""
    return {"test": test, "train": "training"}.get(result["split"], "given")


def sample_lines(result: dict[str, Any]) -> list[str]:
    """The numbers of samples, each beside its floor."""
    floor = {"train": "of as many training examples", "halves": "of the other half of the data"}[result["floor_source"]]
    kind = split_word(result, "held-out")
    output = [
        f"{result['samples']} samples against as many {kind} examples; floor: the same {floor}",
        f"features {result['features']}: {result['protocol']}",
    ]
    for name, value in result.items():
        if f"{name}:floor" in result:
            base_name = name.removesuffix(f":{result['features']}")
            output += floor_lines(base_name, value, result[f"{name}:floor"], result.get(f"{name}:error"))
    return [*output, *(f"{name:<24} left out: {why}" for name, why in result["skip_reasons"].items())]


def floor_lines(name: str, value: Any, floor: Any, error: Any = None) -> list[str]:
    """A number of samples, or one of each class in lines of their own, with floor and standard error."""
    if isinstance(value, dict):
        lines = (floor_lines(f"  {key}", value[key], floor[key], (error or {}).get(key)) for key in value)
        return [name, *(line for class_lines in lines for line in class_lines)]
    return [
        f"{name:<24} {format_numbers(value)}{'' if error is None else f' +- {format_numbers(error)}'}, floor "
        f"{format_numbers(floor)}"
    ]


def format_numbers(x: Any) -> str:
    """A number, or several, for people."""
    if isinstance(x, list):
        return " ".join(f"{number:.3g}" for number in x)
    return "none" if x is None else f"{x:.4g}"


def information_lines(result: dict[str, Any]) -> list[str]:
    """Mutual information and the aggregate posterior's distance, with what such an estimate can show at most."""
    if "mutual_information" not in result:
        return [f"{'mutual information':<24} not measured: the model is a hierarchy"]
    lower, upper = result["mutual_information"], result["mutual_information_upper"]
    from_prior, kl_lower = result["kl_aggregate_prior"], result["kl_aggregate_prior_lower"]
    n = result["mutual_information_examples"]
    mi_text, kl_text, why = f"{lower:.2f}", f"{from_prior:.2f}", f"on {n} examples"
    if result["mutual_information_is_bound"]:
        mi_text = f"at least {lower:.2f}" + ("" if upper is None else f", at most {upper:.2f}")
        kl_text = f"at most {from_prior:.2f}" + (f", at least {kl_lower:.2f}" if kl_lower else "")
        why = f"of which {n} examples can show {result['mutual_information_limit']:.2f} for certain"
    return [
        f"{'mutual information':<24} {mi_text} nats, {why}",
        f"{'KL(q(z) || p(z))':<24} {kl_text} nats, the aggregate posterior's",
    ]


def format_with_error(values: dict[str, Any], name: str) -> str:
    error = values[f"{name}_error"]
    return f"{values[name]:.2f}" if error is None else f"{values[name]:.2f} +- {error:.2f}"
