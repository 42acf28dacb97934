"""Evaluation of generative models."""

from .distances import energy_distance, frechet_distance, kernel_distance, sliced_wasserstein
from .modes import ModeCoverage, mode_coverage
from .neighbours import precision_recall, two_sample_accuracy

__all__ = [
    "ModeCoverage",
    "energy_distance",
    "frechet_distance",
    "kernel_distance",
    "mode_coverage",
    "precision_recall",
    "sliced_wasserstein",
    "two_sample_accuracy",
]
