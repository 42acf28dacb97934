"""Looking into the latent space: walks, one dimension at a time, a plane of it, directions that mean something."""

from .attributes import arithmetic, direction
from .codes import Usage, examples_of, usage
from .dimensions import codes, manifold, quantiles, traverse
from .walks import interpolate, lerp, slerp

__all__ = [
    "Usage", "arithmetic", "codes", "direction", "examples_of", "interpolate", "lerp", "manifold", "quantiles",
    "slerp", "traverse", "usage",
]  # fmt: skip
