"""Options that nobody gave, chosen for the data: from the command line to what is trained and stored."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import ganvas
from ganvas.cli.app import main
from ganvas.data import Dataset, from_array, load
from ganvas.inference.trained import load_trained
from ganvas.model import to_dict
from ganvas.models._gan_defaults import FEW_EXAMPLES, PICTURE_DEFAULTS
from ganvas.models.r3gan import IMAGE_DEFAULTS
from ganvas.training.defaults import choose_defaults, format_option
from tests.support.data import number_collection

STEPS = ["--steps", "2", "--batch-size", "4", "--quiet"]
SMALL = ["--width", "4", *STEPS]


def stored(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / "config.json").read_text())
    return config["fields"] | config["train_config"] | {"chosen": config.get("chosen", {})}


def as_json(values: dict[str, Any]) -> Any:
    return json.loads(json.dumps(values))


def test_what_is_not_given_is_chosen_said_and_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "train",
                "dcgan",
                "emoji",
                "--limit",
                "60",
                "--steps",
                "2",
                "--width",
                "4",
                "--folder",
                str(tmp_path / "run"),
            ]
        )
        == 0
    )
    err = capsys.readouterr().err
    assert "for emoji: --net resize --fine-convolutions 1 --latent 64 " in err
    assert "--augment shift,color --batch-size 32 --ema-decay 0.998 --lr-decay 0.5" in err
    values = stored(tmp_path / "run")
    chosen = as_json(PICTURE_DEFAULTS | {"augment": ("shift", "color")})
    del chosen["steps"], chosen["width"]
    assert values["chosen"] == chosen
    assert {name: values[name] for name in chosen} == chosen
    assert (values["width"], values["steps"]) == (4, 2)


@pytest.mark.parametrize("command", ["dcgan", "cgan"])
def test_named_networks_are_those_of_the_paper(command: str, tmp_path: Path) -> None:
    assert (
        main(["train", command, "digits", "--limit", "60", "--net", "conv", *SMALL, "--folder", str(tmp_path / "run")])
        == 0
    )
    values, paper = stored(tmp_path / "run"), {"dcgan": ganvas.DCGAN, "cgan": ganvas.CGAN}[command]
    assert values.pop("chosen") == {}
    fields = as_json(to_dict(paper(net="conv", width=4)))
    assert {name: values[name] for name in fields} == fields
    assert values["ema_decay"] == 0.999


@pytest.mark.parametrize(
    ("option", "r1", "interval"),
    [
        ("--loss hinge", 0.2, 16), ("--penalty-interval 4", 0.2, 4), ("--r1 0", 0, 1),
        ("--gp 10 --loss wasserstein", 0, 1), ("--r2 1 --r1 1", 1, 1), ("--norm-d batch", 0, 1),
        ("--spectral-norm", 0, 1), ("--weight-clip 0.1", 0, 1),
        ("--n-critic 2 --norm none", 0.2, 16), ("--conditioning concatenation", 0.2, 16),
    ],
)  # fmt: skip
def test_r1_is_chosen_unless_the_slope_is_held_otherwise(option: str, r1: float, interval: int, tmp_path: Path) -> None:
    model = "cgan" if "conditioning" in option else "dcgan"
    assert (
        main(["train", model, "digits", "--limit", "60", *option.split(), *SMALL, "--folder", str(tmp_path / "run")])
        == 0
    )
    values = stored(tmp_path / "run")
    assert (values["net"], values["r1"], values["penalty_interval"]) == ("resize", r1, interval)


def test_a_given_value_is_kept_though_it_is_the_default(tmp_path: Path) -> None:
    model = ganvas.DCGAN(width=64, lr=2e-4)
    model, defaults = choose_defaults(model, load("emoji"), {"batch_size": 64, "ema_decay": None})
    assert (model.width, model.lr, model.net) == (64, 2e-4, "resize")
    assert "batch_size" not in defaults.training
    assert defaults.training["ema_decay"] == 0.998


def test_epochs_say_how_long_to_train() -> None:
    assert "steps" not in choose_defaults(ganvas.DCGAN(), load("emoji"), {"epochs": 1.0})[1].values


@pytest.mark.parametrize("model", [ganvas.CGAN(), ganvas.GAN(), ganvas.VAE()])
def test_vectors_get_no_values_for_images(model: ganvas.Model) -> None:
    assert choose_defaults(model, load("ring"), {}) == (model, ({}, {}, []))


def test_of_signals_a_vae_learns_the_variance_of_errors() -> None:
    data = number_collection("signals")
    assert choose_defaults(ganvas.VAE(), data, {})[1].values == {"sigma": "optimal"}
    assert choose_defaults(ganvas.VAE(sigma=0.1), data, {})[0].sigma == 0.1
    for model in (ganvas.DCGAN(), ganvas.VAE(geco=0.1), ganvas.R3GAN()):
        assert choose_defaults(model, data, {}) == (model, ({}, {}, []))
    assert choose_defaults(ganvas.VAE(), number_collection("volumes"), {})[1].values == {}


def test_many_examples_are_seen_as_they_are() -> None:
    x = np.zeros((FEW_EXAMPLES, 8, 8, 1), np.uint8)
    assert choose_defaults(ganvas.DCGAN(), from_array(x), {})[0].augment == ()
    assert choose_defaults(ganvas.DCGAN(), load("digits"), {})[0].augment == ("shift",)
    for n, kinds in ((1999, ("shift", "color")), (2000, ("shift",)), (20_000, ())):
        images = from_array(np.zeros((n, 8, 8, 3), np.uint8))
        assert choose_defaults(ganvas.DCGAN(), images, {})[0].augment == kinds
        assert choose_defaults(ganvas.DCGAN(augment=("flip",)), images, {})[0].augment == ("flip",)


class OtherDCGAN(ganvas.DCGAN):
    """A subclass of a user's own."""

    lr = 1e-3


def test_own_classes_and_networks_are_left_alone() -> None:
    shape = load("digits").shape
    own_network = ganvas.DCGAN(generator=nn.Sequential(nn.Linear(100, 64), nn.Unflatten(1, shape)))
    for model in (OtherDCGAN(), own_network):
        assert choose_defaults(model, load("digits"), {}) == (model, ({}, {}, []))


def test_a_group_has_the_same_values_and_what_is_swept_counts_as_given(tmp_path: Path) -> None:
    folder = ["--folder", str(tmp_path / "runs"), *STEPS]
    assert main(["train", "dcgan", "digits", "--limit", "60", "--width", "4", "--sweep", "lr=1e-3,2e-3", *folder]) == 0
    for lr in (0.001, 0.002):
        values = stored(tmp_path / f"runs-lr{lr}-seed0")
        assert (values["lr"], values["net"], values["ema_decay"]) == (lr, "resize", 0.998)
        assert values["chosen"]["loss"] == "relativistic"
        assert "lr" not in values["chosen"]
    folder = ["--folder", str(tmp_path / "others"), *STEPS]
    assert main(["train", "dcgan", "digits", "--limit", "60", "--width", "4", "--sweep", "r1=0,1", *folder]) == 0
    values = stored(tmp_path / "others-r11-seed0")
    assert (values["net"], values["r1"], values["penalty_interval"]) == ("resize", 1, 1)


def test_a_sweep_of_networks_chooses_for_each_as_for_a_run_alone(images: Dataset) -> None:
    """A `net` that is named gives the paper's values: so it does in a sweep."""
    options: dict[str, Any] = {"steps": 1, "batch_size": 4, "quiet": True}
    ganvas.train_many(ganvas.VAE(width=4), images, sweep={"net": ["conv", "mlp"]}, folder="swept", seeds=1, **options)
    for net in ("conv", "mlp"):
        ganvas.train(ganvas.VAE(width=4, net=net), images, folder=net, **options)
        assert stored(Path(f"swept-net{net}-seed0")) == stored(Path(net))


def test_a_resumed_run_goes_on_with_them(tmp_path: Path) -> None:
    train = ["train", "dcgan", "emoji", "--limit", "60", "--width", "4", "--batch-size", "4", "--quiet", "--folder"]
    assert main([*train, str(tmp_path / "whole"), "--steps", "4", "--lr-decay", "0"]) == 0
    assert main([*train, str(tmp_path / "half"), "--steps", "2", "--lr-decay", "0"]) == 0
    assert main(["resume", str(tmp_path / "half"), "--steps", "4", "--quiet"]) == 0
    a, b = (load_trained(tmp_path / name) for name in ("whole", "half"))
    assert a.model == b.model
    assert all((v == b.nets.state_dict()[name]).all() for name, v in a.nets.state_dict().items())


def test_bench_measures_what_train_trains(capsys: pytest.CaptureFixture[str]) -> None:
    parameters = []
    for options in ([], ["--net", "conv"]):
        assert main(["bench", "dcgan", "--size", "8", "--json", "--quiet", *options]) == 0
        parameters.append(json.loads(capsys.readouterr().out)["models"]["dcgan"])
    assert [line["batch_size"] for line in parameters] == [32, 64]
    model, _ = choose_defaults(ganvas.DCGAN(), load("emoji"), {})
    nets = model.networks((3, 8, 8))
    assert parameters[0]["parameters"] == sum(p.numel() for net in nets.values() for p in net.parameters())


def test_help_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "dcgan", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "[default: conv, or by the data]" in text
    assert "[default: 0.999, or by the data]" in text


def test_r3gan_learns_mixtures_without_options() -> None:
    model, defaults = choose_defaults(ganvas.R3GAN(), load("ring"), {})
    assert (model.latent, model.width, model.lr, model.betas) == (2, 128, 3e-3, (0.0, 0.9))
    assert defaults.training == {"batch_size": 256, "steps": 7000, "ema_decay": 0.99, "lr_decay": 0.8}


def test_r3gan_draws_images_with_narrow_networks_of_its_paper_and_few_penalties(tmp_path: Path) -> None:
    assert main(["train", "r3gan", "emoji", "--limit", "60", *SMALL, "--folder", str(tmp_path / "run")]) == 0
    values, chosen = stored(tmp_path / "run"), as_json(IMAGE_DEFAULTS)
    for given in ("steps", "width", "batch_size"):
        del chosen[given]
    assert values["chosen"] == chosen
    assert {name: values[name] for name in chosen} == chosen
    assert (values["norm"], values["norm_d"], values["betas"], values["r1"], values["r2"]) == (
        "none", "none", [0.0, 0.99], 0.1, 0.1,
    )  # fmt: skip


@pytest.mark.parametrize(("options", "interval"), [({"r1": 0.0, "r2": 0.0}, 1), ({"r2": 1.0}, 1), ({"lr": 2e-3}, 16)])
def test_penalties_of_ones_own_are_computed_at_every_step(options: dict[str, float], interval: int) -> None:
    model, _ = choose_defaults(ganvas.R3GAN(**options), load("digits"), {})
    assert (model.net, model.penalty_interval) == ("residual", interval)
    model.validate_data(load("digits"))


@pytest.mark.parametrize("net", ["conv", "resize", "residual", "mlp"])
def test_named_networks_of_r3gan_are_trained_as_in_its_paper(net: Any) -> None:
    model = ganvas.R3GAN(net=net)
    assert choose_defaults(model, load("emoji"), {}) == (model, ({}, {}, []))


def test_a_vae_for_images_has_the_variance_of_its_errors_and_small_data_a_small_code() -> None:
    model, defaults = choose_defaults(ganvas.VAE(), load("emoji"), {})
    assert (model.sigma, model.latent) == ("optimal", 64)
    assert defaults.training == {"batch_size": 32, "steps": 10000, "ema_decay": 0.998, "lr_decay": 0.5}
    few = from_array(np.zeros((100, 8, 8, 1), np.uint8))
    model, _ = choose_defaults(ganvas.VAE(), few, {})
    assert model.latent == 10
    assert model.fits_prior(few)  # which needs ten examples a dimension
    longer = ganvas.VAE(latent=11)
    assert choose_defaults(longer, few, {}) == (longer, ({}, {}, []))


def test_a_note_can_be_typed() -> None:
    many = from_array(np.zeros((FEW_EXAMPLES, 8, 8, 1), np.uint8), name="many")
    (note,) = choose_defaults(ganvas.DCGAN(), many, {})[1].notes
    assert "--augment" not in note
    assert [format_option((name, value)) for name, value in (("fsdp", True), ("tf32", False))] == [
        "--fsdp",
        "--no-tf32",
    ]
    assert format_option(("augment", ())) == "--augment none"
    assert [ganvas.VAE(augment=value).augment for value in ("none", ("none",), ())] == [()] * 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "options"), [(ganvas.DCGAN(), {"lr_milestones": (0.5,)}), (ganvas.R3GAN(burn_in=100), {})]
)
def test_another_schedule_of_the_learning_rate_takes_the_place_of_its_decay(
    model: ganvas.Model, options: dict[str, Any]
) -> None:
    chosen = choose_defaults(model, load("digits"), options)[1].values
    assert "lr_decay" not in chosen
    assert chosen["ema_decay"] == 0.998


@pytest.mark.parametrize("model", [ganvas.CGAN(net="auto"), ganvas.VAE(net="auto")])
def test_auto_is_no_named_network(model: ganvas.Model) -> None:
    assert choose_defaults(model, load("digits"), {})[1].training["batch_size"] == 32


@pytest.mark.parametrize(
    "options", [{"net": "conv"}, {"likelihood": "bernoulli"}, {"prior": "vamp"}, {"conditional": True}, {"geco": 0.1}]
)
def test_a_vae_of_another_kind_is_left_as_it_is(options: dict[str, Any]) -> None:
    model = ganvas.VAE(**options)
    assert choose_defaults(model, load("digits"), {}) == (model, ({}, {}, []))


def test_the_model_of_a_run_is_trained_again_as_it_is(tmp_path: Path) -> None:
    train = ["train", "dcgan", "digits", "--limit", "60", "--net", "conv", *SMALL, "--folder"]
    assert main([*train, str(tmp_path / "old")]) == 0
    model = load_trained(tmp_path / "old").model
    assert choose_defaults(model, load("digits"), {}) == (model, ({}, {}, []))
    ring = ganvas.train(ganvas.R3GAN(width=4), "ring", steps=2, folder=tmp_path / "ring", quiet=True).model
    assert choose_defaults(ring, load("ring"), {})[0] == ring
