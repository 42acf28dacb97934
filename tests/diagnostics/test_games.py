"""What is wrong with a game is named, with evidence and remedies that the model accepts; healthy games are let be."""

from pathlib import Path
from typing import Any

import pytest

import ganvas
from ganvas.data import load
from ganvas.diagnostics import diagnose, examine
from ganvas.io.text import format_number
from ganvas.models._gan import Adversarial
from ganvas.models._gan_diagnosis import (
    CLIPPED_SLOPE_RANGE,
    MAX_DETAIL_RATIO,
    MAX_EXTRA_DETAIL,
    MIN_DIVERSITY,
    PAST_BEST_ERRORS,
    PAST_BEST_SHARE,
    PENALIZED_SLOPE_RANGE,
    RELAXED_WON_ACCURACY,
    VANISHED_GRADIENT_RATIO,
    WON_ACCURACY,
)
from ganvas.objectives.adversarial import WON_LOGIT_GAP
from ganvas.training.run_records import read_log
from tests.support.games import HEALTHY

WON = {"accuracy_real": 1.0, "accuracy_fake": 1.0, "logit_gap": 30.0}


def said(model: Adversarial, done: int = 5000, steps: int = 5000, **game: Any) -> list[str]:
    return diagnose(model, {"adversarial": HEALTHY | game}, done, steps)


@pytest.mark.parametrize(
    "model", [ganvas.GAN(), ganvas.DCGAN(), ganvas.CGAN(), ganvas.WGAN(), ganvas.WGANGP(), ganvas.R3GAN()],
    ids=lambda model: type(model).__name__,
)  # fmt: skip
def test_a_healthy_game_is_let_be(model: Adversarial) -> None:
    assert said(model) == []
    assert said(model, accuracy_real=0.5, accuracy_fake=0.5, logit_gap=0.0) == [], "the end that games should have"


@pytest.mark.parametrize("model", [ganvas.DCGAN(), ganvas.R3GAN(), ganvas.WGANGP()], ids=lambda m: type(m).__name__)
def test_samples_that_are_all_alike_are_a_collapse(model: Adversarial) -> None:
    (sentence,) = said(model, diversity=MIN_DIVERSITY - 0.01)
    assert sentence.startswith("mode collapse: two samples differ 29% as much as two real examples do (limit 30%)")
    assert said(model, diversity=MIN_DIVERSITY) == []


def test_a_discriminator_that_is_always_right_has_won() -> None:
    (sentence,) = said(ganvas.DCGAN(), **WON)
    assert sentence.startswith("D has won: it knows 100.0% of real and 100.0% of fake examples (limit 99%)")
    assert "30 apart (limit 6)" in sentence
    assert said(ganvas.DCGAN(), **WON | {"accuracy_fake": WON_ACCURACY - 0.01}) == []
    assert said(ganvas.DCGAN(), **WON | {"logit_gap": 5.9}) == []
    (sentence,) = said(ganvas.DCGAN(), accuracy_real=0.997, accuracy_fake=0.997, logit_gap=7.8)
    assert sentence.startswith("D has won: it knows 99.7% of real and 99.7% of fake examples")


@pytest.mark.parametrize(("loss", "limit"), [pair for pair in WON_LOGIT_GAP.items() if pair[0] != "wasserstein"])
def test_what_a_wide_gap_is_depends_on_the_loss(loss: Any, limit: float) -> None:
    """Squares draw logits to 0 and 1, and a hinge gains nothing from a gap above 2: 10 is out of reach there."""
    model = ganvas.GAN(loss=loss)
    assert len(said(model, **WON | {"logit_gap": limit})) == 1
    assert said(model, **WON | {"logit_gap": 0.99 * limit}) == []
    reached = {"least-squares": 0.99, "hinge": 4.7, "relativistic": 4.6}.get(loss, 7.8)  # by games that were lost
    assert said(model, **WON | {"logit_gap": reached}) != []


def test_one_line_of_few_steps_does_not_hide_that_d_has_won() -> None:
    def found(*accuracies: float) -> list[str]:
        games = [HEALTHY | WON | {"logit_gap": 7.8, "accuracy_real": accuracy} for accuracy in accuracies]
        lines = [{"step": 4600 + 100 * i, "adversarial": game} for i, game in enumerate(games)]
        return [found.name for found in examine(ganvas.DCGAN(), 5000, lines)]

    assert found(1.0, 0.98, 1.0, 1.0, 0.98) == ["D has won"]
    assert found(0.98, 0.98, 0.9, 1.0, 1.0) == []


@pytest.mark.parametrize("model", [ganvas.DCGAN(), ganvas.R3GAN(), ganvas.WGANGP()], ids=lambda m: type(m).__name__)
def test_samples_with_more_noise_than_the_data_are_speckle(model: Adversarial) -> None:
    (sentence,) = said(model, detail=0.2, detail_real=0.04)
    assert sentence.startswith("samples are speckled: the finest structures of samples, of a pixel, have 20% of")
    assert "those of the data 4.0% (limits 2.5 times as much, and 5% more); remedies: --steps above 5000" in sentence
    assert said(model, detail=0.2, detail_real=0.2 / MAX_DETAIL_RATIO) == [], "the data are noisy themselves"
    assert said(model, detail=0.01 + MAX_EXTRA_DETAIL, detail_real=0.01) == [], "nobody sees that"
    assert said(model, done=900, detail=0.2, detail_real=0.04) == [], "samples begin so"


def test_a_critic_is_meant_to_be_right() -> None:
    assert said(ganvas.WGANGP(), **WON) == []


def test_a_minimax_gradient_that_has_vanished_is_said_early() -> None:
    model = ganvas.GAN(loss="minimax")
    won = WON | {"logit_gap": 6.0, "non_saturating_gradient": 1.0}
    vanished = won | {"minimax_gradient": 0.5 * VANISHED_GRADIENT_RATIO}
    (sentence,) = said(model, done=500, **vanished)
    assert "the gradient that G gets is 0.05 of the non-saturating loss's (limit 0.1)" in sentence
    assert "remedies: --loss non-saturating" in sentence
    assert said(model, done=500, **won | {"minimax_gradient": 2 * VANISHED_GRADIENT_RATIO}) == []
    assert said(model, done=500, **vanished | {"accuracy_real": RELAXED_WON_ACCURACY}) != []
    assert said(model, done=500, **vanished | {"accuracy_real": RELAXED_WON_ACCURACY - 0.01}) == []


@pytest.mark.parametrize("model", [ganvas.WGANGP(), ganvas.WGAN()], ids=["penalty", "clip"])
def test_a_slope_that_is_not_held_is_said(model: Adversarial) -> None:
    low, high = PENALIZED_SLOPE_RANGE if model.objective.gp else CLIPPED_SLOPE_RANGE
    for slope in (low * 0.9, high * 1.1):
        (sentence,) = said(model, input_gradient=slope)
        assert (
            f"gradient has norm {format_number(slope, 2)} (limits {format_number(low)} and {format_number(high)})"
            in sentence
        )
    assert said(model, input_gradient=low) == said(model, input_gradient=high) == []


def test_the_first_steps_are_no_sign() -> None:
    assert said(ganvas.DCGAN(), done=199, steps=1000, diversity=0.0, **WON) == []
    assert said(ganvas.DCGAN(), done=499, steps=5000, diversity=0.0, **WON) == []
    assert said(ganvas.DCGAN(), done=999, steps=5000, diversity=0.0) == []


def test_samples_that_were_better_are_said_at_the_end() -> None:
    def found(value: float | None, lowest: float | None, error: float | None, done: int = 5000) -> list[str]:
        samples = {"metric": "kid", "value": value, "error": error, "lowest_distance": lowest, "best_step": 1500}
        return diagnose(ganvas.DCGAN(), {"adversarial": HEALTHY, "samples": samples}, done, 5000)

    (sentence,) = found(0.31, 0.2, 0.01)
    assert "now 0.31 from the data, 0.2 at the nearest (limit 50% more, and 5 standard errors: 0.3)" in sentence
    assert "are those of step 1500" in sentence
    assert found(0.31, 0.2, 0.01, done=4500) == []
    assert found(0.1999 * (1 + PAST_BEST_SHARE), 0.2, 0.01) == [], "not much worse"
    assert found(0.31, 0.2, 0.11 / PAST_BEST_ERRORS + 0.001) == [], "not certainly worse"


def test_a_lowest_distance_of_nothing_is_no_scale() -> None:
    """A kernel distance may be 0, or less."""
    for lowest in (0.001, 0.0, -0.002):
        samples = {"metric": "kid", "value": 0.05, "error": 0.015, "lowest_distance": lowest, "best_step": 1500}
        report = {"adversarial": HEALTHY, "samples": samples}
        assert diagnose(ganvas.DCGAN(), report, 5000, 5000) == []
        samples |= {"value": lowest + PAST_BEST_ERRORS * 0.015 + 0.001}
        assert len(diagnose(ganvas.DCGAN(), report, 5000, 5000)) == 1
    samples |= {"value": None}
    assert diagnose(ganvas.DCGAN(), report, 5000, 5000) == []


def test_what_a_game_that_is_lost_leads_to_is_not_said_as_well() -> None:
    """Samples are all alike where D has won, or where nothing of the critic reaches G: one cause, one sentence."""
    (sentence,) = said(ganvas.DCGAN(), **WON, diversity=0.0)
    assert sentence.startswith("D has won")
    (sentence,) = said(ganvas.WGAN(), input_gradient=0.0, diversity=0.0)
    assert sentence.startswith("the critic's slope vanishes")


def test_a_discriminator_that_is_far_ahead_is_seen_in_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Minimax, with a D that learns five times as often and ten times as fast."""
    model = ganvas.GAN(loss="minimax", n_critic=5, lr_d=2e-3, lr=1e-5, width=64, latent=8)
    run = ganvas.train(model, load("emoji").select(slice(300)), steps=400, batch_size=32, checkpoint_every=200)
    assert "warning: D has won" in capsys.readouterr().err
    assert isinstance(run.folder, Path)
    assert read_log(run.folder)[-1]["adversarial"]["accuracy_fake"] > WON_ACCURACY
