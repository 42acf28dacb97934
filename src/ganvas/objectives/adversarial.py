"""The two-player game of Goodfellow et al., Generative Adversarial Nets, arXiv:1406.2661, on logits.

    min_G max_D  V(D, G)  =  E_x log s(D(x))  +  E_z log(1 - s(D(G(z)))),      s(d) = 1 / (1 + e^-d)

D returns a logit d.  -log s(d) = softplus(-d) and -log(1 - s(d)) = softplus(d): nothing here takes the
logarithm of a sigmoid, so no logit, however large, gives an infinity.  Every function takes the logits of
a batch, of any shape, and returns its mean in nats.
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus


def value(real: Float[Tensor, "*b"], fake: Float[Tensor, "*b"]) -> Float[Tensor, ""]:
    """V(D, G), equation 1.  `real` = D(x), `fake` = D(G(z)).  At the best D it is 2 JSD - log 4 (theorem 1)."""
    return -(softplus(-real).mean() + softplus(fake).mean())


def discriminator_loss(
    real: Float[Tensor, "*b"], fake: Float[Tensor, "*b"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """-V(D, G) in its two terms, -E log s(D(x)) and -E log(1 - s(D(G(z)))): what D descends (algorithm 1)."""
    return softplus(-real).mean(), softplus(fake).mean()


def minimax_loss(fake: Float[Tensor, "*b"]) -> Float[Tensor, ""]:
    """E log(1 - s(D(G(z)))): what G descends in the minimax game (algorithm 1).

    Its gradient vanishes where D is sure that the samples are fake.
    """
    return -softplus(fake).mean()


def nonsaturating_loss(fake: Float[Tensor, "*b"]) -> Float[Tensor, ""]:
    """-E log s(D(G(z))): the same fixed point with a strong gradient early on (section 3)."""
    return softplus(-fake).mean()
