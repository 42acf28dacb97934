"""Looking into the latent space: walks, one dimension at a time, a plane of it, directions that mean something."""

from .codes import LatentUsage, load_examples, measure_usage
from .dimensions import latent_scatter, manifold, normal_quantiles, traverse
from .walks import arithmetic, attribute_direction, interpolate, lerp, slerp

__all__ = [
    "LatentUsage", "arithmetic", "attribute_direction", "interpolate", "latent_scatter", "lerp", "load_examples",
    "manifold", "measure_usage", "normal_quantiles", "slerp", "traverse",
]  # fmt: skip
