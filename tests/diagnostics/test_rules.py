"""The rules that models declare: options that exist, sections of the page, and figures that a log has."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from cyclopts import CycloptsError
from pydantic import ValidationError

import ganvas
from ganvas.cli.train import train_app
from ganvas.config import TrainConfig
from ganvas.diagnostics import DOCS_PAGE, check_rules
from ganvas.model import Model, model_name
from ganvas.models import MODELS
from ganvas.objectives.adversarial import WON_LOGIT_GAP
from ganvas.rules import Figures, Rule

VARIANTS: list[Model] = [
    *(cls() for cls in MODELS.values()),
    ganvas.GAN(loss="minimax", n_critic=5, lr=1e-3, lr_d=1e-4, betas=(0.9, 0.999)), ganvas.DCGAN(top_k=0.5, r1=1.0),
    ganvas.GAN(loss="wasserstein", gp=10, penalty_interval=4), ganvas.DCGAN(loss="hinge", spectral_norm=True),
    ganvas.VAE(beta=4.0), ganvas.VAE(geco=0.1), ganvas.VAE(capacity=3.0), ganvas.VAE(prior="vamp"),
    ganvas.CycleGAN(identity_weight=3), ganvas.DiscoGAN(reconstruct="none"), ganvas.DiscoGAN(reconstruction_weight=0),
]  # fmt: skip
OTHER_COMMANDS = {"fitted-prior"}
"""options of `sample`, after a remedy that is a command of its own"""


def remedies(model: Model) -> set[str]:
    return {remedy for rule in model.rules() for remedy in rule.remedies}


@pytest.mark.parametrize("model", VARIANTS, ids=repr)
def test_a_remedy_names_an_option_that_the_model_has(model: Model) -> None:
    options = {field.name.replace("_", "-") for settings in (model, TrainConfig()) for field in fields(settings)}
    named = {name for remedy in remedies(model) for name in re.findall(r"--([a-z0-9-]+)", remedy)}
    assert named
    assert named - OTHER_COMMANDS <= options


@pytest.mark.parametrize("model", VARIANTS, ids=repr)
def test_the_command_line_takes_remedies_as_they_are_spelled(model: Model) -> None:
    for option in {
        found[1]
        for remedy in remedies(model)
        if (found := re.search(r"^[^-]*\(?(--[a-z0-9-]+(?: [a-z0-9.-]+)+)\)?$", remedy))
    }:
        if re.search(r" (below|above) ", option) or option.startswith("--fitted-prior"):
            continue
        try:
            train_app.parse_args([model_name(model), "emoji", *option.split()], exit_on_error=False, print_error=False)
        except (CycloptsError, ValidationError) as error:
            raise AssertionError(f"{option}: {error}") from error


@pytest.mark.parametrize("model", VARIANTS, ids=repr)
def test_every_rule_has_a_section_of_the_page_and_remedies(model: Model) -> None:
    page = (Path(__file__).resolve().parents[2] / DOCS_PAGE).read_text(encoding="utf-8").lower()
    for rule in model.rules():
        section = "speckle" if rule.section == "speckle" else rule.section or rule.name
        assert f"\n## {section.lower()}\n" in page
        assert rule.remedies


@pytest.mark.parametrize("model", VARIANTS, ids=repr)
def test_figures_that_a_log_does_not_have_break_no_rule(model: Model) -> None:
    assert check_rules(model.rules(), Figures(), 5000, 5000) == []


def test_a_loss_without_a_gap_has_all_other_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [rule.name for rule in ganvas.DCGAN(loss="hinge").rules()]
    monkeypatch.setitem(WON_LOGIT_GAP, "hinge", None)
    assert [rule.name for rule in ganvas.DCGAN(loss="hinge").rules()] == [n for n in names if n != "D has won"]
    assert "D has won" in names


def test_what_follows_from_another_is_not_said_as_well() -> None:
    first = Rule("first", "a", 1.0, "a is {figure:g} (limit {limit:g})", ("none",))
    second = Rule("second", "b", 1.0, "b", ("none",), unless=("first",))
    late = Rule("late", "b", lambda figures: figures["a"] / 2, "b", ("none",), phase="end", after=600)
    rules, figures = (first, second, late), Figures(a=2.0, b=2.0)
    assert [d.name for d in check_rules(rules, figures, 1000, 1000)] == ["first", "late"]
    assert [d.name for d in check_rules(rules, Figures(a=0.5, b=2.0), 900, 1000)] == ["second"]
    assert check_rules(rules, Figures(a=2.0), 400, 1000)[0].evidence == "a is 2 (limit 1)"
    assert check_rules(rules, figures, 199, 1000) == []
