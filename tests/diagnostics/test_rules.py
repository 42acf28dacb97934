"""The rules that models declare: options that exist, sections of the page, and figures that a log has."""

import re
import shlex
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

import ganvas
from ganvas.cli.app import main
from ganvas.config import TrainConfig
from ganvas.data import Data, DataOptions, Dataset, Scaling
from ganvas.diagnostics import DOCS_PAGE, check_rules
from ganvas.model import Model, model_name, to_dict
from ganvas.models import MODELS
from ganvas.objectives.adversarial import WON_LOGIT_GAP
from ganvas.rules import Figures, Remedy, Rule
from ganvas.training import run
from ganvas.training.commands import first_command
from ganvas.training.defaults import choose_defaults, refuse_unused
from ganvas.training.loop import initialize_state
from ganvas.training.run_records import read_config, write_config
from ganvas.training.warm_start import Origin, adopt_options, initialize_from
from tests.support.data import as_pair, learnt_by
from tests.support.old_files import forget_data_options

VARIANTS: list[Model] = [
    *(cls() for cls in MODELS.values()),
    ganvas.GAN(loss="minimax", n_critic=5, lr=1e-3, lr_d=1e-4, betas=(0.9, 0.999)), ganvas.DCGAN(top_k=0.5, r1=1.0),
    ganvas.GAN(loss="wasserstein", gp=10, penalty_interval=4), ganvas.DCGAN(loss="hinge", spectral_norm=True),
    ganvas.DCGAN(norm_d="batch"), ganvas.DCGAN(pack=2), ganvas.WGAN(weight_clip=0.1), ganvas.LadderVAE(warmup=9),
    ganvas.VAE(beta=4.0), ganvas.VAE(geco=0.1), ganvas.VAE(capacity=3.0), ganvas.VAE(prior="vamp"),
    ganvas.CycleGAN(identity_weight=3), ganvas.DiscoGAN(reconstruct="none"), ganvas.DiscoGAN(reconstruction_weight=0),
]  # fmt: skip
TRIED = TrainConfig(clip_grad_norm=0.5, lr_milestones=(0.5,), patience=3, ema_decay=0.9, batch_size=5)
SETTINGS = [(model, config) for model in VARIANTS for config in (model.default_training, TRIED)]
NOT_OF_MODELS = {field.name for options in (TrainConfig, DataOptions) for field in fields(options)}
FIGURES = Figures(figure=3.0, chroma_A=0.2, chroma_B=0.01)
settings = pytest.mark.parametrize(("model", "config"), SETTINGS, ids=repr)


def remedies(model: Model, config: TrainConfig) -> list[Remedy]:
    each = (r.remedies(FIGURES) if callable(r.remedies) else r.remedies for r in model.rules(config))
    return list({remedy.text: remedy for some in each for remedy in some}.values())


def chosen(model: Model, data: Data) -> tuple[Model, TrainConfig]:
    """A model, and how it is trained, where nobody gives an option."""
    model, defaults = choose_defaults(model, data, {})
    return model, TrainConfig(**to_dict(model.default_training) | defaults.training)


def check_news(model: Model, config: TrainConfig) -> None:
    """Each remedy changes something, in the direction that it names."""
    now = to_dict(model) | to_dict(config)
    for remedy in remedies(model, config):
        for name, value in remedy.options.items():
            assert value != now[name], remedy
            old = getattr(model, "kl_weight", None) if now[name] is None else now[name]
            old = 0.4 if name == "sigma" and old is None else old
            assert name == "lr_d" or " below " not in remedy.text or value < old, remedy
            assert " above " not in remedy.text or value > old, remedy


@settings
def test_a_remedy_is_nothing_that_the_run_has(model: Model, config: TrainConfig) -> None:
    check_news(model, config)
    tried = {name for remedy in remedies(model, TRIED) for name in remedy.options}
    assert not tried & {"clip_grad_norm", "lr_decay", "patience", "pack"}


def test_a_remedy_is_nothing_that_was_chosen_for_the_data(labelled: Dataset) -> None:
    for cls in MODELS.values():
        data = as_pair(labelled) if cls.n_domains == 2 else labelled
        check_news(*chosen(cls(), data))
    assert "--lr-decay 0.5" not in [remedy.text for remedy in remedies(*chosen(ganvas.DCGAN(), labelled))]
    assert "--lr-decay 0.5" in [remedy.text for remedy in remedies(ganvas.DCGAN(), TrainConfig())]


@settings
def test_a_remedy_names_an_option_that_the_model_has(model: Model, config: TrainConfig) -> None:
    options = {field.name for settings in (model, config) for field in fields(settings)} - {*model.ignored_options}
    assert any(remedy.options for remedy in remedies(model, config))
    for remedy in remedies(model, config):
        named = {name.replace("-", "_") for name in re.findall(r"--([a-z0-9-]+)", remedy.text)}
        assert named == remedy.options.keys() <= options


@pytest.mark.parametrize(("model", "config"), SETTINGS[::2], ids=repr)
def test_the_command_of_each_remedy_can_be_typed(
    model: Model, config: TrainConfig, labelled: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It trains the same model on the same data with the run's options, but for those of the remedy."""
    called: dict[str, Any] = {}
    monkeypatch.setattr(
        run, "train", lambda model, data, **options: called.update(options, model=model, data=data) or sys.exit(0)
    )
    is_pair = model.n_domains == 2
    data, sources = learnt_by(type(model), labelled), ["/my data/A", "/my data/B"][: 1 + is_pair]
    options, given = DataOptions(size="48x64"), [*model.given, *to_dict(config), "size"]
    write_config(Path(), model, data, config, options, sources if is_pair else sources[0], {"given": given})
    trained = {k: v for k, v in (to_dict(config) | to_dict(options)).items() if k not in model.ignored_options}
    for remedy in remedies(model, config):
        command = first_command(Path(), read_config(Path()), (Remedy("more data"), remedy))
        assert (command is None) == (not remedy.options and not remedy.command)
        if command is None or remedy.command == "fit-prior":
            assert command in (None, "ganvas fit-prior .")
            continue
        called.clear()
        assert main(shlex.split(command)[1:]) == 0, command
        expected = sources[:: 1 if remedy.domains == "AB" else -1]
        assert called["data"] == (tuple(expected) if is_pair else expected[0])
        assert called["size"] == "48x64"
        if remedy.command:
            assert remedy.command == f"train {model_name(called['model'])}"
            continue
        check_options(called, data)
        values = to_dict(model) | trained | remedy.options
        usual = to_dict(model.default_training) | to_dict(DataOptions())
        assert to_dict(called["model"]) == {name: values[name] for name in to_dict(model)}, command
        assert {name: called.get(name, usual[name]) for name in trained} == {name: values[name] for name in trained}
        called["model"].validate_data(data)


def check_options(called: dict[str, Any], data: Data) -> None:
    """What `ganvas train` was told has an effect."""
    options, model = {k: v for k, v in called.items() if k in NOT_OF_MODELS}, called["model"]
    refuse_unused(model, run.split_options(options, model)[0], model.given | options.keys(), data.shape)


@pytest.mark.parametrize(
    "model",
    [
        ganvas.GAN(width=8, latent=3, gp=10, loss="wasserstein", penalty_interval=4), ganvas.VAE(width=8, latent=8),
        ganvas.CycleGAN(net="mlp", width=8, identity_weight=3.0),
    ],
    ids=repr,
)  # fmt: skip
def test_it_begins_with_the_weights_that_the_run_began_with_where_they_fit(
    model: Model, labelled: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is accepted in any case: with other networks it has all options of the old run, and none of its weights."""
    called: dict[str, Any] = {}
    monkeypatch.setattr(
        run, "train", lambda model, data, **options: called.update(options, model=model, data=data) or sys.exit(0)
    )
    data: Any = as_pair(labelled) if model.n_domains == 2 else labelled
    nets = torch.nn.ModuleDict(model.networks(data.shape)).state_dict()
    origin = Origin("old", 1, model, nets, nets, (Scaling(model.pixel_range),) * model.n_domains)
    entries: dict[str, Any] = {"given": [], "init_from": {"run": "old", "step": 1}}
    write_config(
        Path(), model, data, TrainConfig(), DataOptions(), "a" if model.n_domains == 1 else ["a", "b"], entries
    )
    assert first_command(Path(), read_config(Path()), (Remedy("", {"lr": 0.5}),)) is None, "old is gone"
    Path("old").mkdir()
    fits = set()
    for options in [remedy.options for remedy in remedies(model, TrainConfig())] + [{"width": 4}]:
        command = first_command(Path(), read_config(Path()), (Remedy("", options),))
        if command is None:
            continue
        called.clear()
        assert main(shlex.split(command)[1:]) == 0, command
        begins = origin if called["init_from"] else None
        check_options(called, data)
        new = adopt_options(called["model"], begins, lambda _: None)
        assert to_dict(new) == to_dict(model) | {k: v for k, v in options.items() if k in to_dict(model)}
        new.validate_data(data)
        initialize_from(begins, new, data, initialize_state(new, data.shape, 0, torch.device("cpu")), lambda _: None)
        fits |= {(*options, bool(begins))}
    assert {("lr", True), ("width", False)} <= fits


def test_a_run_of_before_is_named_by_what_it_does(labelled: Dataset, vectors: Dataset) -> None:
    """What is held out, and how many levels images have, is otherwise today where nobody says it."""
    for data, old in ((labelled, "--holdout 0.0 --channels 1 --bits 8 --lr 0.1"), (vectors, "--holdout 0.0 --lr 0.1")):
        write_config(Path(), ganvas.GAN(), data, TrainConfig(), DataOptions(), "x.npz", {"given": []})
        lr = (Remedy("", {"lr": 0.1}),)
        assert first_command(Path(), read_config(Path()), lr) == "ganvas train gan x.npz --lr 0.1"
        forget_data_options(Path(), "bits", "holdout", "channels", "scale")
        assert first_command(Path(), read_config(Path()), lr) == f"ganvas train gan x.npz {old}"


def test_what_a_run_of_before_was_given_without_effect_is_left_out(labelled: Dataset) -> None:
    model, config = ganvas.VAE(rank=9, sigma=0.3), TrainConfig(lr_gamma=0.5)
    write_config(Path(), model, labelled, config, DataOptions(), "x.npz")
    command = first_command(Path(), read_config(Path()), (Remedy("", {"lr": 0.1}),))
    assert command == "ganvas train vae x.npz --sigma 0.3 --lr 0.1"


def test_the_command_has_what_was_given_and_no_more(labelled: Dataset) -> None:
    def command(model: Model, remedy: Remedy, config: TrainConfig, **entries: Any) -> str | None:
        write_config(Path(), model, labelled, config, DataOptions(), "emoji", entries)
        return first_command(Path(), read_config(Path()), (remedy,))

    slower, (model, config) = Remedy("", {"lr": 1e-4}), chosen(ganvas.DCGAN(), labelled)
    picked = {name: value for name, value in (to_dict(model) | to_dict(config)).items() if name in model.chosen_options}
    assert command(model, slower, config, given=["seed"], chosen=picked) == "ganvas train dcgan emoji --lr 0.0001"
    assert command(model, slower, config, chosen=picked) == "ganvas train dcgan emoji --lr 0.0001", "an old run"
    paper = command(ganvas.DCGAN(net="conv"), slower, TrainConfig(), given=["net"])
    assert paper == "ganvas train dcgan emoji --net conv --lr 0.0001", "without it others would be chosen"
    budget, epochs = TrainConfig(budget=60, steps=900), TrainConfig(steps=900)
    assert command(ganvas.GAN(), slower, budget, given=["budget"]) == "ganvas train gan emoji --budget 60.0 --lr 0.0001"
    longer = Remedy("", {"steps": 1800})
    assert command(ganvas.GAN(), longer, budget, given=["budget"]) == "ganvas train gan emoji --steps 1800"
    assert command(ganvas.GAN(), slower, epochs, given=["epochs"]) == "ganvas train gan emoji --steps 900 --lr 0.0001"
    Path("r 1").mkdir()
    start = command(ganvas.GAN(), slower, epochs, init_from={"run": "r 1"}, given=["net"], world_size=2)
    assert start == "ganvas train gan emoji --lr 0.0001 --devices 2 --init-from 'r 1'"
    assert command(ganvas.GAN(), slower, epochs, own_networks={"generator": "G"}) is None


def test_cut_is_proposed_where_a_domain_lacks_colours() -> None:
    def proposed(model: Model, **chroma: float) -> set[str]:
        rules = [rule.remedies for rule in model.rules(TrainConfig())]
        each = [remedies(Figures(chroma)) for remedies in rules if callable(remedies)]
        return {r.domains for some in each for r in some[:1] if r.command}

    assert proposed(ganvas.CycleGAN(), chroma_A=0.2, chroma_B=0.01) == {"AB"}
    assert proposed(ganvas.DiscoGAN(), chroma_A=0.0, chroma_B=0.1) == {"BA"}
    assert proposed(ganvas.CycleGAN(), chroma_A=0.2, chroma_B=0.03) == set(), "less colour, but some"
    assert proposed(ganvas.CycleGAN(), chroma_A=0.01, chroma_B=0.0) == set(), "both are grey"
    assert proposed(ganvas.CycleGAN()) == proposed(ganvas.CUT(), chroma_A=0.2, chroma_B=0.0) == set()


@pytest.mark.parametrize("model", VARIANTS, ids=repr)
def test_every_rule_has_a_section_of_the_page_and_remedies(model: Model) -> None:
    page = (Path(__file__).resolve().parents[2] / DOCS_PAGE).read_text(encoding="utf-8").lower()
    for rule in model.rules(model.default_training):
        section = "speckle" if rule.section == "speckle" else rule.section or rule.name
        assert f"\n## {section.lower()}\n" in page
        assert rule.remedies


@pytest.mark.parametrize("model", VARIANTS, ids=repr)
def test_figures_that_a_log_does_not_have_break_no_rule(model: Model) -> None:
    assert check_rules(model.rules(model.default_training), Figures(), 5000, 5000) == []


def test_a_loss_without_a_gap_has_all_other_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ganvas.DCGAN(loss="hinge")
    names = [rule.name for rule in model.rules(TrainConfig())]
    monkeypatch.setitem(WON_LOGIT_GAP, "hinge", None)
    assert [rule.name for rule in ganvas.DCGAN(loss="hinge").rules(TrainConfig())] == [
        n for n in names if n != "D has won"
    ]
    assert "D has won" in names


def test_what_follows_from_another_is_not_said_as_well() -> None:
    first = Rule("first", "a", 1.0, "a is {figure:g} (limit {limit:g})", (Remedy("none"),))
    second = Rule("second", "b", 1.0, "b", (Remedy("none"),), unless=("first",))
    late = Rule("late", "b", lambda figures: figures["a"] / 2, "b", (Remedy("none"),), phase="end", after=600)
    rules, figures = (first, second, late), Figures(a=2.0, b=2.0)
    assert [d.name for d in check_rules(rules, figures, 1000, 1000)] == ["first", "late"]
    assert [d.name for d in check_rules(rules, Figures(a=0.5, b=2.0), 900, 1000)] == ["second"]
    assert check_rules(rules, Figures(a=2.0), 400, 1000)[0].evidence == "a is 2 (limit 1)"
    assert check_rules(rules, figures, 199, 1000) == []
