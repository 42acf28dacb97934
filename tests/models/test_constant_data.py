"""Examples that are all alike, columns that never change or hardly ever: nothing is divided by what is not there."""

from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.data import Dataset, Scaling, from_array
from ganvas.diagnostics import Diagnosis, examine
from ganvas.errors import UserError
from ganvas.inference.translation import translate_files
from ganvas.model import Model
from ganvas.training import monitor
from ganvas.training.run_records import read_log
from ganvas.viz.images import Examples
from tests.support.models import small

MODELS = [ganvas.VAE, ganvas.Autoencoder, ganvas.GAN, ganvas.R3GAN, ganvas.WGANGP, ganvas.LadderVAE]


def columns(kind: str) -> Dataset:
    """300 vectors of four numbers."""
    g = np.random.default_rng(0)
    x = g.normal(size=(300, 4)) * [1, 0.01, 1e5, 3] + [0, 5, -1e6, 0]
    if kind == "rare":
        x[:, 1] = 0
        x[7, 1] = 1.0
    if kind in ("constant", "two constant"):
        x[:, 0] = 7
    if kind == "two constant":
        x[:, 3] = 0
    if kind == "all constant":
        x[:] = x[0]
    return from_array(x.astype(np.float32), name=kind)


def log_of(model: Model, data: Any, **options: Any) -> list[dict[str, Any]]:
    ganvas.train(model, data, steps=4, batch_size=16, checkpoint_every=4, folder="run", quiet=True, **options)
    return [line | {"step": line["step"] * 100} for line in read_log(Path("run"))]  # so that it is late enough


def numbers(line: Any) -> list[float]:
    if isinstance(line, dict):
        return [n for value in line.values() for n in numbers(value)]
    return [float(line)] if isinstance(line, int | float) else []


@pytest.mark.parametrize("kind", ["rare", "constant", "two constant", "all constant"])
@pytest.mark.parametrize("cls", MODELS[:4], ids=lambda cls: cls.__name__)
def test_no_sample_is_outside_for_a_column_that_has_no_width(cls: type[Model], kind: str) -> None:
    data = columns(kind)
    lines = log_of(small(cls), data)
    found = lines[-1].get("adversarial") or lines[-1]["latent"]
    assert found.get("outside_fraction", 0.0) <= 0.05, found
    assert all(isfinite(n) and abs(n) < 1e6 for line in lines for n in numbers(line)), lines[-1]
    assert not [d for d in examine(small(cls), 400, lines) if d.name in ("leakage of range", "EMA too slow")]
    if kind == "all constant":
        assert "ema_lag" not in found
        assert "distance_to_data" not in found
        assert "diversity" not in found


def test_a_column_that_is_alike_in_the_few_examples_has_the_room_of_all() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    scaling = Scaling(mean=torch.zeros(2), std=torch.tensor([1.0, 0.02]))
    made = torch.tensor([[0.5, 0.9], [0.5, -0.9], [0.5, 1.1], [2.1, 0.0]])
    assert monitor.outside_share(made, x, scaling) == 0.5
    never = Scaling(mean=torch.zeros(2), std=torch.tensor([1.0, 0.0]))
    assert monitor.outside_share(made, x, never) == 0.25, "it comes out as it was"
    assert monitor.outside_share(made[:, 1:], x[:, 1:], Scaling()) == 0.25, "of numbers as they are: room of 1"


@pytest.mark.parametrize("cls", [ganvas.VAE, ganvas.DCGAN], ids=["VAE", "DCGAN"])
def test_images_that_are_all_alike_have_no_shares_of_their_differences(cls: type[Model]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 12, 12), np.uint8)
    lines = log_of(small(cls), image.repeat(70, 0))
    assert all(isfinite(n) and abs(n) < 1e6 for line in lines for n in numbers(line)), lines[-1]
    assert (
        not {"ema_lag", "distance_to_data", "diversity"} & (lines[-1].get("adversarial") or lines[-1]["latent"]).keys()
    )


def test_two_domains_that_are_one_example_have_no_shares_of_what_separates_them() -> None:
    one = np.full((60, 8, 8), 77, np.uint8)
    lines = log_of(small(ganvas.CycleGAN), (one, one))
    assert all(isfinite(n) and abs(n) < 1e6 for line in lines for n in numbers(line)), lines[-1]
    assert not {"input_change_A", "detail_A", "diversity_A"} & lines[-1]["adversarial"].keys()


def test_a_loss_that_never_fell_has_not_risen_by_a_share_of_that() -> None:
    def found(by: float) -> list[Diagnosis]:
        lines = [{"step": 50 * i, "loss": 1.0 + by * i, "latent": {"weight_scale": 1.0}} for i in range(20)]
        return examine(ganvas.Autoencoder(), 2000, lines)

    (diagnosis,) = found(0.1)
    assert "more than it had ever fallen" in diagnosis.evidence
    assert diagnosis.value <= 10
    assert found(0.0) == []


def test_images_for_a_translator_of_vectors_are_refused_in_a_sentence(tmp_path: Path, images: Dataset) -> None:
    vectors = columns("plain")
    run = ganvas.train(small(ganvas.CycleGAN, blocks=None), (vectors, vectors.x * 2), steps=1, batch_size=8, quiet=True)
    Examples(images.x[:2]).save(tmp_path / "images")
    with pytest.raises(
        UserError, match=r"this cyclegan translates vectors of 4 numbers, and .* holds no such: give vec"
    ):
        translate_files(run, tmp_path / "images", tmp_path / "out")
    assert not (tmp_path / "out").exists()
