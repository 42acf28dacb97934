"""Evaluation of generative models."""

from .distances import energy_distance, frechet_distance, kernel_distance, sliced_wasserstein
from .modes import Modes, modes
from .neighbours import precision_recall, two_sample_accuracy

__all__ = [
    "Modes",
    "energy_distance",
    "frechet_distance",
    "kernel_distance",
    "modes",
    "precision_recall",
    "sliced_wasserstein",
    "two_sample_accuracy",
]
