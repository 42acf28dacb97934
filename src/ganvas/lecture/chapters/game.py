"""Chapter 5: the value of the game, and its best discriminator for two densities that are known."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from ...models import GAN
from ...training.loop import make_player, open_stream
from ..chapter import Chapter, Equation, Parameters, Question
from ..runs import LectureRun, open_run

STEPS, BATCH_SIZE, EXAMPLES = 400, 512, 20_000
LOOKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 400)
"""numbers of D's moves after which it is recorded"""
GRID = torch.linspace(-16, 16, 321)
"""where D is recorded; beyond it either density has next to nothing"""
Mean = Annotated[float, Field(ge=-4, le=4)]
Deviation = Annotated[float, Field(ge=0.3, le=2.5)]


class Densities(Parameters):
    """The data's density p = N(mean_p, std_p^2), and q = N(mean_q, std_q^2) of the generator's samples."""

    mean_p: Annotated[Mean, Field(title="mean of p")] = -1.0
    std_p: Annotated[Deviation, Field(title="deviation of p")] = 1.0
    mean_q: Annotated[Mean, Field(title="mean of q")] = 1.0
    std_q: Annotated[Deviation, Field(title="deviation of q")] = 1.0


class KnownGenerator(nn.Module):
    """G(z) = mean + std z of z ~ N(0, 1): a generator whose density is known, and which nobody trains."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean: nn.Parameter = nn.Parameter(torch.tensor(mean))
        self.std: nn.Parameter = nn.Parameter(torch.tensor(std))

    def forward(self, z: Tensor) -> Tensor:
        return self.mean + self.std * z


def discriminator_steps(run: LectureRun) -> Iterator[int]:
    """Play D's move of each step, the first, and no other: G stands still.  Yields the number of steps done."""
    player = make_player(run.model, open_stream(run.model, run.data, run.config, run.state), run.config, run.state)
    while run.state.step < run.config.steps:
        step = run.state.step
        player.reseed()
        next(player.moves(player.stream, step, partial(player.rate, step=step)))
        player.count_step()
        yield run.state.step


def record(p: Densities) -> dict[str, Any]:
    """D's logits on a grid after so many of its moves, while G's density stays q."""
    x = np.random.default_rng(0).normal(p.mean_p, p.std_p, (EXAMPLES, 1)).astype(np.float32)
    mean, std = float(x.mean()), float(x.std())  # the model sees standardised data
    G = KnownGenerator((p.mean_q - mean) / std, p.std_q / std)
    model = GAN(latent=1, width=64, loss="minimax", lr=2e-3, betas=(0.9, 0.999), generator=G)
    run = open_run(model, x, source="p.npy", steps=STEPS, batch_size=BATCH_SIZE)
    D, logits = run.state.nets["D"], list[Tensor]()

    @torch.no_grad()
    def look() -> None:
        logits.append(D(run.scale(GRID[:, None]))[:, 0])

    look()
    for step in discriminator_steps(run):
        if step in LOOKS:
            look()
    steps = [0, *(step for step in LOOKS if 0 < step <= STEPS)]
    return {"command": run.command, "grid": GRID, "steps": steps, "logits": torch.stack(logits)}


CHAPTER = Chapter(
    name="game",
    title="The game and its best discriminator",
    summary="What D can reach at most, for two densities that you drag, and what that says of their distance.",
    question=Question(
        "p and q are the same density. What is the value V(D) of the game at the best D?",
        ("0", "−log 4", "log 2"),
        1,
        "The best D is 1/2 everywhere, so V = log 1/2 + log 1/2 = −log 4: a D whose loss is 1.386 guesses.",
    ),
    equations={
        "value": Equation(
            r"V(D)=\mathbb E_{x\sim p}\log\sigma(d(x))+\mathbb E_{x\sim q}\log\big(1-\sigma(d(x))\big)",
            "objectives/adversarial.py",
            'return {"real": softplus(-real).mean(), "fake": softplus(fake).mean()}',
            "D ascends V. Ganvas's D returns the logit d, D = σ(d); then −log σ(d) is softplus(−d), and D descends −V.",
        ),
        "divergence": Equation(
            r"V(D^*)=2\,\mathrm{JSD}(p\,\|\,q)-\log4\quad\Longrightarrow\quad\mathrm{JSD}=\tfrac12\big(V(D^*)+\log4\big)",
            "objectives/adversarial.py",
            'return {"jensen_shannon": (value + log(4)) / 2} if loss in JENSEN_SHANNON_LOSSES else {}',
            "So D's loss estimates a divergence, from below: every D that is not the best gives less.",
        ),
    },
    recordings={
        "side by side": Densities(),
        "the same": Densities(mean_p=0.0, mean_q=0.0),
        "far apart": Densities(mean_p=-2.5, std_p=0.7, mean_q=2.5, std_q=0.7),
        "narrow in wide": Densities(mean_p=0.0, std_p=0.6, mean_q=0.0, std_q=2.0),
        "unequal": Densities(mean_p=-1.0, std_p=0.5, mean_q=1.0, std_q=1.5),
    },
    record=record,
)
