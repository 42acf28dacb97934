"""Chapter 3: N(mu, Sigma) as ellipses, with a diagonal and with a full covariance, and the true p(z|x) below them."""

from math import log
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ...distributions.posteriors import Family, FullGaussian, Posterior, normal_log_prob
from ...model import Batch
from ...models import VAE
from ...objectives.reconstruction import gaussian_nll
from ..chapter import Chapter, Equation, Parameters, Question
from ..latent import plane_of_codes
from ..runs import LectureRun, open_run

FAMILIES: tuple[Family, ...] = ("diagonal", "full")
REACH, SIDE, EXAMPLES, DRAWS = 4.0, 121, 512, 64
"""the plane of z and its places along an axis; examples, and samples of each one's q(z|x), for the loss"""
STEP = 2 * REACH / (SIDE - 1)
OPTIONS: dict[str, Any] = {"batch_size": 128, "ema_decay": 0.99, "lr_decay": 0.5}


class Families(Parameters):
    """Two VAEs that differ in the covariance of q(z|x) alone, of eight clusters on a circle."""

    sigma: Annotated[float, Field(ge=0.1, le=1, title="s, the deviation of p(x|z)")] = 0.25
    seed: Annotated[int, Field(ge=0, le=9, title="seed")] = 0
    steps: Annotated[int, Field(ge=1, le=5000, title="steps")] = 1500


def record(parameters: Families) -> dict[str, Any]:
    """For both families each example's q(z|x), the true p(z|x), and the loss in its parts."""
    runs = list[LectureRun]()
    for family in FAMILIES:
        model = VAE(
            latent=2, width=64, depth=2, activation="tanh", sigma=parameters.sigma, posterior=family, lr=3e-3
        )  # fmt: skip
        runs.append(open_run(model, "ring", **OPTIONS, steps=parameters.steps, seed=parameters.seed))
        for _ in runs[-1].steps():
            pass
    data = runs[0].data.in_memory
    first = [int((data.labels == label).nonzero()[0]) for label in range(len(data.classes))]
    return {
        "command": "\n".join(run.command for run in runs), "reach": REACH, "first": first,
        "examples": runs[0].scale(data.x[:EXAMPLES]), "models": [describe(run, first) for run in runs],
    }  # fmt: skip


@torch.no_grad()
def describe(run: LectureRun, first: list[int]) -> dict[str, Any]:
    """q(z|x) of every example and the terms of the loss, in nats; of the `first` of each cluster the true posterior."""
    nets, x = run.state.ema_nets, run.scale(run.data.in_memory.x[:EXAMPLES])
    q: Posterior = nets["encoder"](x)
    nll, _ = run.model.elbo_terms(Batch(x), DRAWS, **nets)
    log_p, log_evidence = true_posterior(nets["decoder"], x, run.model.sigma)
    log_q = q.log_prob(plane_of_codes(REACH, SIDE)[:, None].expand(-1, len(x), -1)).T
    relative = (log_p[first] - log_p[first].amax(1, keepdim=True)).exp()
    return {
        "mean": q.mean, "covariance": covariance(q), "kl": q.kl(q.sample()), "nll": nll.float(),
        "gap": (log_q.exp() * (log_q - log_p) * STEP**2).sum(1), "log_evidence": log_evidence,
        "correlation": correlation(log_p), "posterior": (255 * relative).round().byte().view(-1, SIDE, SIDE),
    }  # fmt: skip


def covariance(q: Posterior) -> Float[Tensor, "b 3"]:
    """Var z_1, Cov(z_1, z_2) and Var z_2 of a diagonal or full Gaussian in the plane."""
    factor = q.scale_tril if isinstance(q, FullGaussian) else q.scale.diag_embed()  # type: ignore[attr-defined]
    return (factor @ factor.mT).flatten(1)[:, [0, 1, 3]]


def true_posterior(
    decoder: nn.Module, x: Float[Tensor, "b D"], sigma: float
) -> tuple[Float[Tensor, "b n"], Float[Tensor, " b"]]:
    """log p(z|x) at the n places of the plane, and log p(x), by Bayes' rule and a sum over these places."""
    z = plane_of_codes(REACH, SIDE)
    log_joint = normal_log_prob(z).sum(1) - gaussian_nll(x[:, None], decoder(z).mean, sigma)
    log_evidence = log_joint.logsumexp(1) + 2 * log(STEP)
    return log_joint - log_evidence[:, None], log_evidence


def correlation(log_p: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """Of z_1 and z_2 under each density on the plane."""
    z, p = plane_of_codes(REACH, SIDE), log_p.softmax(1)
    mean, (xx, xy, yy) = p @ z, (p @ (z[:, i] * z[:, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
    variances = (xx - mean[:, 0].square()) * (yy - mean[:, 1].square())
    return (xy - mean.prod(1)) / variances.sqrt()


CHAPTER = Chapter(
    name="covariance",
    title="N(μ, Σ) as ellipses",
    summary="The encoder returns a mean and a covariance. Here each q(z|x) is an ellipse in the plane of codes, over "
    "the true p(z|x): one VAE has a diagonal covariance, and cannot tilt it; the other has a full one.",
    question=Question(
        "The true p(z|x) is a tilted ellipse with correlation ρ. Which axis-parallel Gaussian q minimises "
        "KL(q ‖ p(z|x))?",
        (
            "One that covers it: with the variances that it has along the axes",
            "One inside it: with variances smaller by the factor 1 − ρ²",
            "One of the same area",
        ),
        1,
        "KL(q ‖ p) punishes q for being where p is small. The best diagonal q has the variances 1/(Σ⁻¹)ⱼⱼ, those of "
        "one coordinate when the other is known; what is lost is −½ log(1 − ρ²) nats.",
    ),
    equations={
        "sample": Equation(
            r"z = \mu + L \varepsilon, \qquad \Sigma = L L^\top, \qquad \varepsilon \sim \mathcal N(0, I)",
            "distributions/posteriors.py",
            'z = self.mean + torch.einsum("bij,kbj->kbi", self.scale_tril, epsilon)',
            "The encoder returns μ and the lower triangle L; with a diagonal covariance L is diagonal.",
        ),
        "full": Equation(
            r"\mathrm{KL}\bigl(\mathcal N(\mu, L L^\top) \Vert \mathcal N(0, I)\bigr) = "
            r"\sum_j \tfrac12 \Bigl(\mu_j^2 + \sum_k L_{jk}^2 - 1\Bigr) - \log L_{jj}",
            "objectives/kl.py",
            "return 0.5 * (mean.square() + variance - 1) - scale_tril.diagonal(dim1=1, dim2=2).log()",
            "Term j is that of z_j, given those before it.",
        ),
        "diagonal": Equation(
            r"\mathrm{KL}\bigl(\mathcal N(\mu, \operatorname{diag} \sigma^2) \Vert \mathcal N(0, I)\bigr) = "
            r"\sum_j \tfrac12 (\mu_j^2 + \sigma_j^2 - 1) - \log \sigma_j",
            "objectives/kl.py",
            "return 0.5 * (mean.square() + scale.square() - 1) - scale.log()",
            "The same where L is diagonal.",
        ),
    },
    recordings={f"s = {sigma}": Families(sigma=sigma) for sigma in (0.25, 0.4, 0.7)},
    record=record,
)
