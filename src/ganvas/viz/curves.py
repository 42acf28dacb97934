"""The curves of a run's log: a line chart for each thing that its lines say."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from ..io.run_folder import NON_LOSS_KEYS
from .plots import Chart, Series, line_charts

METRIC_TITLES = {"fid": "FID", "kid": "KID", "sliced_wasserstein": "sliced Wasserstein", "reverse_kl": "reverse KL",
                 "one_nn_accuracy": "1-NN accuracy"}  # fmt: skip
FEATURE_TITLES = {"lenet": "LeNet features", "efficientnet": "EfficientNet features", "inception": "Inception features",
                  "random": "random features"}  # fmt: skip


def draw_curves(lines: Sequence[dict[str, Any]]) -> Image.Image:
    """All that the lines of a run's log say, of which there is at least one, as charts over its steps."""
    return line_charts(run_charts(lines)).quantize(256, Image.Quantize.FASTOCTREE)  # makes a small file fast


def run_charts(lines: Sequence[dict[str, Any]]) -> list[Chart]:
    """A chart for each thing that the lines of a log say, of which there is at least one."""
    is_game, names = any("adversarial" in line for line in lines), loss_names(lines)
    has_terms = not is_game and "reconstruction" in names and len(names) > 1  # then the largest has its own chart
    groups = [["reconstruction"], [name for name in names if name != "reconstruction"]] if has_terms else [names]
    titles = ["losses" if len(group) > 1 and not has_terms else ", ".join(group[:4]) for group in groups]
    charts = [Chart(t, {name: log_series(lines, name) for name in g}) for t, g in zip(titles, groups, strict=True)]
    if distances := log_series(lines, "value", "samples"):  # how far samples are from the data, a ring at the best
        latest = [line["samples"] for line in lines if "samples" in line][-1]
        name, best = metric_title(latest["metric"]), latest["best_step"]
        charts.append(Chart(f"{name}, best: step {best}", {name: distances}, (0.0,), marked_step=float(best)))
    if is_game:
        charts += game_charts(lines)
    elif active := log_series(lines, "active_units", "latent"):
        d = next(line["latent"]["dimensions"] for line in reversed(lines) if "latent" in line)
        charts.append(Chart(f"active latent dimensions, of {d}", {"active": active}, (0.0, float(d))))
    return charts


def loss_chart(lines: Sequence[dict[str, Any]]) -> Chart:
    """The losses alone, in one chart."""
    return Chart("losses", {name: log_series(lines, name) for name in loss_names(lines)})


def wasserstein_chart(lines: Sequence[dict[str, Any]]) -> Chart:
    """The estimate of a WGAN's critic; without a point for other models."""
    return Chart("Wasserstein distance, estimated by D", {"W": log_series(lines, "wasserstein")}, (0.0,))


def compare_charts(logs: dict[str, Sequence[dict[str, Any]]]) -> list[Chart]:
    """A chart for each number that the logs of runs hold, by the runs' names, with a line a run."""
    charts: dict[str, Chart] = {}
    for run, lines in logs.items():
        for chart in run_charts(lines) if lines else ():
            for name, points in chart.series.items():
                about = chart.title.partition(", best:")[0]
                title = about if len(chart.series) == 1 else f"{about}: {name}" if about != "losses" else name
                charts.setdefault(title, replace(chart, title=title, series={}, marked_step=None)).series[run] = points
    return list(charts.values())


def loss_names(lines: Sequence[dict[str, Any]]) -> list[str]:
    """The names of the losses that any line holds."""
    return [name for name in dict.fromkeys(name for line in lines for name in line)
            if name not in ("step", "seconds", *NON_LOSS_KEYS)]  # fmt: skip


def log_series(lines: Sequence[dict[str, Any]], name: str, part: str = "") -> Series:
    """The steps and values of a number that not every line holds, in a part of it such as "adversarial"."""
    parts = [(line["step"], line.get(part, {}) if part else line) for line in lines]
    return [(float(step), float(values[name])) for step, values in parts if values.get(name) is not None]


def metric_title(metric: str) -> str:
    """A metric for people, of kid:efficientnet-lite0-v1@57934424 KID (EfficientNet features)."""
    name, _, space = metric.partition(":")
    title = METRIC_TITLES.get(name, name.replace("_", " "))
    return f"{title} ({FEATURE_TITLES.get(space.split('-')[0], space.split('@')[0])})" if space else title


def game_charts(lines: Sequence[dict[str, Any]]) -> list[Chart]:
    """How a game between generators and discriminators stands."""
    names = dict.fromkeys(name for line in lines for name in line.get("adversarial", {}))
    game = {name: log_series(lines, name, "adversarial") for name in names}

    def chart(title: str, names: dict[str, str], *shown_values: float, log: bool = False) -> Chart:
        return Chart(title, {name: game.get(key, []) for name, key in names.items()}, shown_values, log)

    def both_domains(title: str, key: str, *shown_values: float) -> Chart:
        return chart(title, {domain: f"{key}_{domain}" for domain in "AB"}, *shown_values)

    gradients = {name.removeprefix("gradient_"): name for name in game if name.startswith("gradient_")}
    losses = {"minimax": "minimax_gradient", "non-saturating": "non_saturating_gradient"}
    charts = [
        wasserstein_chart(lines),
        Chart("Jensen-Shannon divergence, estimated by D", {"JS": log_series(lines, "jensen_shannon")}, (0.0,)),
        chart("diversity of samples (1: the data's)", {"diversity": "diversity"}, 0.0, 1.0),
        chart("D's accuracy", {"real": "accuracy_real", "fake": "accuracy_fake"}, 0.0, 1.0),
        chart("probability of augmentation", {"p": "augment_p"}, 0.0, 1.0),
        chart("gap: D(real) - D(fake)", {} if "wasserstein" in lines[-1] else {"gap": "logit_gap"}, 0.0),
        both_domains("critics' accuracy", "accuracy", 0.0, 1.0),
        both_domains("gap of the critics: D(real) - D(fake)", "logit_gap", 0.0),
        both_domains("error of round trips, there and back", "cycle_error", 0.0),
        both_domains("error of round trips with faint noise added", "noisy_cycle_error", 0.0),
        both_domains("change of the input (1: the domains' difference)", "input_change", 0.0, 1.0),
        chart("slope: norm of D's gradient at its input", {"slope": "input_gradient"}, 0.0),
        chart("norm of each network's gradient", gradients, log=True),
        chart("norm of G's gradient under either loss", losses, log=True),
    ]  # fmt: skip
    return [c for c in charts if any(c.series.values())]
