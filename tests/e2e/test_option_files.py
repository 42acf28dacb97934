"""Hostile and odd files of options: each ends in one sentence, or in a run whose options stand in it."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganvas.cli.app import main
from ganvas.training import run

ODD: dict[str, bytes] = {
    "deep list": b"latent: " + b"[" * 3000,
    "deep, closed": b"latent: " + b"[" * 400 + b"]" * 400,
    "deep map": b"".join(b" " * i + b"a:\n" for i in range(400)),
    "many laughs": b"a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nlatent: *c\n",
    "itself": b"latent: &a [*a]\n",
    "unknown alias": b"latent: *none\n",
    "merge": b"a: &a {latent: 3}\n<<: *a\n",
    "python": b"latent: !!python/object/apply:os.system ['echo no']\n",
    "own tag": b"latent: !mine {a: 1}\n",
    "twice": b"latent: 3\nlatent: 3\n",
    "two spellings": b"free-bits: 1\nfree_bits: 1\n",
    "huge": b"latent: " + b"9" * 6000 + b"\n",
    "huge exponent": b"lr: 1e999\n",
    "nan": b"lr: .nan\n",
    "date": b"latent: 2001-99-99\n",
    "minutes": b"latent: 12:30:45\n",
    "null": b"latent: null\n",
    "a map": b"latent: {a: 1}\n",
    "list of maps": b"milestones: [{a: 1}]\n",
    "no map": b"- latent\n",
    "a word": b"latent\n",
    "number as a key": b"3: 4\n",
    "list as a key": b"? [a, b]\n: 4\n",
    "empty key": b"'': 4\n",
    "two documents": b"latent: 3\n---\nlatent: 4\n",
    "tab": b"latent:\t3\n\tbeta: 2\n",
    "NUL": b"latent: 3\0\n",
    "not UTF-8": b"latent: 3 # \xff\xfe\n",
    "UTF-16": "latent: 3\n".encode("utf-16"),
    "escape": b"\"a\\e[31m\": 3\n",
    "a picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "no end": b"latent: 'three\n",
    "command's name": b"sample: 3\n",
    "config": b"config: other.yaml\n",
    "debug": b"debug: true\n",
    "help": b"help: true\n",
    "data": b"data: emoji\n",
    "flag": b"quiet: 7\n",
    "flag of two": b"quiet: [true, false]\n",
    "list for one": b"latent: [3, 4]\n",
    "three betas": b"betas: [0.1, 0.2, 0.3]\n",
    "word for number": b"latent: many\n",
    "bool for number": b"latent: true\n",
}  # fmt: skip
GOOD = {
    "empty": b"", "comments": b"# nothing\n", "mark": b"\xef\xbb\xbflatent: 3\n",
    "anchors": b"latent: &a 3\nwidth: *a\n",
    "quoted": b"'latent': \"3\"\n", "json": b'{"latent": 3, "betas": [0.1, 0.2]}', "none": b"capacity: ~\nwidth:\n",
    "empty list": b"lr-milestones: []\n", "kind": b"latent: !!str 3\n",
    "words": b"binarize: no\nnet: mlp\nbalanced: off\n",
}  # fmt: skip
PARTS = (
    *"[]{}&*!|>%@`\"':-?,# \n\t\0", "latent", "beta: 2", "0x1F", "1e3", ".inf", "null", "~", "<<: *a", "&a", "*a",
    "!!int", "---\n", "...\n", "\xff", "\x1b[31m", "'", '"', "  ", "[1, 2]", "{a: b}", "betas", "9" * 40,
)  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: Any, **__: Any) -> None:
        raise SystemExit(0)

    monkeypatch.setattr(run, "train", train)


def code_of(content: bytes, capsys: pytest.CaptureFixture[str]) -> int:
    """The exit code with such a file, of which a mistake is told in one sentence."""
    Path("run.yaml").write_bytes(content)
    code = main(["train", "vae", "emoji", "--config", "run.yaml"])
    out, err = capsys.readouterr()
    assert out == ""
    assert code in (0, 2), (content, err)
    assert len(err.splitlines()) == (code == 2), (content, err)
    assert code == 0 or err.startswith("ganvas: "), err
    assert "\x1b" not in err
    return code


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_refused_in_a_sentence(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(ODD[name], capsys) == 2


@pytest.mark.parametrize("name", GOOD)
def test_unusual_files_that_are_right(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(GOOD[name], capsys) == 0


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 80), st.integers(0, 2), st.sampled_from(PARTS)), min_size=1, max_size=4))
def test_mutated_files_never_end_in_a_traceback(
    capsys: pytest.CaptureFixture[str], edits: list[tuple[int, int, str]]
) -> None:
    text = "latent: 16\nbetas: [0.5, 0.9]\nbinarize: no\nmilestones: 0.5,0.8\ncapacity: ~\n"
    for at, length, part in edits:
        text = text[:at] + part + text[at + length :]
    code_of(text.encode("latin-1"), capsys)


@pytest.mark.parametrize("name", ["none.yaml", ".", "file/run.yaml", "a\0b", "x" * 300, "", os.fsdecode(b"\xff.yaml")])
def test_files_that_are_not_there(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert main(["train", "vae", "emoji", "--config", name]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    err.encode()
