"""Names of before: answered with the new ones, and still read from files."""

from pathlib import Path
from typing import Any

import pytest
import torch

import ganvas
from ganvas import renamed
from ganvas.cli.app import COMMANDS, known_arguments, main
from ganvas.data import Dataset
from ganvas.errors import UserError
from ganvas.metrics import METRICS
from ganvas.model import Model
from ganvas.models import MODELS
from ganvas.training.run_records import read_config, read_log
from tests.support.old_files import age_run, old_keys


def fixed_of(model: Model) -> dict[str, object]:
    """Options that other models have, and what this one's paper fixes them to."""
    return {name: value for name, value in model.fixed_options.items() if not hasattr(model, name)}


def test_every_new_name_is_one_of_today() -> None:
    """And an old name that stands for an option is not told off where it is still the right one."""
    known = known_arguments()
    for old, news in renamed.NEW_NAMES.items():
        assert set(news) <= known | {name.replace("-", "_") for name in METRICS}, old
        assert all(renamed.new_name(old, {new}) == new for new in news)
        assert renamed.new_name(old, {old, *news}) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train vae ring --every 5", "--every is called --checkpoint-every now"),
        ("train gan ring --k=2", "--k is called --n-critic now"),
        ("train vae ring --k 2", "--k is called --latent-samples now"),
        ("train cyclegan ring grid --cycle 3", "--cycle is called --cycle-weight now"),
        ("sample last --each 3", "--each is called --per-class now"),
        ("evaluate last --few", "--few is called --allow-few now"),
        ("train wgan ring --loss hinge", "wgan has no --loss: by its paper it is wasserstein; gan, dcgan"),
        ("train gan ring --k-first 3", "gan has no --initial-critic-steps: by its paper it is 1; wgan and wgangp take"),
        ("train wgangp ring --lazy 4", "wgangp has no --penalty-interval: by its paper it is 1"),
        ("train wgan ring --gp 1", "wgan has no --gp: by its paper it has none; wgangp, ctgan, gan, dcgan and cgan"),
    ],
)  # fmt: skip
def test_the_command_line_says_what_an_option_is_called_now(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_file_of_options_and_python_say_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.yaml").write_text("latent: 3\nbatch: 4\n")
    assert main(["train", "vae", "ring", "--config", "run.yaml"]) == 2
    assert (
        "run.yaml, line 2: train vae has no option 'batch'. It is called \"batch-size\" now." in capsys.readouterr().err
    )
    for make, said in (
        (lambda: ganvas.VAE(k=3), "VAE has no 'k'. It is called \"latent_samples\" now."),
        (lambda: ganvas.TrainConfig(every=3), "TrainConfig has no 'every'. It is called \"checkpoint_every\" now."),
        (
            lambda: ganvas.WGAN(top_k=0.5),
            "WGAN has no `top_k`: by its paper it is 1.0; gan, dcgan and cgan take `top_k`",
        ),
        (lambda: ganvas.train(ganvas.VAE(), "ring", ema=0.9), "has no option 'ema'. It is called \"ema_decay\" now."),
    ):
        with pytest.raises(UserError) as caught:
            make()
        assert said in str(caught.value)
    for old, new in (("Plan", "TrainConfig"), ("View", "DataOptions"), ("Collection", "Dataset")):
        with pytest.raises(AttributeError, match=f"it is called {new} now"):
            getattr(ganvas, old)


@pytest.mark.parametrize("name", ["vae", "gan", "wgan", "r3gan"])
def test_a_run_of_before_is_sampled_and_goes_on(name: str, vectors: Dataset) -> None:
    """To the same bits, with old names in its files and with what its model's paper fixes said in words."""
    model = MODELS[name](latent=3, width=8, **({"initial_critic_steps": 2} if name == "wgan" else {}))
    options: dict[str, Any] = {"batch_size": 8, "checkpoint_every": 2, "quiet": True}
    straight = ganvas.train(model, vectors, steps=4, lr_decay=0.0, folder="straight", **options)
    model = straight.model  # with what was chosen
    ganvas.train(model, vectors, steps=2, lr_decay=0.0, folder="run", **options)
    new_config, new_log = read_config(Path("run")), read_log("run")
    age_run(Path("run"), **fixed_of(model))
    written = "".join(path.read_text() for path in (Path("run/config.json"), Path("run/log.jsonl")))
    assert '"plan": {' in written
    assert '"game": {' in written or '"codes": {' in written
    assert read_log("run") == new_log
    assert read_config(Path("run")) == new_config | {"fields": read_config(Path("run"))["fields"]}
    assert ganvas.load("run").model == model
    assert main(["sample", "run", "-n", "3", "--out", "a.npy"]) == 0
    resumed = ganvas.resume("run", vectors, steps=4, quiet=True)
    logs = [read_log(run) for run in ("straight", "run")]
    for line in (*logs[0], *logs[1]):
        del line["seconds"]
        line.pop("samples", None)  # measured at the end of a run, so also at step 2 of the shorter one
    assert logs[0] == logs[1]
    for a, b in zip(straight.nets.state_dict().values(), resumed.nets.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_run_of_before_with_geco_goes_on(vectors: Dataset) -> None:
    """Its files have the sigma and the beta that were not given, which geco takes the place of."""
    model = ganvas.VAE(latent=3, width=8, geco=0.1)
    ganvas.train(model, vectors, steps=2, batch_size=8, quiet=True, folder="run")
    age_run(Path("run"), sigma=0.4, beta=1.0)
    assert ganvas.load("run").model == model
    assert ganvas.resume("run", vectors, steps=4, quiet=True).model == model


def test_a_run_of_before_with_what_its_model_no_longer_has_is_sampled_only(vectors: Dataset) -> None:
    model = ganvas.R3GAN(latent=3, width=8)
    ganvas.train(model, vectors, steps=2, batch_size=8, checkpoint_every=2, quiet=True, folder="run")
    age_run(Path("run"), **fixed_of(model) | {"gp": 10.0})
    assert ganvas.load("run").sample(3).x.shape == (3, *vectors.shape)
    with pytest.raises(
        UserError, match=r"trained with gp=10.0, which r3gan no longer has: it can be sampled, but not go"
    ):
        ganvas.resume("run", vectors, steps=4, quiet=True)
    assert "train" in COMMANDS


@pytest.mark.parametrize("kind", list(renamed.NEW_KEYS))
def test_every_old_key_is_translated_where_it_stood_and_nowhere_else(kind: str) -> None:
    """A loss, an option or a network may be called as a key of before was."""
    old: dict[str, Any] = {}
    for path in renamed.NEW_KEYS[kind]:
        *parents, name = path.rstrip(".").split(".")
        place = old
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = place.get(name, {}) if path.endswith(".") else 0.5
    new = renamed.with_new_keys(old, kind)
    assert old_keys(new, kind) == old
    assert renamed.with_new_keys(new, kind) == new
    names = {path.rstrip(".").rpartition(".")[2] for path in renamed.NEW_KEYS[kind]}
    fields = {"fields": dict.fromkeys(names, 0.5)}
    assert renamed.with_new_keys(fields, kind) == fields
    if kind == "log":
        terms = {"step": 3, "game": 0.5, "codes": 0.5, "gap": 0.5, "cycle_A": 0.5}
        assert renamed.with_new_keys(terms, kind) == terms
