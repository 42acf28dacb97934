"""What `--help` says of every command: what it does, each option once, with its bounds, and none without effect."""

import inspect
import re
from collections.abc import Iterator

import pytest
from cyclopts import App

from ganvas.cli.app import COMMANDS, app, main
from ganvas.models import MODELS


def commands(of: App, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command."""
    for name in of:
        found = of[name]
        if not name.startswith("-") and isinstance(found, App):
            yield from [(*before, name)] if found.default_command is not None else commands(found, (name,))


TEXTS: dict[tuple[str, ...], str] = {}


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The text in which spaces and the ends of lines are alike, without frames; made once."""
    if words not in TEXTS:
        assert main([*words, "--help"]) == 0
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= 80
        TEXTS[words] = " ".join(re.sub(r"[│╭╮╰╯─|+]|(?m:^[-+]+$)", " ", text).split())
    return TEXTS[words]


@pytest.mark.parametrize("words", list(commands(app)), ids=" ".join)
def test_every_command_says_what_it_does(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    text, command = help_of(capsys, *words), app
    for word in words:
        command = command[word]
    for sentence in re.split(r"\s*\n\n\s*", inspect.getdoc(command.default_command) or "nothing"):
        assert " ".join(sentence.replace("`", "").split()) in text
    options = re.findall(r"(?<=\s)--?[a-z][a-z-]*", text)
    assert not [option for option in options if option.startswith(("--no-", "--empty-")) and option != "--no-flip"]
    assert not re.search(r"--[a-z] -[a-z]", text)


VALUES: dict[str, list[str]] = {
    "keep": ["last"], "noise_distribution": ["uniform"], "norm": ["none"], "norm_d": ["none"], "augment": ["flip"],
    "augment_target": ["0.5"], "keep_discriminator": [],
}  # fmt: skip
"""a value of options that take no number"""


def test_only_what_has_an_effect_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for name, cls in MODELS.items():
        text = help_of(capsys, "train", name)
        assert ("--keep" in text) == cls.keep_best_checkpoint
        assert ("DATA_B" in text) == (cls.n_domains == 2)
        assert "more than 0, at most 65536" in text
        for field in cls.ignored_options:
            assert f"--{field.replace('_', '-')} " not in text
            words = VALUES.get(field, ["3"])
            assert main(["train", name, *["ring"] * cls.n_domains, f"--{field.replace('_', '-')}", *words]) == 2
            assert "has no effect on a" in capsys.readouterr().err
    assert "--net" not in help_of(capsys, "train", "gan")  # nothing to choose
    assert "--flip --no-flip" in help_of(capsys, "train", "cyclegan")


def test_a_value_is_shown_in_the_form_that_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys, "train", "vae")
    shown = ("--budget DURATION", "--size SIZE", "--range LOW HIGH", "--data-dir PATH", "--sweep NAME=VALUES")
    assert not [option for option in shown if option not in text]
    assert "--size INT" in help_of(capsys, "bench", "vae")


def test_ganvas_alone_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f" {name} " in text for name in COMMANDS)


def test_train_alone_lists_the_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 0
    text = capsys.readouterr().out
    for name, cls in MODELS.items():
        assert re.search(rf"{name} +{(cls.__doc__ or '')[:20]}", text)
