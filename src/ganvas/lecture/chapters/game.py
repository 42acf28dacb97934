"""Chapter 5: the value of the game, and its best discriminator for two densities that are known."""

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from ...models import GAN
from ..chapter import Chapter, Equation, Parameters, Question
from ..runs import open_run

STEPS, LOOKS = 300, (0, 5, 10, 20, 40, 80, 150, 300)
GRID = torch.linspace(-6, 6, 121)


class Densities(Parameters):
    """p(x) = N(-gap/2, 1) and q(x) = N(gap/2, 1)."""

    gap: Annotated[float, Field(ge=0, le=8, title="distance of the two")] = 2.0


def record(parameters: Densities) -> dict[str, Any]:
    """D's logits on the grid as it learns to tell the two apart."""
    gap = parameters.gap
    x = np.random.default_rng(0).normal(-gap / 2, 1, (10_000, 1)).astype(np.float32)
    run = open_run(GAN(width=32, loss="minimax", lr=1e-3), x, source="p.npy", steps=STEPS, batch_size=256)
    logits = []
    for step in run.steps():
        if step in LOOKS:
            with torch.no_grad():
                logits.append(run.state.nets["D"](run.scale(GRID[:, None]))[:, 0])
    return {"command": run.command, "grid": GRID, "logits": torch.stack(logits), "losses": run.losses()}


CHAPTER = Chapter(
    name="game",
    title="The game and its best discriminator",
    summary="What D can reach at most, for two densities that one can drag, and what that says of them.",
    question=Question(
        "p and q are the same density. What is the value V(D) of the game at the best D?",
        ("0", "−log 4", "log 2"),
        1,
        "The best D is 1/2 everywhere, so V = log 1/2 + log 1/2 = −log 4: a D whose loss is 1.386 guesses.",
    ),
    equations={
        "value": Equation(
            r"V(D) = \mathbb E_{p}\log \sigma(D(x)) + \mathbb E_{q}\log(1-\sigma(D(x)))",
            "objectives/adversarial.py",
            'return {"real": softplus(-real).mean(), "fake": softplus(fake).mean()}',
            "D descends −V. With logits D(x), −log σ(D) is softplus(−D).",
        ),
    },
    recordings={f"distance {gap}": Densities(gap=gap) for gap in (0.0, 1.0, 2.0, 4.0)},
    record=record,
)
