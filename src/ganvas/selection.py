"""Which weights of a run are kept: those of a GAN are at their best long before its end, or never settle.

StudioGAN's own logs show DCGAN on CIFAR-10 best after a fifth of its steps, its FID then three times as large.
"""

import torch

from .artifact import Trained
from .data import Collection
from .metrics import sliced_wasserstein
from .randomness import generator

EXAMPLES, DIRECTIONS = 1000, 500
"""real and generated examples that are compared, and random projections of them"""
MARGIN = 1.05
"""weights are still among the best if their distance is at most so many times the lowest: its noise"""


def distance(trained: Trained, data: Collection, seed: int = 0) -> float:
    """Sliced Wasserstein distance between the data and as many samples, 1,000 at most, always the same.

    Pixels count from 0 to 1, vectors in their own units.  Samples of a conditional model have the examples' labels.
    """
    some = data.some(EXAMPLES, seed, "compared")
    made = trained.decode(trained.noise(len(some), generator(torch.device("cpu"), seed, "compared")), some.labels).x
    return sliced_wasserstein(some.x.float() / data.unit, made.float() / data.unit, directions=DIRECTIONS, seed=seed)


def is_best(value: float, lowest: float | None) -> bool:
    """Whether weights of this distance replace those kept so far, whose lowest was `lowest`: later ones win ties."""
    return lowest is None or value <= lowest * MARGIN
