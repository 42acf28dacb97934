"""Games between a generator G and a discriminator (or critic) D: what each of the two descends.

    minimax          D  -E log s(D(x)) - E log(1 - s(D(G(z))))      G  E log(1 - s(D(G(z))))
    non-saturating   D  the same                                    G  -E log s(D(G(z)))
    least-squares    D  E (D(x) - 1)^2 / 2 + E D(G(z))^2 / 2        G  E (D(G(z)) - 1)^2 / 2
    hinge            D  E max(0, 1 - D(x)) + E max(0, 1 + D(G(z)))  G  -E D(G(z))
    wasserstein      D  E D(G(z)) - E D(x)                          G  -E D(G(z))
    relativistic     D  -E log s(D(x) - D(G(z)))                    G  -E log s(D(G(z)) - D(x))

Goodfellow et al., arXiv:1406.2661 (minimax: equation 1 and algorithm 1; non-saturating: section 3); Mao et al.,
arXiv:1611.04076, equation 9; Lim & Ye, arXiv:1705.02894; Arjovsky et al., arXiv:1701.07875; Huang et al.,
arXiv:2501.05441, equation 2, after Jolicoeur-Martineau, arXiv:1807.00734 (each real example is paired with a fake).

D returns a logit d, and s(d) = 1 / (1 + e^-d).  -log s(d) = softplus(-d) and -log(1 - s(d)) = softplus(d): nothing here
takes the logarithm of a sigmoid, so no logit, however large, gives an infinity.  `real` = D(x) and `fake` = D(G(z)) are
a batch of logits of any shape; every loss is a mean over them, in float32 or wider whatever the logits' own precision.
"""

from math import log
from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import relu, softplus

from .precision import at_least_float32

Loss = Literal["minimax", "non-saturating", "least-squares", "hinge", "wasserstein", "relativistic"]
Logits = Float[Tensor, "*b"]
Scalar = Float[Tensor, ""]
JENSEN_SHANNON_LOSSES: tuple[Loss, ...] = ("minimax", "non-saturating")
"""the losses under which D's own loss estimates a Jensen-Shannon divergence"""
BORDERS: dict[Loss, float | None] = {
    "minimax": 0.0, "non-saturating": 0.0, "least-squares": 0.5, "hinge": 0.0, "wasserstein": None, "relativistic": None
}  # fmt: skip
"""the logit between real and fake; None where logits have no zero of their own"""
WON_LOGIT_GAP: dict[Loss, float | None] = {
    "minimax": 6.0, "non-saturating": 6.0, "least-squares": 0.9, "hinge": 3.0, "wasserstein": None, "relativistic": 4.0
}  # fmt: skip
"""the gap of D's logits from which it may have won; None where D is meant to be as good as it can be.  Squares have
goals 0 and 1, and no hinge gains from a gap above 2"""


def discriminator_terms(loss: Loss, real: Logits, fake: Logits) -> dict[str, Scalar]:
    """What D descends: the sum of its terms on real and on fake examples, or of one on pairs of them."""
    real, fake = at_least_float32(real), at_least_float32(fake)
    match loss:
        case "minimax" | "non-saturating":
            return {"real": softplus(-real).mean(), "fake": softplus(fake).mean()}
        case "least-squares":
            return {"real": (real - 1).square().mean() / 2, "fake": fake.square().mean() / 2}
        case "hinge":
            return {"real": relu(1 - real).mean(), "fake": relu(1 + fake).mean()}
        case "wasserstein":
            return {"real": -real.mean(), "fake": fake.mean()}
        case "relativistic":
            return {"pairs": softplus(fake - real).mean()}


def generator_loss(loss: Loss, fake: Logits, real: Logits | None = None) -> Scalar:
    """What G descends.  Only the relativistic loss looks at `real`, and needs it."""
    fake = at_least_float32(fake)
    match loss:
        case "minimax":
            return -softplus(fake).mean()
        case "non-saturating":
            return softplus(-fake).mean()
        case "least-squares":
            return (fake - 1).square().mean() / 2
        case "hinge" | "wasserstein":
            return -fake.mean()
        case "relativistic":
            assert real is not None
            return softplus(at_least_float32(real) - fake).mean()


def divergence_estimates(loss: Loss, terms: dict[str, float]) -> dict[str, float]:
    """The distance between the real and the generated distribution that D's loss estimates, by name, if it does.

    The Wasserstein distance, in units of D's Lipschitz constant, is E D(x) - E D(G(z)) (arXiv:1701.07875, equation 3).
    The Jensen-Shannon divergence is (V + log 4) / 2 at the best D, in nats, and less elsewhere: at most log 2.
    """
    if not {"real", "fake"} <= terms.keys():
        return {}
    value = -(terms["real"] + terms["fake"])
    if loss == "wasserstein":
        return {"wasserstein": value}
    return {"jensen_shannon": (value + log(4)) / 2} if loss in JENSEN_SHANNON_LOSSES else {}


def confidence(real: Tensor, fake: Tensor, loss: Loss) -> dict[str, Tensor]:
    """How sure D is: the share of real and of fake examples that it takes for what they are, and the logits' gap.

    The border is where the loss has it; half-way between the two means where logits have no zero of their own.
    """
    real, fake = at_least_float32(real), at_least_float32(fake)
    gap, zero = real.mean() - fake.mean(), BORDERS[loss]
    border = fake.mean() + gap / 2 if zero is None else zero
    accuracies = {"accuracy_real": (real > border).float().mean(), "accuracy_fake": (fake < border).float().mean()}
    return accuracies | {"logit_gap": gap}
