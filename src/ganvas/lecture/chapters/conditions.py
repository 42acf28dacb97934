"""Chapter 7: G is asked for a class; and Jensen-Shannon beside Wasserstein as two densities are pulled apart."""

from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ...data.builtin import MIXTURES
from ...models import CGAN, GAN, WGAN, WGANGP
from ...objectives.adversarial import divergence_estimates, generator_loss
from ...randomness import make_generator
from ..chapter import Chapter, Equation, Parameters, Question
from ..runs import open_run
from .game import KnownGenerator

POINTS, LOOKS, EXAMPLES = 48, 24, 20_000
"""of G's points for each class; times at which they are recorded, at equal ratios of steps; examples of p"""
NEAR = {"ring": 0.15, "grid": 0.5}
"""distance from a centre within which a point counts for its mode"""
DISTANCES, DEVIATION = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0), 0.5
"""between the means of p and q at which critics are trained, and the deviation of both"""
GRID = torch.linspace(-4, 4, 161)
"""where critics are recorded"""
JUDGES: dict[str, Any] = {
    "gan": partial(GAN, loss="minimax", n_critic=5, lr=2e-3), "wgangp": partial(WGANGP, gp=100.0, lr=2e-3),
    "wgan": partial(WGAN, lr=1e-3, weight_clip=0.1, initial_critic_steps=1),
}  # fmt: skip
"""by the names of their commands"""


class Conditions(Parameters):
    """How long the players of both parts are trained, and on what those of the first."""

    data: Annotated[Literal["ring", "grid"], Field(title="data of the first part")] = "ring"
    steps: Annotated[int, Field(ge=1, le=5000, title="steps of the first part")] = 1200
    critic_steps: Annotated[int, Field(ge=4, le=400, title="steps of each critic of the second part")] = 60
    seed: Annotated[int, Field(ge=0, le=999, title="seed")] = 0


def record(p: Conditions) -> dict[str, Any]:
    """G's points with and without a class as they learn, and what D and critics say of pairs of densities."""
    centres = torch.from_numpy(MIXTURES[p.data].centres).float()
    players = [class_points(cls(latent=2, width=64, lr=1e-3), p, len(centres)) for cls in (CGAN, GAN)]
    return {
        "command": "\n".join(player.pop("command") for player in players), "players": players, "centres": centres,
        "near": NEAR[p.data], "deviation": DEVIATION, "grid": GRID, "distances": DISTANCES, "examples": EXAMPLES,
        "judges": {name: [judge(name, d, p) for d in DISTANCES] for name in JUDGES},
    }  # fmt: skip


def class_points(model: CGAN | GAN, p: Conditions, classes: int) -> dict[str, Any]:
    """G's points of the same noise at each look, classes x POINTS; without a class all are drawn alike."""
    run = open_run(model, p.data, steps=p.steps, batch_size=128, seed=p.seed)
    z = model.sample_prior(classes * POINTS, (2,), make_generator(torch.device("cpu"), "lecture"))
    y = (torch.arange(classes).repeat_interleave(POINTS),) if model.is_conditional else ()
    points, steps = list[Tensor](), list[int]()
    for step in run.looks(LOOKS):
        steps.append(step)
        with torch.no_grad():
            points.append(run.unscale(run.state.nets["G"](z, *y)).half())
    return {"command": run.command, "steps": steps, "points": torch.stack(points).unflatten(1, (classes, POINTS))}


def judge(name: str, distance: float, p: Conditions) -> dict[str, Any]:
    """D (or a critic) that learns to tell p from q, N(-d/2, s^2) from N(d/2, s^2), while G stands still with q.

    "estimate" is what the log has, over the last quarter of steps, of Wasserstein in units of x; "gradient" is that of
    G's loss by the mean of q; "slope" is the steepest of the critic on the grid.
    """
    x = np.random.default_rng(0).normal(-distance / 2, DEVIATION, (EXAMPLES, 1)).astype(np.float32)
    mean, std = float(x.mean()), float(x.std())  # the model sees standardised data
    model = JUDGES[name](latent=1, width=32, generator=KnownGenerator((distance / 2 - mean) / std, DEVIATION / std))
    run = open_run(model, x, source="p.npy", steps=p.critic_steps, batch_size=256, seed=p.seed)
    D = run.state.nets["D"]
    G = next(part for part in run.state.nets["G"].modules() if isinstance(part, KnownGenerator))
    before = {key: value.clone() for key, value in G.state_dict().items()}
    for step in run.steps():
        G.load_state_dict(before)  # its move is undone
        if step == p.critic_steps * 3 // 4:
            run.losses()
    (estimate,) = divergence_estimates(model.objective.loss, run.losses()).values()
    quantiles = torch.special.ndtri((torch.arange(1000) + 0.5) / 1000)[:, None]  # of z ~ N(0, 1)
    (gradient,) = torch.autograd.grad(generator_loss(model.objective.loss, D(G(quantiles))), G.mean)
    unit = 1.0 if name == "gan" else std
    with torch.no_grad():
        values = unit * D(run.scale(GRID[:, None]))[:, 0]
    return {
        "command": run.command, "values": values, "estimate": unit * estimate,
        "gradient": unit * gradient.item() / std, "slope": (values.diff() / GRID.diff()).abs().max().item(),
    }  # fmt: skip


CHAPTER = Chapter(
    name="conditions",
    title="Conditions, and two distances",
    summary="G is asked for a class and learns to draw it. Then two densities are pulled apart: what is left for G to "
    "follow, of the Jensen–Shannon divergence and of the Wasserstein distance?",
    question=Question(
        "p and q hardly overlap. q comes a little nearer to p. What do the two distances say?",
        (
            "Both fall alike",
            "Jensen–Shannon hardly changes; Wasserstein falls by as much as q has moved",
            "Jensen–Shannon falls; Wasserstein hardly changes",
        ),
        1,
        "Where p and q do not overlap, the best D is sure of every point, and the divergence is log 2 however far they "
        "are apart: its gradient is 0. Wasserstein is the way that mass has to go: its gradient is 1 everywhere.",
    ),
    equations={
        "conditional": Equation(
            r"\min_G\max_D\ \mathbb E_{x,y}\log\sigma\big(D(x|y)\big)+"
            r"\mathbb E_{z,y}\log\big(1-\sigma(D(G(z|y)|y))\big)",
            "models/cgan.py", "yield self.discriminator_move(D, x, fake, y, **self.penalties(global_step))",
            "D sees the class y with each point, so a point of another class is a fake as well.",
        ),
        "label": Equation(
            r"G(z|y)=G([z, e_y]),\qquad D(x|y)=D([x, e_y])", "nn/__init__.py",
            "inputs = torch.cat([inputs, label.expand(-1, -1, *inputs.shape[2:])], 1)",
            "The class is a one-hot code e_y beside the input.",
        ),
        "jensen": Equation(
            r"\mathrm{JSD}(p\,\|\,q)=\tfrac12\big(\max_D V(D)+\log4\big)\le\log2", "objectives/adversarial.py",
            'return {"jensen_shannon": (value + log(4)) / 2} if loss in JENSEN_SHANNON_LOSSES else {}',
            "What a trained D says of it, from below; the key jensen_shannon of a run's log.",
        ),
        "wasserstein": Equation(
            r"W_1(p,q)=\max_{|f'|\le1}\ \mathbb E_{x\sim p}f(x)-\mathbb E_{x\sim q}f(x)", "objectives/adversarial.py",
            'return {"wasserstein": value}',
            "What a trained critic says of it; the key wasserstein of a run's log. Here W₁ = d.",
        ),
        "clip": Equation(
            r"w\leftarrow\mathrm{clip}(w,-c,c)", "models/wgan.py", "clip_weights(D, self.weight_clip)  # line 7",
            "WGAN bounds the slope by bounded weights: by which number, nobody says, so its estimate is K W₁.",
        ),
        "penalty": Equation(
            r"\lambda\,\mathbb E_u\big(\lVert\nabla f(u)\rVert-1\big)^2", "models/wgangp.py",
            "yield self.discriminator_move(D, x, fake, gp=self.gp)  # lines 6 to 9: equation 3",
            "WGAN-GP draws the slope to 1, so its estimate has a unit. "
            "The best slope is 1 + W₁/(2λ), W₁ in deviations of p: hence λ = 100.",
        ),
    },
    recordings={"ring": Conditions()},
    record=record,
)  # fmt: skip
