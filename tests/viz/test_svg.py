"""Charts for pages: round ticks, lines inside of the frame, one colour a name."""

import pytest

from ganvas.viz.plots import Chart
from ganvas.viz.svg import BOTTOM, LEFT, RIGHT, TOP, log_ticks, svg_chart, svg_charts, ticks

nan, inf = float("nan"), float("inf")


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0.0, 60.0, [0, 20, 40, 60]), (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-0.02, 0.013, [-0.02, -0.01, 0, 0.01]),
    (0.0, 1500.0, [0, 500, 1000, 1500]), (99.9, 100.1, [99.9, 99.95, 100, 100.05, 100.1]),
])  # fmt: skip
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_logarithmic_axis_has_powers_of_ten() -> None:
    assert log_ticks(1e-3, 2e3) == pytest.approx([1e-3, 1e-2, 1e-1, 1, 10, 100, 1000])
    assert log_ticks(0.9, 30.0) == pytest.approx([1, 2, 5, 10, 20])
    assert log_ticks(1.0, 2.0) == pytest.approx([1, 1.2, 1.4, 1.6, 1.8, 2])
    assert len(log_ticks(1e-200, 1e200)) < 9


@pytest.mark.parametrize("log", [False, True])
def test_lines_stay_in_the_frame_and_what_is_no_number_is_left_out(log: bool) -> None:
    points = [(0.0, 1.0), (1.0, nan), (2.0, inf), (3.0, -1.0), (4.0, 100.0)]
    chart = svg_chart(Chart("t", {"a": points, "b": [(2.0, nan)]}, log=log, marked_step=4.0))
    (line,) = chart["lines"]
    assert len(line["points"]) == (2 if log else 3)
    assert line["points"][0][0] == LEFT
    assert line["points"][-1][0] == RIGHT
    assert line["marks"] == [line["points"][-1]]
    assert all(TOP <= y <= BOTTOM for _, y in line["points"])
    assert not chart["has_legend"]


def test_a_chart_without_numbers_is_left_out_and_a_run_keeps_its_colour() -> None:
    charts = [
        Chart("one", {"a": [(1.0, 2.0)], "b": [(1.0, 3.0)]}),
        Chart("two", {"b": [(1.0, 5.0)]}),
        Chart("three", {}),
    ]
    one, two = svg_charts(charts, ["a", "b"])
    assert two["lines"][0]["colour"] == one["lines"][1]["colour"]
    assert two["has_legend"]
