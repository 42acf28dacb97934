"""Chapter 2: from KL(q || p(z|x)) to the loss, line by line, where p(z|x) can be computed."""

from itertools import islice
from math import sqrt
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from ...model import Batch
from ...models import VAE
from ..chapter import Chapter, Equation, Parameters, Question
from ..runs import open_run

REACH, PLACES = 9.0, 1801
"""the axis of z: as far as any q of the page has weight, in steps of 0.01"""
PLANE, SIDE = 2.4, 33
"""the plane of x, in deviations of the data, and places along each of its axes"""
DRAWS, SHOWN = 256, 300
"""samples of z for Ganvas's own value of the loss; examples on the page"""


class Ring(Parameters):
    """A VAE with one latent dimension, of eight clusters on a circle."""

    sigma: Annotated[float, Field(ge=0.1, le=1, title="s, the deviation of p(x|z)")] = 0.4
    seed: Annotated[int, Field(ge=0, le=9, title="seed")] = 0
    steps: Annotated[int, Field(ge=1, le=5000, title="steps")] = 1500


@torch.no_grad()
def record(parameters: Ring) -> dict[str, Any]:
    """The decoder's curve g(z); at places x of the plane the encoder's q(z|x), and Ganvas's own value of the loss."""
    model = VAE(latent=1, width=64, depth=2, activation="tanh", sigma=parameters.sigma, lr=3e-3)
    options: dict[str, Any] = {"ema_decay": 0.99, "lr_decay": 0.5, "steps": parameters.steps, "seed": parameters.seed}
    run = open_run(model, "ring", **options)
    with torch.enable_grad():
        for _ in run.steps():
            pass
    nets = run.state.ema_nets
    axis = torch.linspace(-PLANE, PLANE, SIDE)
    x = torch.cartesian_prod(axis, axis)
    q = nets["encoder"](x)
    nll, kl = loss_terms(model, x, nets)
    return {
        "command": run.command, "reach": REACH, "plane": PLANE, "side": SIDE, "draws": DRAWS,
        "curve": nets["decoder"](torch.linspace(-REACH, REACH, PLACES)[:, None]).mean,
        "mean": q.mean[:, 0], "scale": q.scale[:, 0],
        "nll": nll.mean(0), "nll_error": nll.std(0) / sqrt(DRAWS), "kl": kl,
        "examples": run.scale(run.data.in_memory.x[:SHOWN]),
    }  # fmt: skip


def loss_terms(model: VAE, x: Tensor, nets: Any) -> tuple[Tensor, Tensor]:
    """-log p(x|z) of DRAWS samples z ~ q(z|x), DRAWS x n, and KL(q(z|x) || N(0, 1)), n numbers, in nats."""
    draws = list(islice(model.elbo_draws(Batch(x), **nets), DRAWS))
    return torch.stack([nll for nll, _ in draws]), draws[0][1].sum(1)


CHAPTER = Chapter(
    name="bound",
    title="From KL(q ‖ p(z|x)) to the loss",
    summary="The loss of a VAE, derived line by line. Each line is a number, which this page computes in two ways for "
    "the q and the x that you choose.",
    question=Question(
        "q is to be near p(z|x), which nobody can compute for a large network. By how much does the loss "
        "E_q[−log p(x|z)] + KL(q ‖ p(z)) differ from KL(q ‖ p(z|x))?",
        (
            "By nothing: they are equal",
            "By a number that depends on x, but not on q",
            "By a number that depends on q, so that only both together have a minimum",
        ),
        1,
        "They differ by log p(x). The best q for one is the best q for the other, and the loss never falls below "
        "−log p(x): minus the loss is a lower bound on log p(x), the ELBO.",
    ),
    equations={
        "bayes": Equation(
            r"\log p(x|z) + \log p(z) - \log q(z), \qquad z \sim q",
            "models/_variational.py",
            "return self.log_prior(**nets)(z) - p.nll(x) - log_q.sum(2)",
            "Lines 2 and 3. By Bayes' rule this is log p(z|x) − log q(z) + log p(x): its mean over q is the ELBO.",
        ),
        "kl": Equation(
            r"\mathrm{KL}\bigl(\mathcal N(\mu, \sigma^2) \,\Vert\, \mathcal N(0, 1)\bigr) = "
            r"\tfrac12 (\mu^2 + \sigma^2 - 1) - \log \sigma",
            "objectives/kl.py",
            "return 0.5 * (mean.square() + scale.square() - 1) - scale.log()",
            "Line 4: for a Gaussian q and p(z) = N(0, 1) the integral has a closed form.",
        ),
        "gaussian": Equation(
            r"-\log p(x|z) = \frac{\lVert x - g(z) \rVert^2}{2 s^2} + D \log s + \tfrac D2 \log 2\pi",
            "objectives/reconstruction.py",
            "return squared_error(x, mean) / (2 * sigma**2) + x.shape[-1] * (log_sigma + 0.5 * log(2 * pi))",
            "Line 5: with p(x|z) = N(g(z), s² I) it is the squared error. Times 2 s² the loss is that of the lecture, "
            "L(x, g(z)) + λ KL, with λ = 2 s².",
        ),
        "sample": Equation(
            r"z = \mu + \sigma \varepsilon, \qquad \varepsilon \sim \mathcal N(0, 1), \qquad "
            r"\log q(z) = \log \mathcal N(\varepsilon; 0, 1) - \log \sigma",
            "distributions/posteriors.py",
            "return PosteriorSamples(z, normal_log_prob(epsilon) - self.scale.log())",
            "How training estimates the mean over q: by a sample through which μ and σ get their gradients.",
        ),
    },
    recordings={f"s = {sigma}": Ring(sigma=sigma) for sigma in (0.4, 0.2, 0.8)},
    record=record,
)
