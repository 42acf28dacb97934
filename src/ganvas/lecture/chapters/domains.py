"""Chapter 8: DiscoGAN and CycleGAN on modes of two domains, with nothing, one domain, or both to reconstruct."""

from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ...errors import UserError
from ...metrics.modes import assign_modes
from ...models import CycleGAN, DiscoGAN
from ..chapter import Chapter, Equation, Parameters, Question
from ..runs import LectureRun, open_run

EACH, SHOWN, LOOKS = 2000, 240, 24
"""points of each mode to learn from; points that are shown; times at which they are, at equal ratios of steps"""
SIGMA = 0.1
"""deviation of a mode, whose centre is on a circle of radius 1"""
POINTS_COMMAND = (
    'python -c "import numpy as np; [np.save(name, (np.stack([np.cos(t := 2 * np.pi * np.arange(2000 * n) / n), '
    "np.sin(t)], 1) + 0.1 * np.random.default_rng(seed).normal(size=(2000 * n, 2))).astype('float32')) "
    "for name, n, seed in (('A.npy', {a}, 1), ('B.npy', {b}, 2))]\""
)
"""writes the points that `mode_points` makes"""


class Domains(Parameters):
    """A translator between modes of A and modes of B."""

    model: Annotated[Literal["discogan", "cyclegan"], Field(title="model")] = "discogan"
    reconstruct: Annotated[Literal["none", "one", "both"], Field(title="reconstruct")] = "both"
    weight: Annotated[float, Field(ge=0.1, le=100, title="weight of the reconstruction")] = 10.0
    modes_a: Annotated[int, Field(ge=2, le=12, title="modes of A")] = 5
    modes_b: Annotated[int, Field(ge=2, le=12, title="modes of B")] = 10
    steps: Annotated[int, Field(ge=1, le=5000, title="steps")] = 800
    seed: Annotated[int, Field(ge=0, le=999, title="seed")] = 0


class Way(NamedTuple):
    """What is recorded of a direction, at each look."""

    points: list[Tensor]
    """where the points that are shown land"""
    reached: list[int]
    """modes of the target that they reach"""
    shared: list[int]
    """modes of the target at which those of two modes land"""
    errors: list[float]
    """root mean square distance of a point to what comes back; none where nothing translates back"""


def translator(p: Domains) -> DiscoGAN | CycleGAN:
    """The model; UserError where CycleGAN is to rebuild one domain alone."""
    if p.model == "discogan":
        given: dict[str, Any] = {} if p.reconstruct == "none" else {"reconstruction_weight": p.weight}
        return DiscoGAN(reconstruct=p.reconstruct, width=64, depth_d=3, lr=2e-3, **given)
    if p.reconstruct == "one":
        raise UserError("CycleGAN rebuilds both domains or none: choose reconstruct=both or none")
    weight = 0.0 if p.reconstruct == "none" else p.weight
    return CycleGAN(cycle_weight=weight, identity_weight=0.0, pool_size=0, width=64, depth_d=3, lr=2e-3)


def centres(n: int) -> np.ndarray:
    """n places of the circle, n x 2."""
    angle = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def mode_points(n: int, seed: int) -> np.ndarray:
    """EACH points of each of n modes, in turn, 2 numbers each."""
    noise = np.random.default_rng(seed).normal(size=(EACH * n, 2))
    return (np.tile(centres(n), (EACH, 1)) + SIGMA * noise).astype(np.float32)


def landings(points: Tensor, n: int, m: int) -> tuple[int, int]:
    """Of m modes those reached, and those shared, by points that come from n modes in turn.

    A mode is reached if at least a quarter of a fair share of all points lies within three deviations of its centre,
    and shared if a tenth or more of the points of each of two modes have their nearest centre there.
    """
    nearest, is_near = assign_modes(points, torch.from_numpy(centres(m)), SIGMA)
    reached = nearest[is_near].bincount(minlength=m) >= len(points) / m / 4
    lands = torch.stack([nearest[i::n].bincount(minlength=m) >= len(points) / n / 10 for i in range(n)])
    return int(reached.sum()), int((lands.sum(0) > 1).sum())


def open_translation(p: Domains) -> LectureRun:
    """The run before its first step."""
    points = mode_points(p.modes_a, 1), mode_points(p.modes_b, 2)
    options: dict[str, Any] = {"steps": p.steps, "batch_size": 128, "lr_decay": 0.5, "seed": p.seed}
    return open_run(translator(p), points, source=("A.npy", "B.npy"), **options)


def record(p: Domains) -> dict[str, Any]:
    """Where points of A land in B as the translators learn, where those of B land in A, and the way back."""
    run = open_translation(p)
    known = dict(zip("AB", (data.x[:SHOWN] for data in run.data.datasets), strict=True))
    nets = {domain: run.state.nets[name] for domain, name in run.model.translators.items() if name in run.state.nets}
    modes, scaling = {"A": p.modes_a, "B": p.modes_b}, dict(zip("AB", run.scalings(), strict=True))
    ways = {way: Way([], [], [], []) for way in ("AB", "BA") if way[1] in nets}
    steps = list[int]()
    for step in run.looks(LOOKS):
        steps.append(step)
        for name, way in ways.items():
            source, target = name[0], name[1]
            with torch.no_grad():
                fake = nets[target](scaling[source](known[source]))
                land = scaling[target].inverse(fake)
                back = scaling[source].inverse(nets[source](fake)) if source in nets else None
            way.points.append(land.half())
            reached, shared = landings(land, modes[source], modes[target])
            way.reached.append(reached)
            way.shared.append(shared)
            if back is not None:
                way.errors.append((back - known[source]).square().sum(1).mean().sqrt().item())
    return {
        "command": f"{POINTS_COMMAND.format(a=p.modes_a, b=p.modes_b)}\n{run.command}", "steps": steps, "modes": modes,
        "known": {domain: x.half() for domain, x in known.items()},
        "ways": {name: way._asdict() | {"points": torch.stack(way.points)} for name, way in ways.items()},
    }  # fmt: skip


CHAPTER = Chapter(
    name="domains",
    title="Two domains, and the way back",
    summary="Translators learn to turn five modes of A into the ten of B, from examples without pairs. One has D alone "
    "to please; others also have to find the way back.",
    question=Question(
        "A GAN translates A to B and has to please D alone. Two of A's modes land on the same mode of B. What in the "
        "loss says that each should have a place of its own?",
        (
            "D: it sees that points of different modes are together",
            "Nothing: D sees where points land, and not whence they come",
            "The translator: a network cannot take two places to one",
        ),
        1,
        "D compares the translations with B as a whole. Only a way back tells two sources apart: what landed together "
        "cannot be rebuilt apart.",
    ),
    equations={
        "fool": Equation(
            r"\mathcal L_{GAN}=-\mathbb E_{a\sim A}\log\sigma\big(D_B(G_{AB}(a))\big)",
            "models/discogan.py", 'terms = {"fool": generator_loss(ENTROPY, logits)}',
            "--reconstruct none: this alone, from A to B. Which a became which b does not count.",
        ),
        "constancy": Equation(
            r"\mathcal L_{CONST}=w\,\mathbb E_a\,d\big(G_{BA}(G_{AB}(a)),\,a\big)",
            "models/discogan.py",
            "error = reconstruction_distance(self.reconstruction_loss, real[source], nets[way_back](fake))",
            "--reconstruct one adds this for a; --reconstruct both has both terms for both domains.",
        ),
        "networks": Equation(
            r"\text{none}: G_{AB}, D_B\qquad\text{one}: G_{AB}, G_{BA}, D_B\qquad\text{both}: G_{AB}, G_{BA}, D_A, D_B",
            "models/discogan.py", 'unused = {"none": ("GBA", "DA"), "one": ("DA",), "both": ()}[self.reconstruct]',
            "With one, GBA only has to rebuild a: nobody judges where points of B land.",
        ),
        "cycle": Equation(
            r"\mathcal L_{cyc}=\lambda\Big(\mathbb E_x\lvert F(G(x))-x\rvert+\mathbb E_y\lvert G(F(y))-y\rvert\Big)",
            "models/cyclegan.py",
            'terms = {"fool": 2 * generator_loss(SQUARES, DY(fake)), "cycle": self.cycle_weight * '
            "absolute_error(x, F(fake))}",
            "CycleGAN: the same idea with absolute errors, and a game in squares.",
        ),
    },
    recordings={
        "DiscoGAN, none": Domains(reconstruct="none"),
        "DiscoGAN, one": Domains(reconstruct="one"),
        "DiscoGAN, both": Domains(),
        "CycleGAN": Domains(model="cyclegan"),
    },
    record=record,
)  # fmt: skip
