"""What a person sees of long work, on stderr."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich import progress
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from ..escape import escape_text
from ..io.text import format_number


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
        columns = (label, progress.BarColumn(), progress.MofNCompleteColumn(), "images", progress.TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task(label, total=None, visible=False)
            yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)

    @contextmanager
    def show_work(self, label: str) -> Iterator[None]:
        """Shows on a terminal that something is being done, and for how long."""
        columns = (progress.SpinnerColumn(), label, progress.TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            bar.add_task(label, total=None)
            yield

    @contextmanager
    def track_training(
        self, steps: int, get_step: Callable[[], int], batch: int, folder: str
    ) -> Iterator["TrainingProgress"]:
        """Shows training to `steps`, of which `get_step` says how many are done; `batch` examples are one step."""
        self.say(f"run {folder}")
        line = TrainingProgress(self.console, self.say, steps, get_step, batch)
        with Progress(line, console=self.console, disable=not line.is_live, refresh_per_second=4) as bar:
            bar.add_task("train")
            yield line


@dataclass(eq=False)
class TrainingProgress(progress.ProgressColumn):
    """A training's line, as wide as the terminal: of the losses, which stand last, as many as fit."""

    console: Console
    say: Callable[[str], None]
    steps: int
    get_step: Callable[[], int]
    batch: int
    losses_text: str = ""
    distance_text: str = ""
    warned_kinds: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.is_live: bool = self.console.is_terminal and not self.console.quiet
        self.start_step: int = self.get_step()
        self.start_time: float = time.monotonic()

    def render(self, task: progress.Task) -> Text:
        return Text(self.format_line(), no_wrap=True, overflow="ellipsis")

    def show_terms(self, terms: dict[str, float], report: dict[str, Any]) -> None:
        """The latest loss terms; active latent dimensions and their KL; of samples diversity and the last distance."""
        latent, adversarial, samples = (report.get(name, {}) for name in ("latent", "adversarial", "samples"))
        text = "  ".join(f"{name} {format_number(value, 4)}" for name, value in terms.items())
        if "active_units" in latent:
            text += f"  active {latent['active_units']}/{latent['dimensions']}"
            kl = latent.get("kl_per_dimension", [])
            text += f", {min(kl):.2f} to {max(kl):.2f} nats a dimension" if kl else ""
        if "diversity" in adversarial:
            text += f"  diversity {adversarial['diversity']:.0%}"
        if samples.get("value") is not None:
            self.distance_text = f"  {samples['metric'].partition(':')[0]} {format_number(samples['value'])}"
        self.losses_text = text + self.distance_text

    def warn(self, sentences: Sequence[str]) -> None:
        """What is wrong; each kind of thing is said once."""
        for sentence in sentences:
            kind = sentence.partition(":")[0]
            if kind not in self.warned_kinds:
                self.warned_kinds.add(kind)
                self.say(f"warning: {sentence}")

    def show_save(self) -> None:
        """A checkpoint was written: where nothing is live, the time for a line."""
        if not self.is_live:
            self.console.print(self.format_line(), markup=False)

    def format_line(self) -> str:
        """How far the training is, what comes first on a narrow terminal first."""
        step = self.get_step()
        if step <= self.start_step:  # less, where it went back
            return f"step {step}/{self.steps}"
        seconds_per_step = max(time.monotonic() - self.start_time, 1e-9) / (step - self.start_step)
        minutes, seconds = divmod(int((self.steps - step) * seconds_per_step), 60)
        hours, minutes = divmod(minutes, 60)
        remaining = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
        rate = f"{self.batch / seconds_per_step:,.0f} examples/s"
        return f"step {step}/{self.steps}  left {remaining}  {rate}  {self.losses_text}".rstrip()


class MemberBar(ProgressBar):
    """What a member says in the place where its group's progress is: lines begin with its name."""

    def __init__(self, group: ProgressBar, name: str, notes: set[str]) -> None:
        self.console: Console = group.console
        self.name: str = name
        self.group_notes: set[str] = notes
        """notes of any member: each is said once"""
        self.progress: TrainingProgress | None = None

    @property
    def losses_text(self) -> str:
        """Its latest losses."""
        return self.progress.losses_text if self.progress else ""

    def say(self, line: str) -> None:
        super().say(f"{self.name}: {line}")

    def print_notes(self, notes: Sequence[str]) -> None:
        """Notes are of all members, or name the run: they have no name before them."""
        for note in notes:
            if note not in self.group_notes:
                super().say(f"note: {note}")
        self.group_notes.update(notes)

    @contextmanager
    def track_training(
        self, steps: int, get_step: Callable[[], int], batch: int, folder: str
    ) -> Iterator[TrainingProgress]:
        """Shows nothing but warnings: the group has a line for all."""
        self.progress = TrainingProgress(self.console, self.say, steps, get_step, batch)
        self.progress.is_live = True
        yield self.progress
