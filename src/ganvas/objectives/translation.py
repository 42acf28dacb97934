"""What translators descend besides the game: errors of round trips, and contrasts between places of an image.

All are means over the batch and over an example's numbers or places, in float32 or wider, so that weights mean the same
for every size of image; both examples are of one shape.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from ..ranks import mean_over_ranks
from .precision import at_least_float32

Distance = Literal["mse", "cosine", "hinge"]
Examples = Float[Tensor, "b *shape"]
Scalar = Float[Tensor, ""]
MARGIN = 0.05
"""error that the hinge forgives: six of 255 grey levels of pixels in [-1, 1]"""


def absolute_error(x: Examples, reconstruction: Examples) -> Scalar:
    """E |x - x'|: cycle consistency with x' = F(G(x)), the identity loss with x' = F(x).

    Source: Zhu et al., arXiv:1703.10593, equation 2 and section 5.2.
    """
    return (at_least_float32(x) - at_least_float32(reconstruction)).abs().mean()


def reconstruction_distance(kind: Distance, x: Examples, reconstruction: Examples) -> Scalar:
    """The distance d between an example x and its reconstruction x', by name.

        mse      E (x - x')^2
        cosine   E 1 - cos(x, x'), of an example's numbers as one vector
        hinge    E max(0, |x - x'| - MARGIN)

    Source: Kim et al., arXiv:1703.05192, section 2.2, which names the three, without an equation for the hinge.
    """
    x, reconstruction = at_least_float32(x), at_least_float32(reconstruction)
    match kind:
        case "mse":
            return (x - reconstruction).square().mean()
        case "cosine":
            return (1 - cosine_similarity(x.flatten(1), reconstruction.flatten(1), dim=1)).mean()
        case "hinge":
            return ((x - reconstruction).abs() - MARGIN).relu().mean()


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Scalar:
    """sum_l mean( (E f_l(x) - E f_l(G(z)))^2 ) of a discriminator's layers f_l on real and on fake examples.

    Source: Salimans et al., arXiv:1606.03498, section 3.1; for several layers, as DiscoGAN's authors have it.
    """
    pairs = [[mean_over_ranks(at_least_float32(x).mean(0)) for x in pair] for pair in zip(real, fake, strict=True)]
    return torch.stack([(r - f).square().mean() for r, f in pairs]).sum()


def patch_nce(query: Float[Tensor, "b n d"], key: Float[Tensor, "b n d"], temperature: float) -> Scalar:
    """E -log( exp(cos(q_s, k_s) / t) / sum_r exp(cos(q_s, k_r) / t) ): contrasts among the n places of an image.

    A translation's features q_s are to tell those of their own place in the input, k_s, from those of every place r.
    Source: Park et al., arXiv:2007.15651, equations 3 and 4.
    """
    q, k = (normalize(at_least_float32(features), dim=-1) for features in (query, key))
    with torch.autocast(q.device.type, enabled=False):
        logits = q @ k.mT / temperature
    return (logits.logsumexp(-1) - logits.diagonal(dim1=-2, dim2=-1)).mean()
