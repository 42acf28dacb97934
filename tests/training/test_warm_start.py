"""New runs that begin with an old one, from the command line: its options, and the layers that fit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import ganvas
from ganvas.cli.app import main
from ganvas.data import Dataset, from_array
from ganvas.errors import UserError
from ganvas.io.safetensors import read_safetensors, select_prefix, write_safetensors
from ganvas.training.warm_start import Origin, adopt_options

SHORT = ["--steps", "1", "--batch-size", "4", "--lr-d", "1e-9", "--ema-decay", "0", "--holdout", "0"]
OLD = ["--width", "4", "--latent", "3", "--net", "conv", "--norm-d", "none", "--r1", "0.5", "--lr", "1e-9"]


def pictures(folder: str, channels: int = 3, size: int = 8) -> str:
    Path(folder).mkdir()
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 256, (size, size, channels), np.uint8)
        Image.fromarray(pixels.squeeze()).save(Path(folder, f"{i}.png"))
    return folder


def train(data: str, *more: str, folder: str = "new", model: str = "dcgan") -> int:
    return main(["train", model, data, *SHORT, "--folder", folder, *more])


def fields(run: str = "new") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run, "config.json").read_text())["fields"]
    return found


def networks(run: str) -> dict[str, Tensor]:
    return select_prefix(read_safetensors(Path(run, "state.ckpt"))[1], "nets/")


def changed(old: dict[str, Tensor], new: dict[str, Tensor]) -> set[str]:
    """The parameters that are not the old ones but for a step of 1e-9; what batch norm counts does not matter."""
    names = [name for name in new if not any(part in name for part in ("running", "num_batches", "augment_p"))]
    return {n for n in names if n not in old or old[n].shape != new[n].shape or (old[n] - new[n]).abs().max() > 1e-6}


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_options_that_nobody_gives_are_those_of_the_old_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert train(pictures("old-data"), *OLD, folder="old") == 0
    capsys.readouterr()
    assert train(pictures("other"), "--init-from", "old", "--latent", "3", "--r1", "0.25") == 0
    assert fields() == fields("old") | {"r1": 0.25}
    text = said(capsys)
    assert f"as in {Path('old').resolve()}: --lr 1e-09" in text
    assert "--width 4" in text
    assert "--latent" not in text.partition("note: begins")[0]  # it was given
    assert f"begins with G and D of {Path('old').resolve()}, of step 1" in text
    assert not changed(networks("old"), networks("new"))


def test_options_that_are_given_and_do_not_fit_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    train(pictures("data"), *OLD, folder="old")
    assert train("data", "--init-from", "old", "--width", "8") == 2
    assert "it has --width 4" in said(capsys)
    assert train("data", "--init-from", "old", "--spectral-norm", "--r1", "0") == 2
    assert "it has --r1 0.5, --no-spectral-norm" in said(capsys)
    assert train("data", "--init-from", "old", model="r3gan") == 2
    assert "it is no run of r3gan" in said(capsys)
    assert train("data", "--init-from", "old", model="wgan") == 2
    assert main(["train", "vae", "data", "--steps", "1", "--folder", "new", "--init-from", "old"]) == 2
    assert "has the networks D, G, but a vae has encoder, decoder: begin with a run of the same model" in said(capsys)
    assert not Path("new").exists()


@pytest.mark.parametrize("channels", [1, 4])
def test_of_images_with_other_channels_the_layers_that_fit_carry_over(
    channels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    train(pictures("data"), *OLD, folder="old")
    assert train(pictures("other", channels), "--init-from", "old") == 0
    old, new = networks("old"), networks("new")
    first, last = "D.0", "G." + max((name.split(".")[1] for name in new if name.startswith("G.")), key=int)
    assert {name.rpartition(".")[0] for name in changed(old, new)} == {first, last}
    text = said(capsys)
    for network, layer in (("G", last), ("D", first)):
        layers = {name.rpartition(".")[0] for name in new if name.startswith(f"{network}.")}
        n = len(layers)
        assert f"of {network} {n - 1} of {n} layers carry over, the others are random: {layer}." in text
    assert ganvas.load("new").scaling[0].premultiplied == (channels == 4)
    averages = select_prefix(read_safetensors(Path("new/state.ckpt"))[1], "ema/")
    assert not changed(new, averages)


def test_images_of_another_size_are_refused_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    train(pictures("data"), *OLD, folder="old")
    assert train(pictures("large", size=32), "--init-from", "old") == 2
    text = said(capsys)
    assert "no layer of G does" in text
    assert "give the --size and --channels of that run, or leave out --init-from" in text
    assert train("large", "--size", "8", "--init-from", "old") == 0


def test_weights_alone_have_no_discriminator_which_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    train(pictures("data"), *OLD, folder="old")
    assert train("data", "--init-from", "old/weights.safetensors", "--seed", "1") == 0
    assert "does not hold D: random weights" in said(capsys)
    assert fields()["width"] == 4
    assert {name.partition(".")[0] for name in changed(networks("old"), networks("new"))} == {"D"}


def test_a_discriminator_among_the_weights_is_taken_from_a_file_and_from_a_model(
    images: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    model, options = ganvas.DCGAN(width=4, latent=3, keep_discriminator=True), {"batch_size": 4, "steps": 1}
    old = ganvas.train(model, images, folder="old", quiet=True, **options)
    assert old.folder is not None
    for name, start in (("model", old), ("file", "old/weights.safetensors")):
        ganvas.train(model, images, folder=name, init_from=start, **options)
        assert "does not hold D" not in said(capsys)
    a, b = (networks(name) for name in ("model", "file"))
    assert not changed(a, b)


def test_the_probability_of_augmentation_begins_anew() -> None:
    train(pictures("data"), *OLD, "--augment", "flip", "--augment-target", "0.0", folder="old")
    header, tensors = read_safetensors(Path("old/state.ckpt"))
    write_safetensors(Path("old/state.ckpt"), header, tensors | {"nets/D.augment_p": torch.tensor(0.7)})
    assert train("data", "--init-from", "old", "--augment-span", "1000", folder="adaptive") == 0
    assert networks("adaptive")["D.augment_p"] <= 4 / 1000 + 1e-6
    assert not changed(networks("old"), networks("adaptive"))
    model = ganvas.DCGAN(**{k: v for k, v in fields("old").items() if k not in ("augment", "augment_target")})
    ganvas.train(model, "data", folder="always", init_from="adaptive", steps=1, batch_size=4, holdout=0.0, quiet=True)
    assert fields("always")["augment_target"] == 0.0  # of the old run
    with_none = ganvas.DCGAN(**fields("old") | {"augment_target": None})
    ganvas.train(with_none, "data", folder="none", init_from="adaptive", steps=1, batch_size=4, holdout=0.0, quiet=True)
    assert "D.augment_p" not in networks("none")


def test_vectors_of_other_dimensions_have_their_own_scaling() -> None:
    random = np.random.default_rng(0)
    data = [from_array(random.normal(5, 2, size=(40, d)).astype(np.float32), name=f"d{d}") for d in (2, 3)]
    options: dict[str, Any] = {"steps": 1, "batch_size": 8, "quiet": True}
    old = ganvas.train(ganvas.VAE(width=4, latent=2, depth=2, lr=1e-9), data[0], folder="old", **options)
    new = ganvas.train(ganvas.VAE(), data[1], folder="new", init_from="old", **options)
    assert (new.model, new.scaling[0].mean.shape) == (old.model, (3,))  # type: ignore[union-attr]
    torch.testing.assert_close(new.scaling[0].mean, data[1].x.double().mean(0))
    again = ganvas.train(ganvas.VAE(), data[0], folder="again", init_from=old, **options)
    assert again.model == old.model


def test_another_number_of_classes_leaves_what_has_the_label_random(capsys: pytest.CaptureFixture[str]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8), np.uint8)
    options: dict[str, Any] = {"steps": 1, "batch_size": 8}
    for folder, classes, more in (("old", 2, {}), ("new", 3, {"init_from": "old"})):
        data = from_array(images, labels=np.arange(24) % classes, name="images")
        ganvas.train(ganvas.CGAN(width=4, latent=3, net="conv"), data, folder=folder, **options, **more)
    text = said(capsys)
    assert "layers of G carry over" in text or "of G" in text
    assert "D.v" in text


def test_the_last_run_is_that_of_the_folder_of_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for name, width in (("mine", "4"), ("runs", "5")):
        assert (
            main(
                [
                    "train",
                    "autoencoder",
                    "digits",
                    "--steps",
                    "1",
                    "--latent",
                    "2",
                    "--width",
                    width,
                    "--runs-dir",
                    name,
                ]
            )
            == 0
        )
    for last in ("last", next(Path("mine").iterdir()).name):
        assert main(["train", "autoencoder", "digits", "--steps", "1", "--runs-dir", "mine", "--init-from", last]) == 0
        assert f"begins with encoder and decoder of {Path('mine').resolve()}" in said(capsys)
    assert main(["train", "autoencoder", "digits", "--runs-dir", "other", "--init-from", "last"]) == 2
    assert "there are no runs in other yet" in said(capsys)


def test_nothing_is_taken_of_a_run_that_is_not_there() -> None:
    with pytest.raises(UserError, match="no run 'nothing'"):
        ganvas.train(ganvas.VAE(), "digits", init_from="nothing")


def test_options_of_training_are_chosen_again_where_those_of_the_old_run_were(tmp_path: Path) -> None:
    train = ["train", "dcgan", "digits", "--limit", "60", "--width", "4", "--steps", "2", "--quiet", "--folder"]
    for name, options in (("chosen", []), ("paper", ["--net", "conv"])):
        assert main([*train, str(tmp_path / name), *options]) == 0
        assert main([*train, str(tmp_path / f"{name}-2"), "--init-from", str(tmp_path / name)]) == 0
        first, second = (json.loads((tmp_path / n / "config.json").read_text()) for n in (name, f"{name}-2"))
        assert first["fields"] == second["fields"]
        assert first["train_config"] == second["train_config"]


def test_weights_alone_and_a_vae_have_options_of_training_chosen_again_too(tmp_path: Path) -> None:
    for name, start in (("dcgan", "weights.safetensors"), ("vae", "")):
        old, new = tmp_path / name, tmp_path / f"{name}-2"
        train = ["train", name, "digits", "--limit", "60", "--width", "4", "--steps", "2", "--quiet", "--folder"]
        assert main([*train, str(old)]) == 0
        assert main([*train, str(new), "--init-from", str(old / start)]) == 0
        first, second = (json.loads((folder / "config.json").read_text()) for folder in (old, new))
        assert first["train_config"] == second["train_config"]
        assert first["fields"] == second["fields"]


@pytest.mark.parametrize("option", [["--r1", "0"], ["--gp", "1"]])
def test_what_does_not_go_with_a_given_option_is_not_taken_over(option: list[str], tmp_path: Path) -> None:
    train = ["train", "dcgan", "digits", "--limit", "60", "--width", "4", "--steps", "2", "--quiet", "--folder"]
    assert main([*train, str(tmp_path / "old")]) == 0
    assert main([*train, str(tmp_path / "new"), "--init-from", str(tmp_path / "old"), *option]) == 0


def test_of_rules_for_the_kl_the_given_one_is_taken(vectors: Dataset) -> None:
    old = ganvas.VAE(width=4, capacity=3.0, warmup=4, warmup_cycle=8, sigma=0.3)
    origin = Origin("old", 1, old, {}, {}, ())
    model = adopt_options(ganvas.VAE(geco=0.1), origin, lambda _: None)
    model.validate_data(vectors)
    assert (model.geco, model.capacity, model.width) == (0.1, None, 4)
    assert adopt_options(ganvas.VAE(free_bits=0.5), origin, lambda _: None).capacity is None
