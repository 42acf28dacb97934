"""Averages of the weights: how old they are, and what is written of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import ganvas
from ganvas.config import TrainConfig
from ganvas.data import Dataset
from ganvas.errors import TrainingStopped
from ganvas.models import MODELS
from ganvas.training import checkpoint
from ganvas.training.ema import current_ema, is_ema_due, update_ema
from ganvas.training.loop import TrainState, initialize_state
from tests.support.data import interrupted
from tests.support.models import small
from tests.support.training_state import trained_state

CPU = torch.device("cpu")


def test_the_average_follows_the_weights_as_numpy_says() -> None:
    weights = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    average, net = nn.Linear(4, 1, bias=False), nn.Linear(4, 1, bias=False)
    expected = average.weight.detach().numpy().copy()
    for w in weights:
        net.weight.data = torch.tensor(w[None])
        update_ema([(average.weight.data, net.weight)], 10_000, 0.9)
        expected = 0.9 * expected + 0.1 * w
    np.testing.assert_allclose(average.weight.detach().numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("ema", "steps", "tolerance"),
    [
        (0.9999, 15_007, 0.05), (0.9999, 5_003, 0.05), (0.999, 6_010, 0.05), (0.999, 11_003, 0.05), (0.99, 777, 0.05),
        (0.9, 100, 1e-9), (0.0, 20, 0.0),
    ],
)  # fmt: skip
def test_the_average_is_as_old_as_one_taken_after_every_step(ema: float, steps: int, tolerance: float) -> None:
    """Where the weights are the number of the step, the average says how old the weights are that it is made of."""
    state = TrainState(
        nn.ModuleDict({"w": nn.Linear(1, 1, bias=False)}), nn.ModuleDict({"w": nn.Linear(1, 1, bias=False)})
    )
    w, average = (nets["w"].double().requires_grad_(False).weight.zero_() for nets in (state.nets, state.ema_nets))
    exact = 0.0
    for step in range(steps):
        w.fill_(step + 1)
        update_ema([(average, w)], step, ema)
        exact = exact + (step + 1 - exact) * max(1 - ema, 9 / (10 + step))
    state.step = steps
    age = steps - current_ema(state, ema)["w"].weight.item()
    assert age == pytest.approx(steps - exact, rel=tolerance, abs=1e-9)


def test_what_a_run_writes_is_its_average_up_to_its_last_step(vectors: Dataset) -> None:
    """Neither the raw weights, nor the average of some steps ago that the checkpoint goes on from."""
    model = small(MODELS["vae"])
    trained = ganvas.train(model, vectors, steps=200, batch_size=8, folder="run", quiet=True)
    state = initialize_state(model, vectors.shape, 0, CPU)
    checkpoint.restore(state, Path("run", "state.ckpt"), model)
    assert not is_ema_due(state.step - 1, TrainConfig.ema_decay)
    now = current_ema(state, TrainConfig.ema_decay)
    for kept in (trained.nets, ganvas.load("run").nets):
        weight = kept["encoder"][1].weight
        assert torch.equal(weight, now["encoder"][1].weight)
        assert not torch.equal(weight, state.ema_nets["encoder"][1].weight)
        assert (weight - state.nets["encoder"][1].weight).norm() > 1e-3


def test_a_run_stopped_between_two_updates_of_its_average_ends_as_one_that_was_not(vectors: Dataset) -> None:
    options = {"steps": 200, "batch_size": 8, "checkpoint_every": 90, "quiet": True}
    ganvas.train(small(MODELS["vae"]), vectors, folder="straight", **options)
    with interrupted(184), pytest.raises(TrainingStopped):
        ganvas.train(small(MODELS["vae"]), vectors, folder="stopped", **options)
    assert not is_ema_due(183, TrainConfig.ema_decay)
    ganvas.resume("stopped", data=vectors, quiet=True)
    for name in ("weights.safetensors", "state.ckpt"):
        assert Path("straight", name).read_bytes() == Path("stopped", name).read_bytes()


def test_the_average_of_a_short_run_does_not_keep_the_random_beginning(images: Dataset) -> None:
    """With a constant decay of 0.999 it would be 99% of the first weights after ten steps."""
    model = small(MODELS["autoencoder"])
    start = initialize_state(model, images.shape, 0, CPU)
    state = trained_state(model, images, 30)
    first, last, average = (s["encoder"][0].weight for s in (start.nets, state.nets, state.ema_nets))
    assert (average - last).norm() < 0.6 * (first - last).norm()
