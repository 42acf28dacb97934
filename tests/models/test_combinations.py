"""Any options of autoencoders, VAEs and translators either train or are refused in a sentence before a run begins."""

import dataclasses
from pathlib import Path
from random import Random
from typing import Any, get_type_hints

import numpy as np
import pytest

import ganvas
from ganvas.data import from_array
from ganvas.errors import UserError
from ganvas.models import MODELS
from ganvas.training.run_records import read_log
from tests.support.data import NUMBER_SHAPES, number_collection, sources
from tests.support.models import SMALL
from tests.support.option_values import candidates

NAMES = ("autoencoder", "vae", "iwae", "betatcvae", "laddervae", "cyclegan", "discogan", "cut")
EDGES = (0, 1, -1)
"""numbers just inside or outside of what most options take"""
FIXED = ("betas", "eps")
EACH, OPTIONS = 2, (1, 4)
"""combinations of a model, and how many options they have"""


def drawn(name: str, random: Random) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """Fields of the model, examples, and options of the run."""
    cls = MODELS[name]
    hints, fields = get_type_hints(cls, include_extras=True), [f.name for f in dataclasses.fields(cls)]
    values: dict[str, Any] = {key: value for key, value in (SMALL | {"width": 4}).items() if key in fields}
    for field in random.sample([f for f in fields if f not in FIXED], random.randint(*OPTIONS)):
        known = list(candidates(hints[field]))
        is_number = any(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
        values[field] = random.choice(known if not is_number or random.random() < 0.7 else EDGES)
    kind, n, labels = random.choice(("images", "images", "vectors", *NUMBER_SHAPES)), 12, np.arange(12) % 3
    if kind in NUMBER_SHAPES:
        data = number_collection(kind, n)
    else:
        shape = (
            (random.choice((8, 13, 16)), random.choice((8, 16)), random.choice((1, 3))) if kind == "images" else (3,)
        )
        x = np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)
        x = x if kind == "images" else x.astype(np.float32)
        data = from_array(x, labels if random.random() < 0.5 else None, name=kind)
    options = {"batch_size": random.choice((1, 2, 4)), "precision": random.choice(("float32", "float32", "bfloat16"))}
    return values, sources(cls, data), options


def outcome(name: str, seed: int) -> str:
    """ "trained", or the sentence with which the combination was refused."""
    random, folder = Random(f"{name}/{seed}"), Path(f"run-{name}-{seed}")
    fields, data, options = drawn(name, random)
    try:
        ganvas.train(
            MODELS[name](**fields),
            data,
            folder=folder,
            steps=2,
            checkpoint_every=2,
            device="cpu",
            quiet=True,
            **options,
        )
    except UserError as error:
        return f"refused after it had begun: {error}" if folder.exists() else str(error)
    except Exception as error:
        raise AssertionError(f"{seed}: {name} {fields} with {options}: {error!r}") from error
    line = read_log(folder)[-1]
    assert line["step"] == 2
    assert all(np.isfinite(value) for value in line.values() if isinstance(value, float))
    return "trained"


@pytest.mark.parametrize("name", NAMES)
def test_a_combination_trains_or_is_refused_in_a_sentence(name: str) -> None:
    for seed in range(EACH):
        said = outcome(name, seed)
        assert not said.startswith("refused after it had begun")
        assert "\n" not in said
        assert said == "trained" or 20 < len(said) < 300, said
