"""Chapter 1: an autoencoder, what N(0, I) decodes to, and a VAE beside it."""

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from ...data import Dataset
from ...distributions.priors import STANDARD
from ...inference.trained import Trained
from ...metrics import sliced_wasserstein
from ...models import VAE, Autoencoder
from ..chapter import Chapter, Equation, Parameters, Question
from ..latent import NETWORK, picture_colours, plane_of_codes, rms_error, train_on_smileys

SIDE, DRAWS, REACH, MARGIN = 24, 16, 3.0, 1.08
"""decoded places along each axis; draws from N(0, I) shown; deviations of N(0, I) on the map; its room around codes"""


class TwoModels(Parameters):
    """An autoencoder and a VAE of the same networks, with codes of two numbers."""

    beta: Annotated[float, Field(ge=0.1, le=20, title="λ of the VAE")] = 4.0
    seed: Annotated[int, Field(ge=0, le=9, title="seed")] = 0
    steps: Annotated[int, Field(ge=1, le=3000, title="steps")] = 700


def record(parameters: TwoModels) -> dict[str, Any]:
    """Both models: their maps of codes, and what the places of these decode to."""
    models = Autoencoder(latent=2, **NETWORK), VAE(latent=2, beta=parameters.beta, **NETWORK)
    trained, data, commands = zip(
        *(train_on_smileys(model, parameters.steps, parameters.seed) for model in models), strict=True
    )
    x = data[0].x
    return {
        "command": "\n".join(commands), "examples": x, "colours": picture_colours(x),
        "models": [describe(one, data[0]) for one in trained],
    }  # fmt: skip


def describe(trained: Trained, data: Dataset) -> dict[str, Any]:
    """Codes of the examples, decoded places of a square that holds them and N(0, I), and draws from N(0, I)."""
    codes = trained.encode(data)
    reach = MARGIN * max(REACH, codes.abs().max().item())
    drawn = trained.sample(len(data), fitted_prior=STANDARD).x
    return {
        "codes": codes, "reach": reach, "side": SIDE,
        "decoded": trained.decode(plane_of_codes(reach, SIDE)).x,
        "draws": drawn[:DRAWS], "mean": codes.mean(0), "std": codes.std(0),
        "error": rms_error(trained.decode(codes).x, data.x),
        "distance": distance(drawn, data.x),
    }  # fmt: skip


def distance(samples: Tensor, x: Tensor) -> float:
    """Sliced Wasserstein distance of pictures to the data, pixels in [0, 1]."""
    return sliced_wasserstein(samples.float() / 255, x.float() / 255)


CHAPTER = Chapter(
    name="autoencoder",
    title="The autoencoder, and what N(0, I) decodes to",
    summary="An autoencoder learns to rebuild 147 emoji from two numbers each. Then a code is drawn from N(0, I): can "
    "the decoder draw a new one?",
    question=Question(
        "An autoencoder rebuilds emoji from codes z of two numbers. Now z is drawn from N(0, I). What does the decoder "
        "make of it?",
        ("Mostly a new emoji", "Always one of the 147 that it has learnt", "Mostly a smudge that is no emoji"),
        2,
        "The objective asks for reconstructions alone. Where codes lie is left to chance: those below are spread "
        "around another place, over many units, and the decoder was never asked about N(0, I).",
    ),
    equations={
        "autoencoder": Equation(
            r"\min_{f,\,g}\ \sum_{x} \lVert x - g(f(x)) \rVert^2",
            "models/autoencoder.py",
            "else squared_error(x.flatten(1), y.flatten(1))",
            "The encoder f makes a code of the example, the decoder g rebuilds it.",
        ),
        "noise": Equation(
            r"z \sim \mathcal N(0, I), \qquad x = g(z)",
            "models/_latent.py",
            "return normal(n, self.code_size(shape), generator)",
            "To generate is to decode noise. Nothing in the objective above speaks of it.",
        ),
        "vae": Equation(
            r"\min_{f,\,g}\ \sum_x\ \mathbb E_{z \sim \mathcal N(\mu, \Sigma)} L(x, g(z)) + "
            r"\lambda\, \mathrm{KL}\bigl(\mathcal N(\mu, \Sigma) \,\Vert\, \mathcal N(0, I)\bigr), "
            r"\qquad (\mu, \Sigma) = f(x)",
            "models/vae.py",
            "yield minimize(encoder, decoder, *others.values(), **terms, kl=self.weighted_kl(kl, global_step))",
            "The VAE: its encoder returns a mean and a covariance, and the second term draws these to N(0, I).",
        ),
    },
    recordings={f"seed {seed}": TwoModels(seed=seed) for seed in (0, 1)},
    record=record,
)
