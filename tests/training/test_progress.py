"""What a person sees of a training: the step, the time left and the rate, on every width; losses as far as they fit."""

import io
import re
import sys

import pytest

from ganvas.training.progress import ProgressBar

TERMS = {"reconstruction": 123.45678, "kl": 23.4567, "and": 1.0, "many": 2.0, "more": 3.0, "losses": 4.0}
REPORT = {"latent": {"active_units": 12, "dimensions": 32, "kl_per_dimension": [0.01, 3.2]}}
WHOLE = r"step 1200/50000  left \d+:\d\d(:\d\d)?  [\d,]+ examples/s"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, columns: int) -> list[str]:
    """What is seen of a training in a terminal of this width, without what moves the cursor."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stream)
    step = 1000
    with ProgressBar().track_training(50_000, lambda: step, 64, "runs/a") as shown:
        step = 1200
        shown.show_terms(TERMS, REPORT)
        shown.show_save()
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()))


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_terminal_shows_one_line_that_fits(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.rstrip() for line in lines_of(Terminal(), monkeypatch, columns)]
    last = [line for line in lines if line.startswith("step 1200")][-1]
    assert re.match(WHOLE, last), last
    assert ("reconstruction 123.5" in last) == (columns >= 80)
    assert "nats a dimension" not in last
    assert last.endswith("…")
    assert max(map(len, lines)) <= columns


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_elsewhere_lines_are_whole(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = (line for line in lines_of(io.StringIO(), monkeypatch, columns) if line.startswith("step"))
    assert re.match(WHOLE, line), line
    assert line.endswith("losses 4  active 12/32, 0.01 to 3.20 nats a dimension")
