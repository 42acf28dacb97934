"""Chapter 4: lambda, the weight of the KL: collapse at one end, holes at the other."""

from typing import Annotated, Any

import torch
from pydantic import Field

from ...data import Dataset
from ...distributions.posteriors import ACTIVE_THRESHOLD
from ...inference.trained import Trained
from ...metrics import sliced_wasserstein
from ...model import Batch
from ...models import VAE
from ..chapter import Chapter, Equation, Parameters, Question
from ..latent import NETWORK, picture_colours, rms_error, train_on_smileys

LATENT, SHOWN, DRAWS, CODES = 8, 12, 32, 4
"""latent dimensions; reconstructions shown; draws from N(0, I) shown; samples of q(z|x) an example in the plane"""
SEEDS = 10
"""sets of samples whose mean distance to the data is given"""


class Weight(Parameters):
    """A VAE with eight latent dimensions."""

    beta: Annotated[float, Field(ge=0, le=1000, title="λ")] = 1.0
    seed: Annotated[int, Field(ge=0, le=9, title="seed")] = 0
    steps: Annotated[int, Field(ge=1, le=3000, title="steps")] = 600


def record(parameters: Weight) -> dict[str, Any]:
    """Samples, reconstructions, the aggregate posterior in the plane of greatest KL, and the KL of each dimension."""
    model = VAE(latent=LATENT, beta=parameters.beta, **NETWORK)
    trained, data, command = train_on_smileys(model, parameters.steps, parameters.seed)
    return {"command": command, **describe(trained, data)}


@torch.no_grad()
def describe(trained: Trained, data: Dataset) -> dict[str, Any]:
    """What a trained VAE makes of its data and of noise; KL and reconstruction term are means, in nats."""
    model, nets, batch = trained.model, trained.nets, Batch(trained.domain_scaling()(data.x))
    assert isinstance(model, VAE)
    statistics = model.monitor(batch, **nets)
    kl = statistics["kl"]
    nll, _ = model.elbo_terms(batch, DRAWS, **nets)
    z = torch.stack([trained.sample_posterior(data, seed) for seed in range(CODES)])
    samples = [trained.sample(len(data), seed=seed, fitted_prior="standard").x for seed in range(SEEDS)]
    rebuilt, order = trained.reconstruct(data).x, kl.argsort(descending=True, stable=True)
    shown = slice(None, None, len(data) // SHOWN)
    return {
        "kl": kl, "order": order.tolist(), "active": int((statistics["mean_variance"] > ACTIVE_THRESHOLD).sum()),
        "nll": nll.mean().item(), "error": rms_error(rebuilt, data.x),
        "codes": z[:, :, order[:2]].flatten(0, 1), "colours": picture_colours(data.x).repeat(CODES, 1),
        "distance": sum(sliced_wasserstein(x / 255, data.x / 255) for x in samples) / SEEDS,
        "draws": samples[0][:DRAWS], "examples": data.x[shown][:SHOWN], "rebuilt": rebuilt[shown][:SHOWN],
    }  # fmt: skip


CHAPTER = Chapter(
    name="weight",
    title="λ: collapse at one end, holes at the other",
    summary="λ weighs the KL against the reconstruction. Move it, and see what the same VAE rebuilds, what N(0, I) "
    "decodes to, and where its codes lie.",
    question=Question(
        "λ grows from 0.01 to 100. Which VAE has the best reconstructions, and which has samples nearest to the data?",
        (
            "The smallest λ has both",
            "Small λ rebuild best; the best samples are in between",
            "Small λ rebuild best; the largest λ has the best samples",
        ),
        1,
        "A small λ leaves codes far apart, with holes between them that N(0, I) hits. A large one makes every q(z|x) "
        "equal to N(0, I): then z says nothing of x, and each decodes to the same mean picture: the codes collapsed.",
    ),
    equations={
        "loss": Equation(
            r"\sum_x\ \mathbb E_{z \sim \mathcal N(\mu, \Sigma)} L(x, g(z)) + "
            r"\lambda\, \mathrm{KL}\bigl(\mathcal N(\mu, \Sigma) \,\Vert\, \mathcal N(0, I)\bigr)",
            "models/vae.py",
            "return as_scalar(self.kl_weight * factor, kl) * free_bits_kl(kl, self.free_bits)",
            "λ is the option --beta.",
        ),
        "active": Equation(
            r"\mathrm{Var}_x\, \mu_j(x), \qquad \mathbb E_x \mathrm{KL}_j, \qquad "
            r"q(z) = \mathbb E_x\, q(z|x) \overset{?}{\approx} \mathcal N(0, I)",
            "models/_variational.py",
            'return {"kl": kl.mean(0), "mean_variance": mean.var(0), "aggregate_mean": z.mean(0),',
            "What a run's log keeps of each dimension. One is active where the variance of its mean is above 0.01.",
        ),
        "collapse": Equation(
            r"q(z|x) = \mathcal N(0, I)\ \text{for every } x \iff \mathrm{KL}_j = 0",
            "models/_latent_diagnosis.py",
            '"posterior collapse", "active_units", lambda figures: figures["dimensions"] // 20,',
            "What ganvas doctor looks for.",
        ),
    },
    recordings={f"λ = {beta}": Weight(beta=beta) for beta in (1.0, 0.01, 0.1, 0.3, 3.0, 10.0, 20.0, 40.0, 100.0)},
    record=record,
)
