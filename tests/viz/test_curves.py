"""The curves of a run's log: every number is drawn, where it belongs, and nothing in a log stops them."""

import gc
import logging
import os
import subprocess
import sys
from math import inf, nan
from pathlib import Path

import matplotlib
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import ganvas
from ganvas.data import Dataset
from ganvas.model import Model
from ganvas.training.run_records import losses_of, read_log
from ganvas.viz.curves import draw_curves, log_series, loss_names, metric_title
from ganvas.viz.plots import (
    CHART_HEIGHT,
    CHART_WIDTH,
    COLOURS,
    Chart,
    Series,
    downsample,
    format_tick,
    line_charts,
    scatter,
)

GAMES: list[Model] = [ganvas.DCGAN(width=4), ganvas.WGANGP(width=4, n_critic=1), ganvas.R3GAN(width=4)]


def inked(image: Image.Image, colour: str) -> list[tuple[int, int]]:
    """Pixels of about this colour."""
    want = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    rgb = image.convert("RGB")
    pixels = ((x, y) for y in range(rgb.height) for x in range(rgb.width))
    return [at for at in pixels if sum(abs(a - b) for a, b in zip(rgb.getpixel(at), want, strict=True)) < 60]


def line(values: list[float]) -> Series:
    return [(float(step), value) for step, value in enumerate(values)]


def draw(series: dict[str, Series], log: bool = False) -> Image.Image:
    return line_charts([Chart("title", series, log=log)])


def test_a_rising_line_rises_and_a_falling_one_falls() -> None:
    for values, rises in (([1.0, 2.0, 3.0], True), ([3.0, 2.0, 1.0], False)):
        at = inked(draw({"a": line(values)}), COLOURS[0])
        first, last = min(at), max(at)
        assert first[0] < CHART_WIDTH / 3
        assert last[0] > CHART_WIDTH * 2 / 3
        assert (first[1] > last[1]) == rises


def test_every_series_has_its_colour_and_its_name() -> None:
    alone, both = draw({"a": line([1.0, 2.0])}), draw({"a": line([1.0, 2.0]), "b": line([2.0, 1.0])})
    assert inked(alone, COLOURS[0])
    assert not inked(alone, COLOURS[1])
    assert len(inked(both, COLOURS[0])) > 50
    assert len(inked(both, COLOURS[1])) > 50


def test_a_logarithmic_axis_makes_equal_ratios_equal_distances() -> None:
    at = inked(draw({"a": line([1e-4, 1e-2, 1.0])}, log=True), COLOURS[0])
    rows = [min(y for x, y in at if abs(x - column) < 3) for column in (min(at)[0], (min(at)[0] + max(at)[0]) // 2)]
    assert rows[0] - rows[1] == pytest.approx(rows[1] - min(y for _, y in at), abs=4)


def test_what_has_no_place_in_a_chart_is_left_out() -> None:
    expected = draw({"a": [(0.0, 1.0), (2.0, 3.0)]})
    for bad in (nan, inf, -inf, 1e300):
        assert draw({"a": [(0.0, 1.0), (1.0, bad), (2.0, 3.0)]}).tobytes() == expected.tobytes()
    assert draw({"a": [(0.0, -1.0)]}, log=True).size == (CHART_WIDTH, CHART_HEIGHT)
    assert draw({}).size == (CHART_WIDTH, CHART_HEIGHT)


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [1e9, 1e9 + 1e-6], [1e-190, 1e190], [1e190, -1e190]])
@pytest.mark.parametrize("log", [False, True])
def test_any_numbers_can_be_drawn(values: list[float], log: bool) -> None:
    assert draw({"a": line(values)}, log).size == (CHART_WIDTH, CHART_HEIGHT)


@pytest.mark.parametrize("name", ["$\\frac$", "_hidden", "日本", "a\x1b[31m\nb", "\udcff", "long " * 50])
def test_names_are_drawn_as_they_are(name: str) -> None:
    picture = line_charts([Chart(name, {name: line([1.0, 2.0]), "b": line([2.0, 1.0])})])
    assert [at for at in inked(picture, COLOURS[0]) if at[1] < 45]  # in the legend


def test_the_users_own_settings_of_matplotlib_neither_matter_nor_change(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, level = draw({"a": line([1.0, 2.0])}), logging.getLogger("matplotlib").level
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 30.0)
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)
    settings = dict(matplotlib.rcParams)
    assert draw({"a": line([1.0, 2.0])}).tobytes() == expected.tobytes()
    assert dict(matplotlib.rcParams) == settings
    assert logging.getLogger("matplotlib").level == level


def test_a_home_that_cannot_be_written_to_is_no_obstacle(tmp_path: Path) -> None:
    code = "from ganvas.viz.plots import *; print(line_charts([Chart('t', {'a': [(0.0, 1.0), (1.0, 2.0)]})]).size)"
    (tmp_path / "file").touch()
    environment = os.environ | {"HOME": "/nonexistent", "MPLCONFIGDIR": str(tmp_path / "file" / "below")}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert (result.stdout.strip(), result.stderr) == (f"({CHART_WIDTH}, {CHART_HEIGHT})", "")


def test_matplotlib_is_imported_when_something_is_drawn() -> None:
    code = "import sys, ganvas.training.run, ganvas.cli.app; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_log_that_is_longer_than_the_panel_is_wide_becomes_medians() -> None:
    points = downsample(line([0.0, 0.0, 90.0] * 1000), 100)
    assert len(points) <= 100
    assert {y for _, y in points} == {0.0}


@pytest.mark.parametrize(("value", "text"), [(0.05, "0.05"), (800, "800"), (20000, "20k"), (1.5e6, "1.5M"), (0, "0")])
def test_numbers_are_said_shortly(value: float, text: str) -> None:
    assert format_tick(float(value)) == text


@pytest.mark.draws
@pytest.mark.parametrize("model", GAMES, ids=lambda model: type(model).__name__)
def test_a_game_leaves_its_curves_in_the_runs_folder(model: Model, images: Dataset) -> None:
    trained = ganvas.train(model, images, steps=4, batch_size=8, checkpoint_every=2, quiet=True)
    assert trained.folder is not None
    lines = read_log(trained.folder)
    assert {"diversity", "input_gradient", "logit_gap", "gradient_G", "gradient_D"} <= lines[-1]["adversarial"].keys()
    assert [step for step, _ in log_series(lines, "value", "samples")] == [4]
    with Image.open(trained.folder / "curves.png") as picture:
        assert picture.height // CHART_HEIGHT >= 3


@pytest.mark.draws
def test_a_translator_leaves_curves_of_both_domains(images: Dataset) -> None:
    model = ganvas.CycleGAN(width=4, blocks=1)
    trained = ganvas.train(
        model, (images, images.select(slice(20))), steps=4, batch_size=8, checkpoint_every=2, quiet=True
    )
    assert trained.folder is not None
    game = read_log(trained.folder)[-1]["adversarial"]
    for name in ("accuracy", "logit_gap", "cycle_error", "noisy_cycle_error", "input_change"):
        assert {f"{name}_A", f"{name}_B"} <= game.keys()
    assert {"gradient_G", "gradient_F", "gradient_DX", "gradient_DY"} <= game.keys()
    with Image.open(trained.folder / "curves.png") as picture:
        assert picture.height // CHART_HEIGHT == 3  # seven panels


@pytest.mark.draws
def test_a_vae_leaves_its_curves_too(images: Dataset) -> None:
    trained = ganvas.train(ganvas.VAE(width=4, latent=2), images, steps=2, batch_size=8, quiet=True)
    assert isinstance(trained.folder, Path)
    with Image.open(trained.folder / "curves.png") as picture:
        assert picture.width > CHART_WIDTH


def test_a_single_line_of_a_log_is_a_picture_of_dots() -> None:
    assert inked(draw_curves([{"step": 5, "seconds": 1.0, "reconstruction": 3.0}]), COLOURS[0])


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        ("kid:efficientnet-lite0-v1@57934424", "KID (EfficientNet features)"),
        ("kid:random-conv-v2@1", "KID (random features)"),
        ("fid:values", "FID (values)"),
        ("sliced_wasserstein", "sliced Wasserstein"),
    ],
)
def test_a_chart_of_samples_says_its_metric_in_words(metric: str, title: str) -> None:
    assert metric_title(metric) == title


def test_the_schedule_in_a_line_is_no_loss() -> None:
    """A run of r3gan with --burn-in failed when its curves were drawn."""
    line = {"step": 1, "seconds": 0.1, "real": 1.0, "schedule": {"lr_factor": 0.5}}
    assert loss_names([line]) == ["real"]
    assert losses_of(line) == {"real": 1.0}


def test_figures_are_freed_at_once() -> None:
    """Else a run whose previews are drawings would hold dozens of them."""

    def figures() -> int:
        return sum(type(each) is Figure for each in gc.get_objects())

    gc.collect()
    before = figures()
    for _ in range(2):
        scatter([torch.zeros(3, 2)])
        draw({"a": line([1.0, 2.0])})
        assert figures() == before
    assert gc.isenabled()
