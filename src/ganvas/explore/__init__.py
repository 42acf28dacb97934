"""Looking into the latent space: walks, one dimension at a time, a plane of it, directions that mean something."""

from .dimensions import (
    LatentUsage,
    latent_scatter,
    load_examples,
    manifold,
    measure_usage,
    normal_quantiles,
    traverse,
)  # fmt: skip
from .walks import arithmetic, attribute_direction, interpolate, lerp, slerp

__all__ = [
    "LatentUsage", "arithmetic", "attribute_direction", "interpolate", "latent_scatter", "lerp", "load_examples",
    "manifold", "measure_usage", "normal_quantiles", "slerp", "traverse",
]  # fmt: skip
