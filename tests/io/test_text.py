"""Names that are others' text: no escape sequence, no newline and no byte that is no text reaches the terminal."""

import io
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ganvas.cli.app import main, print_result
from ganvas.errors import DivergenceError, OutOfMemoryError, RankError, RunRemovedError, UserError, WriteError
from ganvas.escape import escape_text
from ganvas.io.text import (
    escape_lines,
    fill_in,
    format_number,
    format_step_time,
    replace_non_finite,
)  # fmt: skip
from ganvas.viz.html import write_page
from tests.support.data import write_folder

HOSTILE = "a\x1b[31m\x07\nb\r\u202ec\x9b" + os.fsdecode(b"\xff")
TINY = ["--steps", "2", "--batch-size", "4", "--width", "4", "--checkpoint-every", "1"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – ü 🙂‍↔️ 日本", "plain – ü 🙂‍↔️ 日本"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("one\ntwo\r\ttab", "one\\ntwo\\r\\ttab"),
        ("\u202etxt\u2028", "\\u202etxt\\u2028"),
        (os.fsdecode(b"na\xefve"), "na\\xefve"),
        ("\ud800", "\\ud800"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert escape_text(text) == shown
    shown.encode()


@pytest.mark.parametrize("kind", [UserError, DivergenceError, RankError, OutOfMemoryError])
def test_errors_escape_names_also_where_python_shows_them(kind: type[Exception]) -> None:
    assert str(kind(f"{HOSTILE}: do x")) == f"{escape_text(HOSTILE)}: do x"
    assert str(kind(f"{kind(HOSTILE)} again")) == f"{escape_text(HOSTILE)} again"  # once


@pytest.mark.parametrize("kind", [WriteError, RunRemovedError])
def test_errors_of_writing_escape_names(kind: type[WriteError]) -> None:
    assert escape_text(HOSTILE) in str(kind(28, "no space", HOSTILE))
    assert str(kind(28, "no space", HOSTILE)).isprintable()


def test_lines_are_kept_and_those_in_names_are_not() -> None:
    assert escape_lines("a\nb\x1b") == "a\nb\\x1b"
    assert escape_lines(["a\nb", "c"]) == "a\\nb\nc"


def test_a_page_is_text() -> None:
    write_page(Path("page.html"), "page.html", title=HOSTILE)
    said = Path("page.html").read_text(encoding="utf-8")
    assert "text" in said
    assert not set(said) & set("\x1b\x07\r\x9b\u202e")


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"a": [math.nan, 1.5, (math.inf,)], "b": {"c": -math.inf}, "d": 3}
    assert replace_non_finite(value) == {"a": [None, 1.5, [None]], "b": {"c": None}, "d": 3}
    print_result("", value, True)
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["a"][0] is None


def test_numbers_for_people_have_no_powers_of_ten() -> None:
    for x, text in (
        (0.0, "0"), (1.0, "1"), (-2.5, "-2.5"), (123.456, "123"), (999.7, "1000"), (1234.5, "1234"),
        (-98765.4, "-98765"),
        (999_999.4, "999999"), (1e6, "1e+06"), (0.000123, "0.000123"), (0.00002, "0.00002"), (1.2345e-6, "0.00000123"),
        (1e-9, "1e-09"), (float("nan"), "nan"), (float("inf"), "inf"),
    ):  # fmt: skip
        assert format_number(x) == text
    assert (format_number(99.6, 2), format_number(12345.678, 4)) == ("100", "12346")
    assert [format_step_time(seconds) for seconds in (0.0123456, 0.9999, 1234.5)] == ["12.3 ms", "1000 ms", "1234 s"]
    values = {"figure": 1234.5, "pair": [0.00002, 2.0], "limit": 3, "share": 0.25}
    text = "{figure:.2g} times (limit {limit:g}), {pair[0]:.1g} to {pair[1]:g}, {share:.0%}, {figure:.1f}"
    assert fill_in(text, values) == "1234 times (limit 3), 0.00002 to 2, 25%, 1234.5"


class Strict(io.TextIOWrapper):
    """A stream that takes only what its encoding has."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", write_through=True)

    def text(self) -> str:
        written: Any = self.buffer
        return str(written.getvalue().decode())


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_hostile_names_are_printed_escaped(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = tmp_path / HOSTILE, Path(f"runs{HOSTILE[:-1]}")
    write_folder(source)
    (source / "cat").rename(source / f"cat{HOSTILE}")
    (source / "dog" / f"broken{HOSTILE}.png").write_bytes(b"no")
    data, run = str(source), str(out / HOSTILE[:-1])

    def said(*words: str, code: int = 0) -> tuple[str, str]:
        streams = Strict(encoding), Strict(encoding)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            assert main(list(words)) == code, streams[1].text()
        texts = streams[0].text(), streams[1].text()
        assert not set("".join(texts)) & set("\x1b\x07\r\x9b\u202e"), texts
        assert "\nb\\r" not in "".join(texts)
        return texts

    assert "\\x1b[31m" in said("data", data)[0]
    assert "\\n" in said("train", "cgan", data, *TINY, "--folder", run)[1]
    assert said("sample", run)[0].endswith(".png\n")
    said("sample", run, "--label", f"cat{HOSTILE}", "--out", f"{HOSTILE}.npz")
    said("sample", run, "--per-class", "2", "--out", "each.png")
    said("sample", run, "--label", HOSTILE, code=2)
    said("sample", HOSTILE, code=2)
    said("sample", run, "--out", f"{HOSTILE}.npz", code=2)
    said("data", data, "--classes", HOSTILE, code=2)
    said("train", "vae", data, f"--{HOSTILE}", code=2)
    said("train", HOSTILE, data, code=2)
    said("train", "vae", data, "--config", HOSTILE, code=2)
    said("doctor", run)
    assert "\\x1b" in said("runs", "--runs-dir", str(out))[0]
    assert json.loads(said("runs", "--runs-dir", str(out), "--json")[0])[0]["run"] == run  # reversible
    said("evaluate", run, data, "--metrics", "sliced-wasserstein", "-n", "10")
    said("compare", run, run + "/", "--metrics", "sliced-wasserstein", "-n", "10", "--html", f"{HOSTILE}.html", code=2)
