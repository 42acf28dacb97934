"""The curves of a run's log: every number is drawn, where it belongs, and nothing in a log stops them."""

from math import inf, nan
from pathlib import Path

import pytest
from PIL import Image

import ganvas
from ganvas.data import Dataset
from ganvas.model import Model
from ganvas.training.run_folder import read_log
from ganvas.viz.curves import (
    HEIGHT,
    PANEL_SPACING,
    WIDTH,
    Series,
    downsample,
    draw_curves,
    format_tick,
    line_chart,
    log_series,
    log_ticks,
)
from ganvas.viz.plots import COLOURS

GAMES: list[Model] = [ganvas.DCGAN(width=4), ganvas.WGANGP(width=4, n_critic=1), ganvas.R3GAN(width=4)]


def inked(image: Image.Image, colour: str) -> list[tuple[int, int]]:
    """Pixels of about this colour."""
    want = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    rgb = image.convert("RGB")
    pixels = ((x, y) for y in range(rgb.height) for x in range(rgb.width))
    return [at for at in pixels if sum(abs(a - b) for a, b in zip(rgb.getpixel(at), want, strict=True)) < 60]


def line(values: list[float]) -> Series:
    return [(float(step), value) for step, value in enumerate(values)]


def test_a_rising_line_rises_and_a_falling_one_falls() -> None:
    for values, rises in (([1.0, 2.0, 3.0], True), ([3.0, 2.0, 1.0], False)):
        at = inked(line_chart({"a": line(values)}, "a"), COLOURS[0])
        first, last = min(at), max(at)
        assert first[0] < WIDTH / 3
        assert last[0] > WIDTH * 2 / 3
        assert (first[1] > last[1]) == rises


def test_every_series_has_its_colour_and_its_name() -> None:
    alone, both = (
        line_chart({"a": line([1.0, 2.0])}, "t"),
        line_chart({"a": line([1.0, 2.0]), "b": line([2.0, 1.0])}, "t"),
    )
    assert inked(alone, COLOURS[0])
    assert not inked(alone, COLOURS[1])
    assert len(inked(both, COLOURS[0])) > 50
    assert len(inked(both, COLOURS[1])) > 50


def test_a_logarithmic_axis_makes_equal_ratios_equal_distances() -> None:
    at = inked(line_chart({"a": line([1e-4, 1e-2, 1.0])}, "a", log=True), COLOURS[0])
    rows = [min(y for x, y in at if abs(x - column) < 3) for column in (min(at)[0], (min(at)[0] + max(at)[0]) // 2)]
    assert rows[0] - rows[1] == pytest.approx(rows[1] - min(y for _, y in at), abs=4)


def test_what_has_no_place_in_a_chart_is_left_out() -> None:
    whole = line_chart({"a": [(0.0, 1.0), (2.0, 3.0)]}, "a")
    for bad in (nan, inf, -inf):
        assert line_chart({"a": [(0.0, 1.0), (1.0, bad), (2.0, 3.0)]}, "a").tobytes() == whole.tobytes()
    assert line_chart({"a": [(0.0, -1.0)]}, "a", log=True).size == (WIDTH, HEIGHT)


def test_a_log_that_is_longer_than_the_panel_is_wide_becomes_medians() -> None:
    points = downsample(line([0.0, 0.0, 90.0] * 1000), 100)
    assert len(points) <= 100
    assert {y for _, y in points} == {0.0}


@pytest.mark.parametrize(("value", "said"), [(0.05, "0.05"), (800, "800"), (20000, "20k"), (1.5e6, "1.5M"), (0, "0")])
def test_numbers_are_said_shortly(value: float, said: str) -> None:
    assert format_tick(float(value)) == said


def test_ticks_of_a_logarithmic_axis_are_round_and_few() -> None:
    assert log_ticks(0.5, 2000.0) == [1, 10, 100, 1000]
    assert len(log_ticks(1e-20, 1e20)) <= 6
    assert len(log_ticks(2.0, 30.0)) >= 2


@pytest.mark.parametrize("model", GAMES, ids=lambda model: type(model).__name__)
def test_a_game_leaves_its_curves_in_the_runs_folder(model: Model, images: Dataset) -> None:
    trained = ganvas.train(model, images, steps=4, batch_size=8, checkpoint_every=2, quiet=True)
    assert trained.folder is not None
    lines = read_log(trained.folder)
    assert {"diversity", "slope", "gap", "gradient_G", "gradient_D"} <= lines[-1]["game"].keys()
    assert [step for step, _ in log_series(lines, "value", "samples")] == [4]
    with Image.open(trained.folder / "curves.png") as picture:
        assert picture.height // (HEIGHT + PANEL_SPACING) >= 3


def test_a_translator_leaves_curves_of_both_domains(images: Dataset) -> None:
    model = ganvas.CycleGAN(width=4, blocks=1)
    trained = ganvas.train(
        model, (images, images.select(slice(20))), steps=4, batch_size=8, checkpoint_every=2, quiet=True
    )
    assert trained.folder is not None
    game = read_log(trained.folder)[-1]["game"]
    for name in ("accuracy", "gap", "cycle", "noisy", "moved"):
        assert {f"{name}_A", f"{name}_B"} <= game.keys()
    assert {"gradient_G", "gradient_F", "gradient_DX", "gradient_DY"} <= game.keys()
    with Image.open(trained.folder / "curves.png") as picture:
        assert picture.height // (HEIGHT + PANEL_SPACING) == 3  # seven panels


def test_a_vae_leaves_its_curves_too(images: Dataset) -> None:
    trained = ganvas.train(ganvas.VAE(width=4, latent=2), images, steps=2, batch_size=8, quiet=True)
    assert isinstance(trained.folder, Path)
    with Image.open(trained.folder / "curves.png") as picture:
        assert picture.width > WIDTH


def test_a_single_line_of_a_log_is_a_picture_of_dots() -> None:
    assert inked(draw_curves([{"step": 5, "seconds": 1.0, "reconstruction": 3.0}]), COLOURS[0])
