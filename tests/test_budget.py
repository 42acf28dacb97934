"""How much a run is measured follows from counts of operations alone."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

import ganvas
from ganvas.config import TrainConfig
from ganvas.data import Dataset
from ganvas.inference.trained import Trained
from ganvas.metrics.features import make_feature_space
from ganvas.models._gan import n_critic_steps
from ganvas.training.loop import initialize_state
from ganvas.training.schedule import (
    LATE_STEP,
    MAX_OPERATIONS_SHARE,
    OPERATIONS_PER_CALL,
    SAMPLE_COUNTS,
    Schedule,
    count_operations,
    make_schedule,
    training_step_operations,
)
from ganvas.training.validation import evaluation_cost

STEP, EVERY = 10**9, 500
ROOM = MAX_OPERATIONS_SHARE * STEP * EVERY
"""operations that may go into measurements between two checkpoints"""


def chosen(each: float, once: float = 0.0, most: int = 60000) -> Schedule:
    """The schedule where a sample costs `each` operations, and a measurement `once`."""
    return make_schedule(STEP, lambda n: each * n + once, EVERY, most)


def test_as_many_samples_as_the_budget_allows() -> None:
    assert chosen(1.0) == (500, 2000)
    assert chosen(ROOM / 1020) == (500, 1000)
    assert chosen(ROOM / 250) == (500, 250)
    assert chosen(ROOM / 249) == (1000, 450), "every second checkpoint, rather than on fewer"
    assert chosen(ROOM / 50) == (4000, 400)
    assert chosen(1.0, once=ROOM * 3) == (2000, 2000)


def test_dearer_is_never_more() -> None:
    found = [chosen(ROOM / 3000 * 1.1**i) for i in range(100)]
    assert all(a.n_samples / a.interval >= b.n_samples / b.interval for a, b in pairwise(found))
    assert all(SAMPLE_COUNTS[0] <= s.n_samples <= SAMPLE_COUNTS[-1] and s.n_samples * ROOM / 3000 * 1.1**i <= ROOM *
    s.interval / EVERY
               for i, s in enumerate(found))  # fmt: skip


def test_there_are_no_more_samples_than_examples() -> None:
    assert chosen(1.0, most=1358).n_samples == 1350
    assert chosen(1.0, most=40).n_samples == 40


def test_a_measurement_that_never_fits_is_for_the_end_of_a_run() -> None:
    assert chosen(ROOM * 1e9).interval > 1e8


def test_operations_of_layers_are_counted() -> None:
    linear, x = nn.Linear(3, 5), torch.ones(7, 3)
    with torch.no_grad():
        assert count_operations(linear, x) == 2 * 7 * 3 * 5
        assert count_operations(conv2d, torch.ones(2, 3, 8, 8), torch.ones(4, 3, 3, 3)) == 2 * 2 * 4 * 36 * 27
        up = nn.ConvTranspose2d(6, 4, 2, 2)
        assert count_operations(up, torch.ones(2, 6, 5, 5)) == 2 * 2 * 6 * 25 * 4 * 4
    assert count_operations(linear, x) == 3 * 2 * 7 * 3 * 5, "with the backward pass to come"


def test_a_step_of_a_vae_of_layers(vectors: Dataset) -> None:
    model = ganvas.VAE(net="mlp", width=8, latent=2)
    state = initialize_state(model, (3,), 0, torch.device("cpu"))
    layers = [p.numel() for p in state.nets.parameters() if p.ndim == 2]
    before = [p.clone() for p in state.nets.parameters()]
    assert training_step_operations(model, vectors, TrainConfig(batch_size=16), state) == 6 * 16 * sum(
        layers
    ) + 3 * OPERATIONS_PER_CALL * len(layers)
    assert all(torch.equal(a, b) for a, b in zip(before, state.nets.parameters(), strict=True))
    assert all(p.grad is None for p in state.nets.parameters())


@pytest.mark.parametrize("model", [ganvas.WGAN(width=4, net="mlp"), ganvas.GAN(width=4, r1=1, penalty_interval=4)])
def test_a_step_is_one_late_in_the_run(model: ganvas.models._gan.Adversarial, images: Dataset) -> None:
    """Without what is due at intervals only, and the same wherever the run goes on."""
    assert n_critic_steps(5, 100, LATE_STEP) == 5
    assert LATE_STEP % 4
    state = initialize_state(model, images.shape, 0, torch.device("cpu"))
    first = training_step_operations(model, images, TrainConfig(batch_size=8), state)
    state.step = 300
    assert training_step_operations(model, images, TrainConfig(batch_size=8), state) == first > 0


def test_what_a_measurement_costs_grows_with_samples_and_features(images: Dataset, vectors: Dataset) -> None:
    model = ganvas.GAN(width=4)
    found = {}
    for name, data in (("random-conv-v2", images), ("pixels", images), ("values", vectors)):
        trained = Trained(model, data.shape, initialize_state(model, data.shape, 0, torch.device("cpu")).ema_nets)
        of = evaluation_cost(trained, data, make_feature_space(name, data.shape))
        assert 0 < of(250) < of(500) < of(2000)
        found[name] = of(1000)
    assert found["random-conv-v2"] > found["pixels"]
