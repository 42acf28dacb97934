"""Evaluation of generative models."""

from .distances import sliced_wasserstein

__all__ = ["sliced_wasserstein"]
