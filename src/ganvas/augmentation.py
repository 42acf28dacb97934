"""Changes of images that D sees, made at random, one of its own for each image, and differentiable.

Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, arXiv:2006.10738, section 3.2: the same kinds
of change T for real and for fake images, D(T(x)) and D(T(G(z))), so that what D learns is not passed on to G.

    color        brightness, saturation and contrast
    translation  by up to an eighth of height and width, black beyond the border
    cutout       a square of half the height and width becomes black
"""

from collections.abc import Callable
from typing import Literal

from jaxtyping import Float
from torch import Tensor

Kind = Literal["color", "translation", "cutout"]


def augmented(x: Float[Tensor, "b *shape"], kinds: tuple[Kind, ...]) -> Float[Tensor, "b *shape"]:
    """The images, b x c x h x w in [-1, 1], changed; black is -1."""
    for kind in kinds:
        x = CHANGES[kind](x)
    return x


CHANGES: dict[Kind, Callable[[Tensor], Tensor]] = {}
