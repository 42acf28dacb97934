"""A run under way: it trains, logs, measures samples and saves, so that it can stop and go on where it stopped."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import gcd
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..config import TrainConfig
from ..data import Data, Dataset, DomainPair, class_counts, make_stream
from ..data.memory import is_out_of_memory
from ..diagnostics import examine, recent_lines
from ..distributions.priors import FittedPriors
from ..errors import DivergenceError, RankError, TrainingStopped, UserError
from ..inference.networks import keeps_discriminator
from ..inference.trained import Trained, load_trained
from ..io.atomic import atomic_write
from ..io.run_folder import LAST_WEIGHTS_FILE, RunFolder
from ..io.safetensors import read_header
from ..io.text import format_number
from ..model import Batch, Model, PairBatch, Schedule, device_of, model_name, to_dict
from ..models._variational import MIN_CODES_PER_DIMENSION, Variational
from ..randomness import reseed
from ..ranks import world_size
from ..viz.curves import draw_curves
from ..viz.images import encode_previews
from . import memory, rollback, run_records, validation
from .distributed import agree, check_equal, gather_rank_state, is_loss_of_rank, is_main, shared_tensors, uses_shards
from .ema import current_ema, ema_decay_of
from .loop import TrainState, check_finite, ensure_scaling, initialize_state
from .loop import train as training
from .monitor import monitor_statistics
from .previews import draw_preview
from .progress import ProgressBar, TrainingProgress
from .report import write_end_report
from .signals import StopRequest, catch_stop_signals
from .validation import SampleEvaluator

PREVIEW_COLUMNS, PREVIEW_VECTORS = 10, 1000
"""examples of a preview: images in a row, and points of a plot"""
MIN_PRIOR_EXAMPLES = 1000
"""examples at least by whose codes samples are drawn before the run has ended, of those there are"""
FIRST_SAVE_SECONDS, SAVE_INTERVAL_SECONDS = 20.0, 100.0
"""seconds after which a run is saved though no checkpoint is due: so that there is a first picture within half a
minute, and never more than two minutes to lose"""


@dataclass
class Run:
    """What is trained, on what, how, how far it is, and where it is written.

    When it saves between checkpoints depends on the clock, but nothing that it computes or logs depends on that.  Of
    several ranks all train, and rank 0 measures, logs and writes; see `distributed`.
    """

    model: Model
    raw_data: Data
    """what it was given"""
    data: Data
    """the same as the model learns it"""
    config: TrainConfig
    folder: Path
    state: TrainState
    bar: ProgressBar
    log_lines: Sequence[dict[str, Any]] = ()
    """what its log says when it begins or goes on"""
    evaluator: SampleEvaluator | None = None
    """what measures samples, if it is there before the run begins; None where they are not measured"""

    def __post_init__(self) -> None:
        ensure_scaling(self.state, self.model, self.data)
        self.is_sharded: bool = uses_shards(self.config)
        # what is looked at and written: of a sharded run a copy with whole networks, which rank 0 has
        self.whole: TrainState = self.make_copy() if self.is_sharded and is_main() else self.state
        self.whole_step: int | None = None
        self.priors: FittedPriors | None = None  # of `sampling_model`, as of this step
        self.prior_step: int | None = None
        self.device: torch.device = torch.device("cpu") if self.is_sharded else device_of(self.state.nets)
        self.files: RunFolder = RunFolder(self.folder)
        self.saved_step: int = self.state.step
        self.n_notes_shown: int = 0
        self.stop: StopRequest | None = None  # that of a group of runs, see `training.many`
        self.log_every: int = run_records.log_interval(self.config)
        look_every = gcd(self.log_every, self.config.checkpoint_every)
        steps = partial(training, self.model, self.data, self.config, self.state, look_every)
        self.open_steps: Callable[[], Iterator[int]] = steps
        self.steps: Iterator[int] = self.open_steps()

    def fit(self) -> Trained:
        """Train to the last step of the configuration, or until samples get no better, and return the model."""
        for _ in self.advance():
            pass
        return self.finish()

    def advance(self) -> Iterator[int]:
        """Do the steps that are left; yields before the first and after each, so that several runs go on in turns."""
        if self.has_steps_left:
            yield from self.train()

    @property
    def has_steps_left(self) -> bool:
        """Whether it has not done all steps yet, and samples may still get better."""
        is_out_of_patience = self.config.is_out_of_patience(self.state.evaluations_since_best)
        return self.state.step < self.config.steps and not is_out_of_patience

    def finish(self) -> Trained:
        """Note an early end, and return the model with the weights that are kept."""
        state, config = self.state, self.config
        if state.step < config.steps and is_main():
            self.files.write_config(run_records.read_config(self.folder) | {"end_step": state.step})
        write_end_report(self.folder, self.config, self.bar)
        agree()  # what rank 0 has written is there
        if self.keeps_best or self.is_sharded or self.fits_prior:
            return load_trained(self.folder, self.device, **self.model.own_networks)
        return self.current_model()

    def train(self) -> Iterator[int]:
        """Do the steps that are left, and say what a person should know; raises as `run.train` does."""
        state, steps, lines, folder = self.state, self.config.steps, self.log_lines, str(self.folder)
        self.start_time: float = time.monotonic() - (lines[-1]["seconds"] if lines else 0.0)
        self.save_deadline: float = time.monotonic() + FIRST_SAVE_SECONDS
        self.curves_deadline: float = self.save_deadline
        try:
            with nullcontext(self.stop) if self.stop else catch_stop_signals(self.stop_message) as stop:
                if state.step == 0:
                    self.save()
                (stop.signal,) = agree(stop.look([self.folder]))  # while the data were read, say
                self.end_if_asked(stop)
                if is_main():
                    arguments = self.model, self.raw_data, self.config, state, lines, self.evaluator
                    self.evaluator = validation.make_evaluator(*arguments)
                self.bar.print_notes(self.evaluator.notes if self.evaluator else [])
                batch = self.config.examples_per_step * world_size()
                with self.bar.track_training(steps, lambda: state.step, batch, folder) as progress:
                    yield from rollback.run_steps(self, lines, stop, progress)
        except DivergenceError as error:
            raise rollback.end_error(self, error) from error
        except TrainingStopped:
            write_end_report(self.folder, self.config, self.bar)
            raise
        except UserError as error:
            error.is_of_rank = not is_main()  # rank 0 does not learn of it
            raise
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error) and self.stop is None:  # of a group, whoever trains it says so
                raise memory.end_error([self], folder, error) from error
            if not isinstance(error, RuntimeError) or not (isinstance(error, RankError) or is_loss_of_rank(error)):
                raise
            why = error if isinstance(error, RankError) else "another rank has ended, so this one cannot go on"
            message = f"{why}; {folder} keeps the checkpoint of step {self.saved_step} of {steps}"
            raise RankError(f"{message}; go on with: ganvas resume {folder}") from error
        except KeyboardInterrupt as error:
            message = f"ended at once; {folder} keeps the checkpoint of step {self.saved_step} of {steps}"
            raise TrainingStopped(f"{message}; go on with: ganvas resume {folder}", signal.SIGINT) from error
        if state.step < steps:
            why = f"after {state.evaluations_since_best} measurements of samples without improvement"
            advice = f"to go on all the same: ganvas resume {folder} --steps {steps}"
            self.bar.say(f"ended at step {state.step} of {steps}, {why}; {advice}")
        self.bar.print_notes(self.data.failure_notes)
        self.bar.print_notes(validation.time_share_notes(run_records.read_log(self.folder)))
        self.bar.say(self.kept_weights_message())

    def run_steps(
        self, lines: Sequence[dict[str, Any]], stop: StopRequest, progress: TrainingProgress
    ) -> Iterator[int]:
        """Do the steps that are left, and yield as `advance` does.

        Raises TrainingStopped, once the state is saved, after a request to stop.
        """
        steps, checkpoint_every = self.config.steps, self.config.checkpoint_every
        yield self.state.step
        for step in memory.watch(self.steps):
            if notes := self.state.notes[self.n_notes_shown :]:
                self.bar.print_notes(notes)
                self.n_notes_shown += len(notes)
            is_last = step == steps
            is_checkpoint = is_last or step % checkpoint_every == 0
            if is_checkpoint or step % self.log_every == 0:
                terms = self.state.meter.pop_means()
                rollback.check(self)
                self.gather()
                if is_main():
                    lines = recent_lines([*lines, self.log_step(terms, is_checkpoint, progress)])
                    is_last = is_last or self.config.is_out_of_patience(self.state.evaluations_since_best)
                    diagnoses = examine(self.model, step if is_last else steps, lines, self.config)
                    progress.warn([diagnosis.sentence for diagnosis in diagnoses if diagnosis.is_alarm])
            is_late = time.monotonic() >= self.save_deadline
            stop.signal, *flags = agree(stop.look([self.folder]), is_last, is_late)
            is_last, is_late = map(bool, flags)
            if is_checkpoint or stop.signal or is_late:
                self.state.meter.fetch()  # nothing is saved that was not finite
                self.save(is_end=is_last or bool(stop.signal))
                self.saved_step, self.save_deadline = step, time.monotonic() + SAVE_INTERVAL_SECONDS
                self.draw_progress(is_end=is_last or bool(stop.signal))
                progress.show_save()
            if is_last:
                break
            self.end_if_asked(stop)
            yield step

    def end_if_asked(self, stop: StopRequest) -> None:
        """TrainingStopped where somebody has asked for it; the state of this step is saved."""
        if stop.signal:
            message = f"stopped at step {self.state.step} of {self.config.steps}"
            go_on = f"go on with: ganvas resume {self.folder}{self.comparison_with_kept()}"
            raise TrainingStopped(f"{message}; {go_on}", stop.signal)

    def log_step(self, terms: dict[str, float], is_checkpoint: bool, progress: TrainingProgress) -> dict[str, Any]:
        """Write the log's line for the step that is done, and return it; write the weights if samples are the best.

        `terms` are the means of the loss terms since the last line.
        """
        state, evaluator, model = self.state, self.evaluator, self.model
        is_sound = not state.meter.skipped_in_row  # else who looks at the networks may find NaN
        has_monitor = type(model).monitor is not Model.monitor and min(map(len, self.data.datasets)) > 1
        batch = self.examples.first(model.monitor_batch_size) if has_monitor and is_sound else None
        report = monitor_statistics(model, self.whole, self.config, batch, terms, is_checkpoint)
        if evaluator and is_sound and (state.step == self.config.steps or state.step % evaluator.interval == 0):
            trained = self.sampling_model()
            samples = evaluator.measure(trained)
            if validation.update_best(state, samples["value"], samples["error"]) and self.keeps_best:
                replace(trained, metadata=trained.metadata | {"samples": samples}).save(self.files.weights)
            best = {"lowest_distance": state.lowest_distance, "best_step": state.best_step}
            report["samples"] = samples | best | {"seconds": round(evaluator.seconds, 4)}
            evaluator.seconds = 0.0
        if self.fits_prior and "latent" in report:
            report["latent"]["fits_prior"] = 1
        if (schedule := model.schedule(state.step - 1)) != Schedule():
            report["schedule"] = schedule._asdict()
        line = {"step": state.step, "seconds": round(time.monotonic() - self.start_time, 3)} | terms
        line |= (model.estimates(terms) if terms else {}) | report | ({"notes": state.notes} if state.notes else {})
        line |= {"skipped": len(skipped)} if (skipped := state.meter.pop_skipped()) else {}
        state.notes, self.n_notes_shown = [], 0
        self.files.append_log(line)
        progress.show_terms(terms, report)
        progress.warn(self.data.failure_notes)
        return line

    @property
    def keeps_best(self) -> bool:
        """Whether the weights to use are the best, and not the last."""
        return self.model.keep_best_checkpoint and self.config.keep == "best"

    @property
    def is_best(self) -> bool:
        """Whether the latest weights are the best, as far as any were measured."""
        return self.state.lowest_distance is None or self.state.best_step == self.state.step

    def save(self, *, is_end: bool = False) -> None:
        """Write checkpoint, weights (the last, where the best are kept elsewhere) and a preview."""
        check_finite(self.state)
        check_equal(shared_tensors(self.state.nets), self.state.step)
        self.gather()
        if is_main() and not self.state.meter.skipped_in_row:
            trained = self.sampling_model()
            if self.keeps_best:
                trained.save(self.files.last_weights)
            if not self.keeps_best or self.state.lowest_distance is None:  # none measured, so there are no better ones
                trained.save(self.files.weights)
            self.save_preview(trained)
        # last, since it says that the step is done: a run that is killed before goes on from the one before
        self.save_checkpoint()
        if is_end and is_main() and self.fits_prior:
            self.fit_prior(self.current_model()).save(self.files.weights)

    @cached_property
    def fits_prior(self) -> bool:
        """Whether it ends with a prior fitted to the codes."""
        return validation.fits_prior(self.model, self.raw_data)

    def fit_prior(self, trained: Trained) -> Trained:
        """The model with a mixture fitted to its codes, where likelier than N(0, I): samples then come from that."""
        fitted = trained.fit_prior(self.raw_data.in_memory, kinds=["mixture"], seed=self.config.seed)
        assert fitted.priors is not None
        standard, mixture = fitted.priors.held_out.values()
        if mixture <= standard:
            return trained
        gain = f"held-out codes are {format_number(mixture - standard, 2)} nats likelier than under N(0, I)"
        self.bar.say(f"samples come from a mixture fitted to the codes: {gain} (--fitted-prior standard)")
        return fitted

    def save_preview(self, trained: Trained) -> None:
        """Draw examples and what the model makes of them, or samples, with the same noise every time."""
        batch = self.examples.first(self.preview_size)
        reseed(self.device, self.config.seed, "preview")
        picture = draw_preview(trained, batch, self.state.scaling)
        with atomic_write(self.files.preview(self.state.step)) as temporary:
            picture.save(temporary, "PNG")

    def save_checkpoint(self) -> None:
        """Write the state, with what it is the state of."""
        metadata: dict[str, Any] = {"ganvas": __version__, "model": model_name(self.model)}
        metadata |= {"fields": to_dict(self.model), "batch_size": self.config.examples_per_step}
        metadata |= {"world_size": world_size()} if world_size() > 1 else {}
        rollback.save_checkpoint(self, metadata, gather_rank_state(self.state.nets))

    def make_copy(self) -> TrainState:
        """A state with whole networks on the processor, for `gather` to fill."""
        n_classes, device = len(self.data.classes), torch.device("cpu")
        return initialize_state(self.model, self.data.shape, self.config.seed, device, n_classes)

    def gather(self) -> None:
        """Bring rank 0's copy of sharded networks up to date; all ranks must call it."""
        if self.is_sharded and self.whole_step != self.state.step:
            from .sharding import gather_networks

            gather_networks(self.state, self.whole)
            self.whole_step = self.state.step

    def draw_progress(self, is_end: bool) -> None:
        """Draw what the log says, where the last drawing is long enough ago; at the end always, and all previews."""
        start_time = time.monotonic()
        if not is_main() or (not is_end and start_time < self.curves_deadline):
            return
        if lines := run_records.read_log(self.folder):
            with atomic_write(self.files.curves) as temporary:
                draw_curves(lines).save(temporary, "PNG")
        if is_end and (content := encode_previews(self.files.previews())):
            with atomic_write(self.files.animation) as temporary:
                temporary.write_bytes(content)
        now = time.monotonic()
        self.curves_deadline = now + (now - start_time) / 0.02  # so that drawing takes 2% of a run's time at most

    def sampling_model(self) -> Trained:
        """The averaged networks; where the run ends with a fitted prior, with one that takes no time, a Gaussian."""
        trained, data, seed = self.current_model(), self.raw_data.in_memory, self.config.seed
        if not self.fits_prior or self.state.step == 0:
            return trained
        if self.prior_step != self.state.step:  # a measurement of samples and a save at the same step need the same
            assert isinstance(data, Dataset)
            assert isinstance(self.model, Variational)
            n = max(MIN_PRIOR_EXAMPLES, MIN_CODES_PER_DIMENSION * self.model.code_size(data.shape))
            fitted = trained.fit_prior(data.sample(n, seed, "prior"), kinds=["gaussian"], seed=seed, copies=1)
            self.priors, self.prior_step = fitted.priors, self.state.step
        return replace(trained, priors=self.priors)

    def current_model(self) -> Trained:
        """The averaged networks, with what a user of them wants to know."""
        data, ema_nets = self.data, current_ema(self.whole, ema_decay_of(self.model, self.config))
        metadata = {"data": data.name, "classes": list(data.classes), "step": self.state.step} | self.description
        D = self.whole.nets["D"] if keeps_discriminator(self.model) else None
        scaling = self.state.scaling
        return Trained(self.model, data.shape, ema_nets, metadata, self.folder, scaling=scaling, discriminator=D)

    @cached_property
    def description(self) -> dict[str, Any]:
        """What weights say of their model and data besides name, classes and step."""
        data, description = self.data, run_records.describe_own(self.model)
        if isinstance(data, DomainPair):
            return description | {"domains": data.headers}
        if data.range and not data.in_memory.is_deep:
            description["range"] = list(data.range)
        if absent_classes := [i for i, n in enumerate(class_counts(data).values()) if not n]:
            description["absent_classes"] = absent_classes
        return description

    @property
    def preview_size(self) -> int:
        """Examples of a preview."""
        return PREVIEW_VECTORS if self.data.in_memory.datasets[0].kind == "vector" else PREVIEW_COLUMNS

    @cached_property
    def examples(self) -> Batch | PairBatch:
        """What previews and the log's statistics look at every time: as many examples as one of them asks for."""
        n = min(max(self.preview_size, self.model.monitor_batch_size), *map(len, self.data.in_memory.datasets))
        stream: Iterator[Any] = make_stream(self.data.in_memory, self.state.scaling, batch=n, seed=self.config.seed)
        return next(stream).to(self.device)  # type: ignore[no-any-return]

    def comparison_with_kept(self) -> str:
        """Which weights a stopped run keeps, where they are not its last, and how the samples of both compare."""
        if self.evaluator is None or not self.keeps_best or self.is_best:
            return ""
        now = self.evaluator.measure(self.current_model())  # counted in the state, it would change the resumed run
        best = read_header(self.files.weights).get("samples", {}).get("value")
        now_text, best_text = ("none" if value is None else format_number(value) for value in (now["value"], best))
        name = now["metric"].partition(":")[0]
        return f" ({self.kept_weights_message()}; {name} {now_text} now, {best_text} of those kept)"

    def kept_weights_message(self) -> str:
        """Which weights the run has kept."""
        step, best = self.state.step, self.state.best_step
        if not self.keeps_best or self.is_best:
            return f"weights kept: step {step}"
        return f"weights kept: step {best}, whose samples are the best; those of step {step} are in {LAST_WEIGHTS_FILE}"

    def stop_message(self) -> str:
        """What is said at once to whoever asks a run to stop; nothing by several ranks, which first have to agree."""
        if world_size() > 1:
            return ""
        lost = self.state.step - self.saved_step
        cost = f"{lost} step{'' if lost == 1 else 's'}, back to step {self.saved_step}" if lost else "that step"
        finish = "the step under way is finished, then all is saved"
        return f"stopping: {finish}; a second Ctrl-C ends at once and loses {cost}"
