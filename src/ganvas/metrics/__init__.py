"""Evaluation of generative models."""

from .distances import frechet_distance, sliced_wasserstein

__all__ = ["frechet_distance", "sliced_wasserstein"]
