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
from ganvas.training import validation
from tests.support.pages import Page


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo with small networks and two steps, whose samples are not measured."""
    small = [replace(c, model=replace(c.model, width=2), steps=2, batch_size=4) for c in CHAPTERS]
    monkeypatch.setattr(demo_module, "CHAPTERS", small)
    monkeypatch.setattr(demo_module, "halves_distance", lambda *sets, disjoint=False: 0.5)
    monkeypatch.setattr(validation, "make_evaluator", lambda *arguments: None)


def test_the_demo_writes_one_self_contained_page(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    path = Path(out.strip())
    text = path.read_text(encoding="utf-8")
    parsed = Page()
    parsed.feed(text)
    assert parsed.open == []
    assert len(parsed.images) == 1 + 2 * 2 + 4 + 2 * 2  # real faces; with reconstructions, samples alone, both ways
    assert all(image.startswith("data:image/png;base64,") for image in parsed.images)
    assert "<script" not in text
    assert not re.search(r'src="http|href="(?!\w+/report.html")', text)
    said = " ".join(parsed.text)
    words = ("Can it generate?", "Distance of samples", "N(0, I) has 1", "147", "the truth",
             "Wasserstein distance, estimated by D", "DiscoGAN")  # fmt: skip
    assert [word for word in words if word not in said] == []
    names = [chapter.name for chapter in CHAPTERS]
    assert sorted(p.name for p in path.parent.iterdir()) == sorted([*names, "index.html"])
    assert all((path.parent / name / "report.html").exists() for name in names)
    assert "[8/8] DiscoGAN" in err


def test_a_second_demo_does_not_overwrite_the_first(
    quick: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_module, "CHAPTERS", demo_module.CHAPTERS[:1])
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
