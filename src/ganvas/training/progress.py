"""What a person sees of long work, on stderr."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..io.text import printable


class Bar:
    """A progress bar on a terminal, now and then a line elsewhere, nothing if quiet."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """What is being done, or can be done next."""
        self.console.print(printable(line), markup=False)

    def notes(self, notes: Sequence[str]) -> None:
        """What the reader should know of the data."""
        for note in notes:
            self.say(f"note: {note}")

    @contextmanager
    def reading(self, what: str = "reading") -> Iterator[Callable[[int, int], None]]:
        """Shows images being read, or what else is done to them; yields a function of (done, total)."""
        columns = (
            TextColumn(what),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("images"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task(what, total=None, visible=False)
            yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)

    @contextmanager
    def training(self, steps: int, done: int, batch: int, folder: str) -> Iterator["Training"]:
        """Shows training to `steps`, of which some are done."""
        self.say(f"run {folder}")
        live = self.console.is_terminal and not self.console.quiet
        with Progress(Whole(), console=self.console, disable=not live, refresh_per_second=4) as bar:
            yield Training(bar, self.console, live, steps, done, batch)


class Whole(ProgressColumn):
    """A training's line, as wide as the terminal: of the losses, which stand last, as many as fit."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["line"], no_wrap=True, overflow="ellipsis")


class Training:
    """The line that shows a run's progress."""

    def __init__(self, bar: Progress, console: Console, live: bool, steps: int, done: int, batch: int) -> None:
        self.bar, self.console, self.live = bar, console, live
        self.steps, self.done, self.batch, self.began = steps, done, batch, time.monotonic()
        self.latest, self.far, self.shown, self.warned = "", "", self.began, set[str]()
        self.task = bar.add_task("train", total=steps, completed=done, line=f"step {done}/{steps}")

    def step(self, step: int) -> None:
        """So many steps are done."""
        now = time.monotonic()
        if now - self.shown > 0.25:
            self.shown = now
            self.bar.update(self.task, completed=step, line=self.line(step))

    def terms(self, step: int, terms: dict[str, float], report: dict[str, Any]) -> None:
        """The latest loss terms, how many latent dimensions are active, and the least and the largest KL of one.

        Of a game how diverse samples are; and how far from the data they were when that was measured last.
        """
        codes, game = report.get("codes", {}), report.get("game", {})
        self.latest = "  ".join(f"{name} {value:.4g}" for name, value in terms.items())
        if "active" in codes:
            self.latest += f"  active {codes['active']}/{codes['dimensions']}"
            kl = codes.get("kl_per_dimension", [])
            self.latest += f", {min(kl):.2f} to {max(kl):.2f} nats a dimension" if kl else ""
        if "diversity" in game:
            self.latest += f"  diversity {game['diversity']:.0%}"
        if report.get("samples", {}).get("value") is not None:
            self.far = f"  {report['samples']['metric'].partition(':')[0]} {report['samples']['value']:.3g}"
        self.latest += self.far
        self.bar.update(self.task, completed=step, line=self.line(step))

    def warn(self, sentences: Sequence[str]) -> None:
        """What is wrong; each kind of thing is said once."""
        for sentence in sentences:
            kind = sentence.partition(":")[0]
            if kind not in self.warned:
                self.warned.add(kind)
                self.console.print(printable(f"warning: {sentence}"), markup=False)

    def saved(self, step: int) -> None:
        """A checkpoint was written: where nothing is live, the time for a line."""
        if self.live:
            return
        self.console.print(self.line(step), markup=False)

    def line(self, step: int) -> str:
        """How far the training is, what comes first on a narrow terminal first."""
        if step == self.done:
            return f"step {step}/{self.steps}"
        seconds = int((self.steps - step) * self.batch / max(self.rate(step), 1e-9))
        hours, minutes = seconds // 3600, seconds // 60 % 60
        left = f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"
        return f"step {step}/{self.steps}  left {left}  {self.rate(step):,.0f} images/s  {self.latest}".rstrip()

    def rate(self, step: int) -> float:
        """Examples per second since this training began."""
        return (step - self.done) * self.batch / max(time.monotonic() - self.began, 1e-9)
