"""The demo and its page."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ganvas.cli import demo as demo_module
from ganvas.cli.app import main
from ganvas.cli.demo import CHAPTERS, halves_distance, rms_error
from ganvas.data import DataOptions, load
from ganvas.io.text import format_duration
from tests.support.pages import Page


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo with small networks and few steps."""
    small = [replace(c, model=replace(c.model, width=2), steps=10, batch_size=8) for c in CHAPTERS]
    monkeypatch.setattr(demo_module, "CHAPTERS", small)


def test_the_demo_writes_one_self_contained_page(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    path = Path(out.strip())
    text = path.read_text(encoding="utf-8")
    parsed = Page()
    parsed.feed(text)
    assert parsed.open == []
    assert len(parsed.images) == 4 + 3 + 3  # samples and real faces; held-out faces and two reconstructions; losses
    assert all(image.startswith("data:image/png;base64,") for image in parsed.images)
    assert "<script" not in text
    assert not re.search(r'(src|href)="http', text)
    said = " ".join(parsed.text)
    for words in ("Can an autoencoder generate?", "Distance of samples", "Standard deviation of the codes", "147"):
        assert words in said
    assert [p.name for p in sorted(path.parent.iterdir())] == ["autoencoder", "generative", "index.html", "variational"]
    assert "[3/3] Generative adversarial network" in err


def test_a_second_demo_does_not_overwrite_the_first(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for _ in range(2):
        assert main(["demo", "--quiet", "--steps-factor", "0.2"]) == 0
        paths.append(capsys.readouterr().out)
    assert len(set(paths)) == 2


def test_the_tables_numbers_are_what_their_names_say() -> None:
    faces = load("emoji", DataOptions(classes=("smileys",))).x
    assert rms_error(faces, faces) == 0
    assert rms_error(faces[:1] * 0, faces[:1] * 0 + 10) == 10
    floor, far = halves_distance(faces, faces, disjoint=True), halves_distance(faces, 255 - faces)
    assert 0 < floor < far
    assert halves_distance(faces, faces) == 0


def test_durations_are_in_minutes_and_seconds() -> None:
    assert [format_duration(s) for s in (0.4, 59.4, 60.0, 125.0)] == ["0 s", "59 s", "1 min 00 s", "2 min 05 s"]
