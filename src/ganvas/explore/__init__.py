"""Looking into the latent space: walks, one dimension at a time, a plane of it, directions that mean something."""

from .dimensions import latent_scatter, manifold, measure_usage, normal_quantiles, traverse
from .walks import arithmetic, attribute_direction, interpolate, lerp, slerp

__all__ = [
    "arithmetic", "attribute_direction", "interpolate", "latent_scatter", "lerp", "manifold", "measure_usage",
    "normal_quantiles", "slerp", "traverse",
]  # fmt: skip
