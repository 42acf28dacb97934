"""Every option of `ganvas train`, with values that are not its default: it arrives, typed, in a file and in Python."""

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import TypeAdapter, ValidationError

from ganvas.cli.app import main
from ganvas.config import TrainConfig
from ganvas.data import DataOptions, Dataset
from ganvas.fields import REPEATED
from ganvas.inference.schema import parse_model
from ganvas.model import Model, to_dict
from ganvas.models import MODELS
from ganvas.training import run, run_records
from tests.support.data import as_pair
from tests.support.option_values import candidates

ROUNDS = 3
"""so many values of each option, so that each of the numbers in a Literal is tried, and None"""


def fits(hint: Any, value: Any) -> bool:
    try:
        return bool(TypeAdapter(hint).validate_python(value) == value)
    except ValidationError:
        return False


def others(cls: type) -> dict[str, list[Any]]:
    """By field, the values that it may have instead of its default."""
    assert is_dataclass(cls)
    hints = get_type_hints(cls, include_extras=True)
    found = {
        f.name: [v for v in candidates(hints[f.name]) if v != f.default and fits(hints[f.name], v)] for f in fields(cls)
    }
    return {name: sorted(values, key=lambda v: v is not None) for name, values in found.items()}


def text(value: Any) -> str:
    return "none" if value is None else str(value)


def typed(name: str, value: Any) -> list[str]:
    """An option and its value as they are typed."""
    option = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [option if value else f"--no{option[1:]}"]
    if name in REPEATED:
        return [word for part in value for word in (option, part)]
    if isinstance(value, tuple):
        return [option, ",".join(map(str, value))]
    return [option, text(value)]


def written(name: str, value: Any) -> str:
    """The same as a line of YAML."""
    value = list(value) if isinstance(value, tuple) else value
    return f"{name}: {json.dumps(value) if not isinstance(value, str) else value}\n"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What `ganvas.train` was called with last; it does nothing."""
    called: dict[str, Any] = {}

    def train(model: Model, data: Any, **options: Any) -> None:
        called.clear()
        called.update({"model": model, "data": data} | options)
        raise SystemExit(0)

    monkeypatch.setattr(run, "train", train)
    return called


def rounds(cls: type) -> Iterator[dict[str, Any]]:
    """Choices of values for all fields of a class at once; those with none left out."""
    values = {name: found for name, found in others(cls).items() if found}
    for i in range(ROUNDS):
        yield {name: found[i % len(found)] for name, found in values.items()}


@pytest.mark.parametrize("name", MODELS)
def test_options_arrive(name: str, asked: dict[str, Any], images: Dataset) -> None:
    cls = MODELS[name]
    data, sources = as_pair(images) if cls.n_domains == 2 else images, ["A", "B"][: cls.n_domains]
    usual = to_dict(cls.default_training) | to_dict(DataOptions())
    lonely = [field for field, found in others(cls).items() if not found]
    assert all(len(get_args(get_type_hints(cls)[field])) == 1 for field in lonely), lonely  # nothing to choose
    for i, (own, *rest) in enumerate(zip(*(rounds(part) for part in (cls, TrainConfig, DataOptions)), strict=True)):
        said = {field: value for values in rest for field, value in values.items() if value != usual[field]}
        own, said = ({k: v for k, v in given.items() if k not in cls.ignored_options} for given in (own, said))  # noqa: PLW2901
        words = [word for field, value in (own | said).items() for word in typed(field, value)]
        if i < 2:
            Path("options.yaml").write_text("".join(written(field, value) for field, value in (own | said).items()))
        for way in [words] + [["--config", "options.yaml"]] * (i < 2):
            assert main(["train", name, *sources, *way]) == 0
            assert type(asked["model"]) is cls
            assert {field: getattr(asked["model"], field) for field in own} == own
            assert {field: asked[field] for field in usual.keys() & asked.keys()} == said
        lengths = {"steps", "epochs", "budget"} - {("steps", "epochs", "budget")[i]}  # one of them is enough
        some = usual | {field: value for field, value in said.items() if field not in lengths}
        plan, view = run.split_options({field: value for field, value in some.items() if value != usual[field]}, cls())
        assert to_dict(plan) | to_dict(view) == some
        run_records.write_config(Path(), asked["model"], data, plan, view, "source")
        config = run_records.read_config(Path())
        assert parse_model(config, Path("config.json")) == asked["model"]
        assert TrainConfig(**config["train_config"]) == plan
        assert DataOptions(**config["data"]["options"] | {"data_dir": view.data_dir}) == view


def test_the_rest_of_train_arrives(asked: dict[str, Any]) -> None:
    assert main(["train", "vae", "A", "--runs-dir", "elsewhere", "--folder", "here", "--quiet"]) == 0
    assert (asked["data"], asked["runs_dir"], asked["folder"], asked["quiet"]) == (
        "A",
        Path("elsewhere"),
        Path("here"),
        1,
    )
    assert main(["train", "discogan", "A", "B"]) == 0
    assert (asked["data"], asked["runs_dir"], asked["folder"], asked["quiet"]) == (
        ("A", "B"),
        Path("runs"),
        None,
        False,
    )


@pytest.mark.parametrize("words", [["0.5", "0.9"], ["0.5,0.9"], ["=0.5,0.9"]])
def test_two_numbers_in_one_word(words: list[str], asked: dict[str, Any]) -> None:
    first, *rest = words
    option = ["--betas" + first] if first[0] == "=" else ["--betas", first]
    assert main(["train", "vae", "A", *option, *rest, "--lr-milestones", "0.5,0.8"]) == 0
    assert (asked["model"].betas, asked["lr_milestones"]) == ((0.5, 0.9), (0.5, 0.8))


def test_what_is_typed_comes_before_what_stands_in_a_file(asked: dict[str, Any]) -> None:
    Path("run.yaml").write_text("balanced: true\nbetas: 0.1 0.2\nlatent: 5\nweight-clip: ~\n")
    assert main(["train", "wgan", "A", "--config", "run.yaml", "--no-balanced", "--latent", "7"]) == 0
    model = asked["model"]
    assert (asked["balanced"], model.betas, model.latent, model.weight_clip) == (False, (0.1, 0.2), 7, None)


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_no_two_options_have_one_name(model: type[Model]) -> None:
    names = [f.name for cls in (model, TrainConfig, DataOptions) for f in fields(cls)]
    assert len(set(names)) == len(names)
