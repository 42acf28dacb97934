"""Evaluation of generative models."""

from .distances import frechet_distance, sliced_wasserstein
from .modes import Modes, modes

__all__ = ["Modes", "frechet_distance", "modes", "sliced_wasserstein"]
