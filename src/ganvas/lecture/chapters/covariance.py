"""Chapter 3: N(mu, Sigma) as ellipses, with a diagonal and with a full covariance, and the true p(z|x) below them."""

from math import log
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ...data import Dataset
from ...distributions.posteriors import Family, FullGaussian, Posterior, normal_log_prob
from ...inference.trained import Trained
from ...model import Batch
from ...models import VAE
from ...objectives.reconstruction import gaussian_nll
from ..chapter import Chapter, Equation, Parameters, Question
from ..smileys import NETWORK, picture_colours, plane_of_codes, train_on_smileys

FAMILIES: tuple[Family, ...] = ("diagonal", "full")
REACH, SIDE, WINDOW, DRAWS = 5.0, 101, 31, 64
"""the plane of z and its places along an axis; those around a code that are kept; samples for the loss"""
STEP = 2 * REACH / (SIDE - 1)


class Families(Parameters):
    """Two VAEs that differ in the covariance of q(z|x) alone."""

    sigma: Annotated[float, Field(ge=0.2, le=2, title="σ of p(x|z)")] = 0.8
    seed: Annotated[int, Field(ge=0, le=9, title="seed")] = 0
    steps: Annotated[int, Field(ge=1, le=3000, title="steps")] = 700


def record(parameters: Families) -> dict[str, Any]:
    """For both families each example's q(z|x), the true p(z|x) around it, and the loss in its parts."""
    commands, described = list[str](), list[dict[str, Any]]()
    for family in FAMILIES:
        model = VAE(latent=2, posterior=family, sigma=parameters.sigma, **NETWORK)
        trained, data, command = train_on_smileys(model, parameters.steps, parameters.seed)
        commands.append(command)
        described.append({"family": family, **describe(trained, data)})
    return {
        "command": "\n".join(commands), "examples": data.x, "colours": picture_colours(data.x), "reach": REACH,
        "step": STEP, "models": described,
    }  # fmt: skip


@torch.no_grad()
def describe(trained: Trained, data: Dataset) -> dict[str, Any]:
    """q(z|x) and the true posterior of every example, its reconstruction, and the terms of the loss, in nats."""
    model, nets, x = trained.model, trained.nets, trained.domain_scaling()(data.x)
    assert isinstance(model, VAE)
    assert isinstance(model.sigma, float)
    q: Posterior = nets["encoder"](x)
    nll, _ = model.elbo_terms(Batch(x), DRAWS, **nets)
    log_p, log_evidence = true_posterior(trained, x, model.sigma)
    log_q = q.log_prob(plane_of_codes(REACH, SIDE)[:, None].expand(-1, len(x), -1)).T
    corner = ((q.mean * torch.tensor([1.0, -1.0]) + REACH) / STEP).round().int() - WINDOW // 2
    corner = corner.clamp(0, SIDE - WINDOW)
    return {
        "mean": q.mean, "covariance": covariance(q), "kl": q.kl(q.sample()), "nll": nll.float(),
        "gap": (log_q.exp() * (log_q - log_p) * STEP**2).sum(1), "log_evidence": log_evidence,
        "correlation": correlation(log_p), "rebuilt": trained.decode(q.mean).x,
        "corner": corner.float(), "posterior": windows(log_p, corner),
    }  # fmt: skip


def covariance(q: Posterior) -> Float[Tensor, "b 3"]:
    """Var z_1, Cov(z_1, z_2) and Var z_2 of a diagonal or full Gaussian in the plane."""
    factor = q.scale_tril if isinstance(q, FullGaussian) else q.scale.diag_embed()  # type: ignore[attr-defined]
    return (factor @ factor.mT).flatten(1)[:, [0, 1, 3]]


def true_posterior(trained: Trained, x: Tensor, sigma: float) -> tuple[Float[Tensor, "b n"], Float[Tensor, " b"]]:
    """log p(z|x) at the n places of the plane, and log p(x), by Bayes' rule and a sum over these places."""
    z, flat = plane_of_codes(REACH, SIDE), x.flatten(1)
    decoded = torch.cat([trained.nets["decoder"](codes).mean.flatten(1) for codes in z.split(512)])
    least = gaussian_nll(flat, flat, sigma)  # that of a perfect reconstruction; then all pairs, by one matrix product
    nll = least[:, None] + torch.cdist(flat, decoded).square() / (2 * sigma**2)
    log_joint = normal_log_prob(z).sum(1) - nll
    log_evidence = log_joint.logsumexp(1) + 2 * log(STEP)
    return log_joint - log_evidence[:, None], log_evidence


def correlation(log_p: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """Of z_1 and z_2 under each density on the plane."""
    z, p = plane_of_codes(REACH, SIDE), log_p.softmax(1)
    offset = z - (p @ z)[:, None]
    xx, xy, yy = ((p * offset[:, :, i] * offset[:, :, j]).sum(1) for i, j in ((0, 0), (0, 1), (1, 1)))
    return xy / (xx * yy).sqrt()


def windows(log_p: Float[Tensor, "b n"], corner: Tensor) -> Tensor:
    """Of each density on the plane the part with this upper left corner (column, row), bytes, 255 at its mode."""
    places = corner.flip(1)[:, :, None] + torch.arange(WINDOW)  # b x (row, column) x WINDOW
    index = places[:, 0, :, None] * SIDE + places[:, 1, None, :]
    relative = (log_p - log_p.amax(1, keepdim=True)).exp() * 255
    return relative.gather(1, index.flatten(1).long()).round().byte().view(-1, WINDOW, WINDOW)


CHAPTER = Chapter(
    name="covariance",
    title="N(μ, Σ) as ellipses",
    summary="The encoder returns a mean and a covariance. Here each q(z|x) is an ellipse in the plane of codes, over "
    "the true p(z|x): one VAE has a diagonal covariance, the other a full one.",
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
    recordings={f"seed {seed}": Families(seed=seed) for seed in (0, 1)},
    record=record,
)
