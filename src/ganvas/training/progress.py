"""What a person sees of long work, on stderr."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)  # fmt: skip
from rich.text import Text

from ..io.text import escape_text


class ProgressBar:
    """A progress bar on a terminal, now and then a line elsewhere, nothing if quiet."""

    def __init__(self, quiet: bool = False) -> None:
        self.console: Console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """What is being done, or can be done next."""
        self.console.print(escape_text(line), markup=False)

    def print_notes(self, notes: Sequence[str]) -> None:
        """What the reader should know of the data."""
        for note in notes:
            self.say(f"note: {note}")

    @contextmanager
    def track_images(self, label: str = "reading") -> Iterator[Callable[[int, int], None]]:
        """Shows images being read, or what else is done to them; yields a function of (done, total)."""
        columns = (
            TextColumn(label),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("images"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task(label, total=None, visible=False)
            yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)

    @contextmanager
    def track_training(self, steps: int, start_step: int, batch: int, folder: str) -> Iterator["TrainingProgress"]:
        """Shows training to `steps`, of which some are done."""
        self.say(f"run {folder}")
        is_live = self.console.is_terminal and not self.console.quiet
        with Progress(LineColumn(), console=self.console, disable=not is_live, refresh_per_second=4) as bar:
            yield TrainingProgress(bar, self.console, is_live, steps, start_step, batch)


class LineColumn(ProgressColumn):
    """A training's line, as wide as the terminal: of the losses, which stand last, as many as fit."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["line"], no_wrap=True, overflow="ellipsis")


class TrainingProgress:
    """The line that shows a run's progress."""

    def __init__(self, bar: Progress, console: Console, is_live: bool, steps: int, start_step: int, batch: int) -> None:
        self.bar: Progress = bar
        self.console: Console = console
        self.is_live: bool = is_live
        self.steps: int = steps
        self.start_step: int = start_step
        self.batch: int = batch
        self.start_time: float = time.monotonic()
        self.last_update: float = self.start_time
        self.losses_text: str = ""
        self.distance_text: str = ""
        self.warned_kinds: set[str] = set()
        self.task: TaskID = bar.add_task("train", total=steps, completed=start_step, line=f"step {start_step}/{steps}")

    def update(self, step: int) -> None:
        """So many steps are done."""
        now = time.monotonic()
        if now - self.last_update > 0.25:
            self.last_update = now
            self.bar.update(self.task, completed=step, line=self.format_line(step))

    def show_terms(self, step: int, terms: dict[str, float], report: dict[str, Any]) -> None:
        """The latest loss terms, how many latent dimensions are active, and the least and the largest KL of one.

        Of a game how diverse samples are; and how far from the data they were when that was measured last.
        """
        latent, adversarial = report.get("latent", {}), report.get("adversarial", {})
        self.losses_text = "  ".join(f"{name} {value:.4g}" for name, value in terms.items())
        if "active_units" in latent:
            self.losses_text += f"  active {latent['active_units']}/{latent['dimensions']}"
            kl = latent.get("kl_per_dimension", [])
            self.losses_text += f", {min(kl):.2f} to {max(kl):.2f} nats a dimension" if kl else ""
        if "diversity" in adversarial:
            self.losses_text += f"  diversity {adversarial['diversity']:.0%}"
        if report.get("samples", {}).get("value") is not None:
            self.distance_text = f"  {report['samples']['metric'].partition(':')[0]} {report['samples']['value']:.3g}"
        self.losses_text += self.distance_text
        self.bar.update(self.task, completed=step, line=self.format_line(step))

    def warn(self, sentences: Sequence[str]) -> None:
        """What is wrong; each kind of thing is said once."""
        for sentence in sentences:
            kind = sentence.partition(":")[0]
            if kind not in self.warned_kinds:
                self.warned_kinds.add(kind)
                self.console.print(escape_text(f"warning: {sentence}"), markup=False)

    def show_save(self, step: int) -> None:
        """A checkpoint was written: where nothing is live, the time for a line."""
        if self.is_live:
            return
        self.console.print(self.format_line(step), markup=False)

    def format_line(self, step: int) -> str:
        """How far the training is, what comes first on a narrow terminal first."""
        if step == self.start_step:
            return f"step {step}/{self.steps}"
        seconds = int((self.steps - step) * self.batch / max(self.throughput(step), 1e-9))
        hours, minutes = seconds // 3600, seconds // 60 % 60
        remaining = f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"
        rate = f"{self.throughput(step):,.0f} images/s"
        return f"step {step}/{self.steps}  left {remaining}  {rate}  {self.losses_text}".rstrip()

    def throughput(self, step: int) -> float:
        """Examples per second since this training began."""
        return (step - self.start_step) * self.batch / max(time.monotonic() - self.start_time, 1e-9)
