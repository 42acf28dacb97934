"""A training state."""

import torch

from ganvas.config import TrainConfig  # fmt: skip
from ganvas.data import Dataset
from ganvas.model import Model
from ganvas.training.loop import TrainState, initialize_state, train
from tests.support.data import learnt_by

CPU = torch.device("cpu")


def trained_state(model: Model, collection: Dataset, steps: int, seed: int = 0) -> TrainState:
    data = learnt_by(type(model), collection)
    state = initialize_state(model, data.shape, seed, CPU, len(data.classes))
    for _ in train(model, data, TrainConfig(steps=steps, batch_size=8, seed=seed), state):
        pass
    return state
