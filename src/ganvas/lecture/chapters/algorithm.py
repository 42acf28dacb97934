"""Chapter 6: the algorithm, line by line, on points in the plane; minimax beside non-saturating; mode collapse."""

import math
from contextlib import nullcontext
from dataclasses import asdict
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...data.builtin import MIXTURES
from ...metrics.modes import mode_coverage
from ...model import Batch, Move
from ...models import GAN
from ...objectives.adversarial import BORDERS, Loss
from ...randomness import make_generator
from ..chapter import Chapter, Equation, Parameters, Question
from ..runs import LectureRun, open_run
from ..tracing import step_source, trace_lines

POINTS, JUDGED, FIELD = 128, 512, 32
"""G's points that are drawn, those by which modes are counted, and the rows and columns of D's field"""
HALF_WIDTH = {"ring": 1.6, "grid": 5.6}
"""of the square that is shown, in the data's units"""
NEAR = {"ring": 0.15, "grid": 0.5}
"""distance from a centre within which a point counts for its mode"""
FIRST_STEPS, LATER_STEPS = 10, 50
"""steps that are recorded one after the other, and then as many at equal ratios of their numbers"""


class Game(Parameters):
    """What the game is played with."""

    data: Annotated[Literal["ring", "grid"], Field(title="data")] = "ring"
    loss: Annotated[Loss, Field(title="loss")] = "non-saturating"
    n_critic: Annotated[int, Field(ge=1, le=5, title="k, updates of D per update of G")] = 1
    pack: Annotated[Literal[1, 2, 4], Field(title="pack, points that D judges together")] = 1
    gp: Annotated[float, Field(ge=0, le=100, title="weight of the gradient penalty")] = 0.0
    r1: Annotated[float, Field(ge=0, le=100, title="weight of R1, of real points")] = 0.0
    r2: Annotated[float, Field(ge=0, le=100, title="weight of R2, of fake ones")] = 0.0
    lr: Annotated[float, Field(ge=1e-5, le=1e-2, title="learning rate")] = 1e-3
    lr_d: Annotated[float, Field(ge=1e-5, le=1e-2, title="learning rate of D")] = 1e-3
    steps: Annotated[int, Field(ge=1, le=5000, title="steps")] = 900
    seed: Annotated[int, Field(ge=0, le=999, title="seed")] = 0


class StepRecorder:
    """Watches the lines of a run's step, and keeps what its networks do whenever one of them has moved.

    `events` has for each line that runs: the step, the line's number (0 at the end), and the indices of D's field, of
    G's points and of the pull on them as they are then; and where the line yields a move, what descends which terms.
    """

    def __init__(self, run: LectureRun, half_width: float) -> None:
        self.run: LectureRun = run
        assert isinstance(run.model, GAN)
        self.model: GAN = run.model
        self.nets: nn.ModuleDict = run.state.nets
        self.events: list[list[Any]] = []
        self.fields: list[Tensor] = []
        self.points: list[Tensor] = []
        self.pulls: list[Tensor] = []
        self.moved: set[str] = {"D", "G"}
        self.z: Tensor = self.model.sample_prior(JUDGED, (2,), make_generator(torch.device("cpu"), "lecture"))
        self.x: Tensor = run.scale(run.data.x[:POINTS])
        axis = torch.linspace(-1, 1, FIELD) * half_width * (1 - 1 / FIELD)
        self.grid: Tensor = run.scale(torch.stack(torch.meshgrid(-axis, axis, indexing="ij")[::-1], -1).reshape(-1, 2))

    def at_line(self, line: int, move: Move | None) -> None:
        """Note that a line runs next, or has yielded this move."""
        self.record_moved()
        terms = None
        if move is not None:
            name = "D" if self.nets["D"] in move.networks else "G"
            self.moved.add(name)
            terms = {"network": name, "terms": {key: round(value.item(), 4) for key, value in move.terms.items()}}
        last = [len(kept) - 1 for kept in (self.fields, self.points, self.pulls)]
        self.events.append([self.run.state.step, line, *last, terms])

    def record_moved(self) -> None:
        """Keep what the networks do that have moved since this was last called; no random number is drawn."""
        if "D" in self.moved:
            self.fields.append(self.field())
        if "G" in self.moved:
            self.points.append(self.run.unscale(self.generate()[:POINTS]).half())
        if self.moved:
            self.pulls.append(self.pull().half())
        self.moved.clear()

    @torch.no_grad()
    def generate(self) -> Tensor:
        """G's points of the same noise at any time, as the model sees them."""
        points: Tensor = self.nets["G"](self.z)
        return points

    @torch.no_grad()
    def field(self) -> Tensor:
        """s(D) at the places of a grid, as bytes; the logit between real and fake is 127.5.

        A packed D judges each place beside real points, eight times, of which the mean counts.
        """
        D, pack = self.nets["D"], self.model.pack
        logits = D(beside(self.grid, self.x, pack)).reshape(len(self.grid), -1).mean(1)
        zero = BORDERS[self.model.loss]
        if zero is None:
            zero = (D(self.packed(self.x)).mean() + D(self.packed(self.generate()[:POINTS])).mean()) / 2
        shares: Tensor = ((logits - zero).sigmoid() * 255).round()
        return shares.to(torch.uint8).reshape(FIELD, FIELD)

    def packed(self, x: Tensor) -> Tensor:
        packed: Tensor = self.model.discriminator_input(x, self.nets["D"])
        return packed

    def pull(self) -> Tensor:
        """At each of G's points the direction that lowers G's loss: minus its gradient there, in the data's units."""
        points = self.generate()[:POINTS].requires_grad_()
        D, batch = self.nets["D"], Batch(self.x, None, len(self.run.data))
        move = self.model.generator_move(self.nets["G"], D, self.packed(self.x), self.packed(points), batch, 0)
        (gradient,) = torch.autograd.grad(move.loss, points)
        zero = torch.zeros_like(gradient)
        return self.run.unscale(-gradient * len(points)) - self.run.unscale(zero)


def beside(places: Tensor, x: Tensor, pack: int, n: int = 8) -> Tensor:
    """Places as a packed D takes them, each n times with pack - 1 of the real points x; as they are without packing."""
    if pack == 1:
        return places
    partners = x[: n * (pack - 1)].reshape(1, n, -1).expand(len(places), -1, -1)
    return torch.cat([places[:, None].expand(-1, n, -1), partners], 2).reshape(len(places) * n, -1)


def recorded_steps(steps: int) -> set[int]:
    """The steps, counted from 0, that are recorded line by line."""
    later = torch.logspace(1, math.log10(max(steps, 10)), LATER_STEPS).round().int().tolist()
    return {step for step in (*range(FIRST_STEPS), *later, steps - 1) if step < steps}


def record(p: Game) -> dict[str, Any]:
    """The run's lines at the recorded steps, and curves of all of them."""
    options = {name: value for name, value in asdict(p).items() if name not in ("data", "steps", "seed")}
    model = GAN(latent=2, width=64, **options)
    run = open_run(model, p.data, steps=p.steps, batch_size=128, seed=p.seed)
    recorder, chosen = StepRecorder(run, HALF_WIDTH[p.data]), recorded_steps(p.steps)
    curves: dict[str, list[float]] = {"step": [], "gradient": [], "modes": []}
    norms, steps, G = list[Tensor](), run.steps(), run.state.nets["G"]
    for step in range(p.steps):
        with trace_lines(GAN.step, recorder.at_line) if step in chosen else nullcontext():
            next(steps)
        norms.append(nn.utils.get_total_norm([q.grad for q in G.parameters() if q.grad is not None]))
        if step in chosen:
            recorder.at_line(0, None)
        if (step + 1) % max(1, p.steps // 100) == 0:
            curves["step"].append(step + 1)
            curves["gradient"].append(torch.stack(norms).mean().item())
            curves["modes"].append(modes_near(run.unscale(recorder.generate()), p.data))
            for name, value in run.losses().items():
                curves.setdefault(name, []).append(value)
            norms.clear()
    return {
        "command": run.command, "source": step_source(GAN), "events": recorder.events,
        "fields": torch.stack(recorder.fields), "points": torch.stack(recorder.points),
        "pulls": torch.stack(recorder.pulls), "real": run.data.x[:2 * POINTS].half(), "curves": curves,
        "half_width": HALF_WIDTH[p.data], "modes": len(MIXTURES[p.data].centres), "near": NEAR[p.data],
    }  # fmt: skip


def modes_near(points: Tensor, data: str) -> int:
    """The modes of a mixture that have a point within `NEAR` of their centre."""
    centres, sigma = MIXTURES[data]
    return mode_coverage(points, torch.from_numpy(centres), sigma, NEAR[data] / sigma).captured


CHAPTER = Chapter(
    name="algorithm",
    title="The algorithm, step by step",
    summary="The step of Ganvas's GAN as it runs, line by line: D's field, G's points, and what pulls at them.",
    question=Question(
        "D wins: it is sure of every fake. What does the minimax loss then tell G?",
        (
            "Much: the surer D is, the larger is G's gradient",
            "Almost nothing: G's gradient vanishes",
            "As much as before: the gradient of log(1 − σ(D)) is the same everywhere",
        ),
        1,
        "The derivative of log(1 − σ(d)) by the logit d is −σ(d), which goes to 0 where D is sure. That of −log σ(d) "
        "is σ(d) − 1, which goes to −1: hence the non-saturating loss. Look at the norm of G's gradient below.",
    ),
    equations={
        "ascend": Equation(
            r"\nabla_{\theta_D}\frac1m\sum_{i=1}^m\Big[\log\sigma\big(D(x_i)\big)+\log\big(1-\sigma(D(G(z_i)))\big)\Big]",
            "models/gan.py", "yield self.discriminator_move(D, x, fake, **self.penalties(global_step))",
            "D ascends this gradient, k times.",
        ),
        "descend": Equation(
            r"\nabla_{\theta_G}\frac1m\sum_{i=1}^m\log\big(1-\sigma(D(G(z_i)))\big)",
            "models/gan.py", "yield self.generator_move(G, D, x, fake, batch, global_step)",
            "G descends this one, or that of another loss, once.",
        ),
        "minimax": Equation(
            r"\mathcal L_G=\mathbb E_z\log(1-\sigma(D(G(z)))),\qquad \frac{\partial}{\partial d}=-\sigma(d)\to0",
            "objectives/adversarial.py", "return -softplus(fake).mean()", "Minimax: where D is sure, d is far below 0.",
        ),
        "saturating": Equation(
            r"\mathcal L_G=-\mathbb E_z\log\sigma(D(G(z))),\qquad \frac{\partial}{\partial d}=\sigma(d)-1\to-1",
            "objectives/adversarial.py", "return softplus(-fake).mean()", "Non-saturating: the same fixed point.",
        ),
        "packing": Equation(
            r"D(x_1,\dots,x_m)", "models/_gan.py",
            "return x if self.pack == 1 else x.reshape(len(x) // self.pack, self.pack * x.shape[1], *x.shape[2:])",
            "Packing: D judges m points together, and sees that they are too much alike.",
        ),
        "relativistic": Equation(
            r"\mathcal L_D=-\mathbb E\log\sigma\big(D(x)-D(G(z))\big)",
            "objectives/adversarial.py", 'return {"pairs": softplus(fake - real).mean()}',
            "Relativistic: each real point is compared with a fake one, so that no mode is forgotten for free.",
        ),
        "penalty": Equation(
            r"\mathcal L_D\leftarrow\mathcal L_D+\frac{r_1}2\,\mathbb E_x\lVert\nabla_x D(x)\rVert^2",
            "models/_gan.py",
            'terms |= {k: w / 2 * u.mean() for k, w, u in zip(("r1", "r2"), (r1, r2), norms, strict=True) if w}',
            "Gradient penalty R1, on real points, and R2 on fake ones: where D is flat, G comes to rest.",
        ),
    },
    recordings={
        "non-saturating": Game(),
        "minimax": Game(loss="minimax"),
        "D far ahead, non-saturating": Game(n_critic=5, lr=2e-5, lr_d=2e-3, steps=600),
        "D far ahead, minimax": Game(loss="minimax", n_critic=5, lr=2e-5, lr_d=2e-3, steps=600),
        "k = 3": Game(n_critic=3),
        "packs of 4": Game(pack=4),
        "relativistic": Game(loss="relativistic"),
        "penalty R1": Game(r1=0.1),
        "relativistic, R1 and R2": Game(loss="relativistic", r1=0.1, r2=0.1),
        "slow D": Game(lr_d=1e-4, steps=1200),
        "slow D, packs of 4": Game(lr_d=1e-4, pack=4, steps=1200),
    },
    record=record,
)  # fmt: skip
