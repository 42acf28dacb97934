"""Chapters 7 and 8: what they record is what Ganvas computes, and what their pages do with it."""

import shlex
from math import log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ganvas.errors import UserError
from ganvas.inference.trained import load_trained
from ganvas.lecture import load_chapter
from ganvas.lecture.chapters import conditions, domains
from ganvas.lecture.chapters.conditions import Conditions, judge
from ganvas.lecture.chapters.domains import Domains
from ganvas.lecture.recordings import record
from ganvas.models import CGAN
from tests.support.browser import NARROW, WIDE, OpenPage
from tests.support.cli import said
from tests.support.lecture import small_page


@pytest.mark.parametrize("name", ["conditions", "domains"])
def test_the_same_seed_records_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "DISTANCES", (2.0,))
    chapter = load_chapter(name)
    parameters = [Conditions(steps=2, critic_steps=4), Domains(steps=2)][name == "domains"]
    assert record(chapter, parameters) == record(chapter, parameters)


def test_g_stands_still_while_the_critics_learn() -> None:
    """Its density is known, so D's estimate stays below the divergence, and the critic's slope is near 1."""
    p = Conditions(critic_steps=24)
    discriminator, critic = judge("gan", 2.0, p), judge("wgangp", 2.0, p)
    assert 0.4 < discriminator["estimate"] < log(2)
    assert 0 < discriminator["gradient"] < 0.8
    assert critic["estimate"] == pytest.approx(2.0, rel=0.15)
    assert critic["gradient"] == pytest.approx(1.0, abs=0.15)


def test_an_estimate_is_in_units_of_x_and_not_of_the_standardised_data() -> None:
    """A critic on the grid and its gradient by the mean of q, which lies at d/2, are of one function."""
    found = judge("wgangp", 2.0, Conditions(critic_steps=4))
    slopes = found["values"].diff() / conditions.GRID.diff()
    middle = (conditions.GRID[1:] + conditions.GRID[:-1]) / 2
    q = torch.distributions.Normal(1.0, conditions.DEVIATION)
    weights = q.log_prob(middle).exp() * conditions.GRID.diff()
    assert found["gradient"] == pytest.approx(-(weights * slopes).sum().item(), rel=0.02)


class ClassAsPoint(nn.Module):
    """A generator whose point is the number of the class that it is asked for, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.shift: nn.Parameter = nn.Parameter(torch.zeros(2))

    def forward(self, z_and_class: torch.Tensor) -> torch.Tensor:
        return z_and_class[:, 2:].argmax(1, keepdim=True) + self.shift


def test_points_of_a_class_are_those_that_g_was_asked_for() -> None:
    model = CGAN(latent=2, generator=ClassAsPoint())
    points = conditions.class_points(model, Conditions(steps=1), 8)["points"][0].float()
    assert points.shape == (8, conditions.POINTS, 2)
    assert (points == points[:, :1]).all()
    assert (points[1:] > points[:-1]).all()


def test_the_commands_train_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    """The first writes the points that were learnt, and the second learns all of them."""
    monkeypatch.chdir(tmp_path)
    p = Domains(reconstruct="one", modes_a=3, modes_b=4, steps=2)
    writes, trains = map(shlex.split, domains.record(p)["command"].split("\n"))
    assert writes[:2] == ["python", "-c"]
    exec(writes[2], {})
    assert np.hypot(*np.load("A.npy").T).mean() == pytest.approx(1, abs=0.02)
    said(capsys, *trains[1:], "--folder", "run", "--device", "cpu", "--quiet", "--report", "off")
    run = domains.open_translation(p)
    assert list(run.steps()) == [1, 2]
    ours, theirs = run.state.ema_nets.state_dict(), load_trained(tmp_path / "run").nets.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_way_is_recorded_where_there_is_one() -> None:
    """None has no way back; one rebuilds A, and so does both; the error is that of a round trip."""
    runs = {kind: domains.record(Domains(reconstruct=kind, steps=1)) for kind in ("none", "one", "both")}
    assert set(runs["none"]["ways"]) == {"AB"}
    assert runs["none"]["ways"]["AB"]["errors"] == []
    for kind in ("one", "both"):
        ways = runs[kind]["ways"]
        assert [len(ways[way]["errors"]) for way in ("AB", "BA")] == [len(runs[kind]["steps"])] * 2
        assert ways["AB"]["points"].shape == (len(runs[kind]["steps"]), domains.SHOWN, 2)
        assert 0 < ways["AB"]["errors"][0] < 3 * sqrt(2)
    assert "--reconstruct one" in runs["one"]["command"]
    with pytest.raises(UserError, match="both domains or none"):
        domains.record(Domains(model="cyclegan", reconstruct="one"))


def test_modes_are_counted_as_the_page_says() -> None:
    """Of four modes 0 and 1 are reached, 0 from two sides; what is too far reaches none, and a few points do not."""
    centres = torch.from_numpy(domains.centres(4)).float()
    to_first, to_second = centres[[0]].repeat(40, 1), centres[[0, 1]].repeat(20, 1)
    points = torch.stack([to_first, to_second], 1).flatten(0, 1)  # of two modes in turn
    assert domains.landings(points, 2, 4) == (2, 1)
    assert domains.landings(points * 1.31, 2, 4) == (0, 1)
    points[::20] = centres[2]
    assert domains.landings(points, 2, 4) == (2, 1)


@pytest.fixture
def two_pages(tmp_path: Path, open_page: OpenPage) -> dict[str, Any]:
    return {name: open_page(small_page(name, tmp_path), NARROW) for name in ("conditions", "domains")}


def test_keys_alone_move_what_is_shown(two_pages: dict[str, Any]) -> None:
    page = two_pages["conditions"]
    before = page.evaluate("document.getElementById('player-0').toDataURL()")
    page.get_by_role("button", name="class 3").press("Enter")
    assert page.evaluate("document.getElementById('player-0').toDataURL()") != before
    assert "in class 3" in page.locator("#said-0").inner_text()
    page.locator("#look").press("Home")
    assert page.locator("#step").inner_text() == "0 of 2"
    page.locator("#distance").press("End")
    assert (page.locator("#w").inner_text(), page.locator("#jsd").inner_text()) == ("4.000", "0.693")
    assert page.locator("#jsd-gradient").inner_text() == "0.001"
    assert "normal(-1," in page.locator("#command").inner_text()
    page = two_pages["domains"]
    before = page.evaluate("document.getElementById('board-1').toDataURL()")
    page.get_by_role("button", name="B to A").press("Enter")
    assert page.evaluate("document.getElementById('board-1').toDataURL()") != before
    rows = page.locator("#table tbody tr")
    assert rows.first.locator("td").all_inner_texts() == ["–"] * 3
    assert rows.nth(1).locator("td").first.inner_text().endswith(" of 5")
    page.locator("#play").press("Enter")
    page.wait_for_function("document.getElementById('step').textContent === '2 of 2'")
    assert page.locator("#command").inner_text().count("np.save") == 1


def test_densities_are_pulled_apart_by_a_pointer(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(small_page("conditions", tmp_path), WIDE)
    page.locator("#densities").scroll_into_view_if_needed()
    box = page.locator("#densities").bounding_box()
    wide, peak = box["width"] - 56, box["y"] + 10 + (box["height"] - 48) * (1 - 0.798)
    page.mouse.move(box["x"] + 46 + wide * 4.5 / 8, peak)
    page.mouse.down()
    page.mouse.move(box["x"] + 46 + wide * 5.5 / 8, peak, steps=3)
    page.mouse.up()
    assert abs(float(page.locator("#d").inner_text()) - 3.0) < 0.15  # to a pixel
