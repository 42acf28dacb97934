"""Any combination of options either trains or is refused in a sentence before it begins."""

import dataclasses
from pathlib import Path
from random import Random
from typing import Any, get_args

import numpy as np
import pytest

import ganvas
from ganvas.data import Dataset, from_array
from ganvas.errors import UserError
from ganvas.models import CGAN, DCGAN, GAN, R3GAN, WGAN, WGANGP
from ganvas.models._gan import Adversarial
from ganvas.nn.augment import Augmentation
from ganvas.objectives.adversarial import Loss
from ganvas.training.run_records import read_log

GROUPS, EACH = 8, 12
NUMBERS = 120_000
"""most numbers in a batch, so that all of it takes seconds"""


def drawn(random: Random) -> tuple[type[Adversarial], dict[str, Any], tuple[int, ...], dict[str, Any]]:
    """A model, its fields, the shape of its examples and the options of its run."""
    cls = random.choice((GAN, DCGAN, CGAN, WGAN, WGANGP, R3GAN))
    norms = ("auto", "auto", "batch", "layer", "none")
    fields: dict[str, Any] = {
        "width": random.choice((2, 3, 8)), "latent": random.choice((1, 4)), "norm": random.choice(norms),
        "norm_d": random.choice(norms), "noise_distribution": random.choice(("normal", "uniform")),
        "n_critic": random.choice((1, 2)), "pack": random.choice((1, 1, 1, 2, 3)), "top_k": random.choice((1.0, 1.0,
        0.5)),
        "spectral_norm": random.random() < 0.25,
    }  # fmt: skip
    if random.random() < 0.3:
        fields["augment"] = tuple(random.sample(get_args(Augmentation), random.randint(1, 4)))
        fields["augment_target"] = random.choice((None, 0.6))
    if random.random() < 0.6:
        fields["loss"] = random.choice(get_args(Loss))
    bounds = {"gp": 10.0, "r1": 1.0, "r2": 1.0, "weight_clip": 0.01}
    fields |= {name: value for name, value in bounds.items() if random.random() < 0.2}
    if fields.keys() & {"gp", "r1", "r2"}:
        fields["penalty_interval"] = random.choice((1, 2))
    if cls is WGAN:
        fields["initial_critic_steps"] = random.choice((1, 3))
    if cls is CGAN:
        fields["conditioning"] = random.choice(("concatenation", "projection"))
    if cls not in (GAN, DCGAN):
        fields["net"] = random.choice(("auto", "auto", "conv", "mlp"))
    known = {field.name for field in dataclasses.fields(cls)}  # those that a paper fixes are no options of its model
    fields = {name: value for name, value in fields.items() if name in known}
    sizes = (8, 9, 13, 16, 32, 64, 128)
    images = (random.choice((1, 3, 4)), random.choice(sizes), random.choice(sizes))
    shape = images if random.random() < 0.75 else (random.choice((1, 2, 5)),)
    batches = [b for b in (1, 2, 3, 4, 6, 12, 64, 512) if b * np.prod(shape) <= NUMBERS]
    return (
        cls,
        fields,
        shape,
        {"batch_size": random.choice(batches), "precision": random.choice(("float32", "bfloat16"))},
    )


def examples(shape: tuple[int, ...], n: int, labelled: bool) -> Dataset:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, n) if labelled else None
    if len(shape) == 1:
        return from_array(random.normal(size=(n, *shape)).astype(np.float32), labels, name="vectors")
    c, h, w = shape
    return from_array(random.integers(0, 256, (n, h, w, c), np.uint8), labels, name="images")


def outcome(seed: int) -> str:
    """ "trained", or the sentence with which the combination was refused."""
    random = Random(seed)
    cls, fields, shape, options = drawn(random)
    data = examples(shape, max(8, options["batch_size"] + random.randrange(5)), random.random() < 0.8)
    folder = Path(f"run-{seed}")
    try:
        ganvas.train(
            cls(**fields), data, folder=folder, steps=3, checkpoint_every=3, ema_decay=0.0,
            keep=random.choice(("best", "last")),
            balanced=random.random() < 0.2, quiet=True, **options,
        )  # fmt: skip
    except UserError as error:
        return f"refused after it had begun: {error}" if folder.exists() else str(error)
    except Exception as error:
        raise AssertionError(f"{seed}: {cls.__name__}({fields}) on {shape} with {options}") from error
    (line,) = read_log(folder)[-1:]
    assert line["step"] == 3
    assert all(np.isfinite(value) for value in line.values() if isinstance(value, float))
    assert all(np.isfinite(value) for value in line["adversarial"].values())
    assert ganvas.load(folder).sample(3, label=0 if cls is CGAN else None).x.shape == (3, *shape)
    return "trained"


@pytest.mark.parametrize("group", range(GROUPS))
def test_a_combination_trains_or_is_refused_in_a_sentence(group: int) -> None:
    outcomes = [outcome(seed) for seed in range(group * EACH, (group + 1) * EACH)]
    refused = [said for said in outcomes if said != "trained"]
    assert 1 <= len(refused) <= EACH - 3  # both kinds are there
    for said in refused:
        assert not said.startswith("refused after it had begun")
        assert "\n" not in said
        assert 20 < len(said) < 200, said
        assert ": " in said, said  # what is wrong, then what to do


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("model", "shape", "batch"),
    [
        (DCGAN(width=2), (3, 32, 32), 512),
        (DCGAN(width=2), (4, 128, 128), 4),
        (R3GAN(width=2, latent=2), (3, 128, 128), 2),
        (WGANGP(width=2, n_critic=1), (1, 8, 8), 512),
        (GAN(width=2), (3, 128, 128), 16),
        (CGAN(width=2), (1, 128, 96), 8),
        (R3GAN(width=8, latent=2), (2,), 512),
        (WGAN(width=8, initial_critic_steps=1), (5,), 1),
    ],
)
def test_the_largest_examples_and_batches_train(
    model: Adversarial, shape: tuple[int, ...], batch: int, precision: Any
) -> None:
    data = examples(shape, batch + 3, True)
    run = ganvas.train(
        model,
        data,
        steps=3,
        batch_size=batch,
        checkpoint_every=3,
        precision=precision,
        keep="last",
        quiet=True,
        folder="run",
    )
    assert run.sample(1, label=0 if isinstance(model, CGAN) else None).x.shape == (1, *shape)
    (line,) = read_log(Path("run"))[-1:]
    assert all(np.isfinite(value) for value in line.values() if isinstance(value, float))
