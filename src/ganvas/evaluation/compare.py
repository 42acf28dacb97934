"""`ganvas.compare`: several runs on the same held-out data, each number with its interval, and which is the best."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ..data import Source, View
from ..distributions.priors import STANDARD
from ..errors import UserError
from ..inference.trained import Trained, load_trained
from ..model import Samples, a_name_of, name_of
from ..nn.device import device_for
from ..training import run_folder
from . import Measured, N, measured
from .comparing import Entry, compared
from .samples import Numbers

Run = Trained | str | Path | tuple[Trained, str | None]
"""a run to compare: itself, its name, NAME@PRIOR, or with the fitted prior that its codes are to be drawn from"""


class Opened(NamedTuple):
    """A run, its name in a table, and the prior that its codes are drawn from, if not its own."""

    name: str
    trained: Trained
    prior: str | None


def compare(
    *runs: Run,
    data: Source | None = None,
    view: View | None = None,
    metrics: Sequence[str] = (),
    n: int = N,
    features: str = "auto",
    few: bool = False,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> Numbers:
    """Measure two or more runs of any kind on the same held-out examples, n samples (10,000) each, by the same seed.

    A run is a trained model, a folder or a name, or with a fitted prior "runs/ae@best" or (trained, "best").  The
    examples are those of `data`, or the test split that all runs have; `metrics`, `features` and `few` are those of
    `evaluate`, of the metrics those in `evaluation.comparing.COMPARED`.

    "runs" says of each its costs ("parameters" of the networks that generate, "step" of its weights, "seconds" of
    training) and its "numbers", {"value", "low", "high"}: the ends of a 95% interval from 1,000 resamples of the
    examples, held-out and generated.  "floor" has those of as many other real examples, and "best" for each number the
    place in "runs" of the one that is better than all others: where the interval of each difference excludes 0, or
    None.  Raises UserError for runs that cannot be compared, and as `evaluate` does.
    """
    entries = opened(runs)
    if len(entries) < 2:
        raise UserError("one run has nothing to be compared with: give two or more, or use ganvas evaluate")
    check(entries)
    on = common(entries, data, view)
    found = compared(
        [Entry(e.trained, e.prior, m.train) for e, m in zip(entries, on, strict=True)],
        on[0], metrics, n, features, few, seed, progress,
    )  # fmt: skip
    about = {"data": on[0].held_out.name, "split": on[0].split, "seed": seed}
    listed = [costs(entry) | {"numbers": numbers} for entry, numbers in zip(entries, found.pop("numbers"), strict=True)]
    return about | found | {"runs": listed}


def opened(runs: Sequence[Run]) -> list[Opened]:
    """The runs, each under a name of its own."""
    found: list[Opened] = []
    for run in runs:
        trained, prior = run if isinstance(run, tuple) else (run, None)
        if not isinstance(trained, Trained):
            trained, prior = found_by(str(trained))
        stem = trained.folder.name if trained.folder else name_of(trained.model)
        name = stem + (f"@{prior}" if prior else "")
        taken = sum(other.name == name or other.name.startswith(f"{name} (") for other in found)
        found.append(Opened(f"{name} ({taken + 1})" if taken else name, trained, prior))
    return found


def found_by(name: str) -> tuple[Trained, str | None]:
    """The run of this name, and the prior after an @ in it."""
    stem, at, prior = name.rpartition("@")
    if not at or Path(name).exists():
        stem, prior = name, ""
    return load_trained(run_folder.find(stem), device_for("auto")), prior or None


def check(entries: Sequence[Opened]) -> None:
    """UserError unless all runs generate examples, of one shape, and none is there twice."""
    for name, trained, _ in entries:
        if trained.model.domains == 2 or not isinstance(trained.model, Samples):
            raise UserError(f"{name} is {a_name_of(trained.model)}, which draws no samples: use ganvas evaluate")
    shapes = {"x".join(map(str, e.trained.shape)): e.name for e in reversed(entries)}
    if len(shapes) > 1:
        said = ", ".join(f"{shape} ({name})" for shape, name in shapes.items())
        raise UserError(f"the runs generate examples of different shapes, {said}: compare runs of one shape")
    for i, one in enumerate(entries):
        for other in entries[:i]:
            if same(one, other):
                raise UserError(
                    f"{other.name} and {one.name} have the same weights, so all their numbers are equal: name it once"
                )


def same(a: Opened, b: Opened) -> bool:
    """Whether two models generate the same examples: by the same weights, of codes from the same prior."""
    if (a.prior or STANDARD) != (b.prior or STANDARD) or a.trained.model != b.trained.model:
        return False
    ours, theirs = (run.trained.nets.state_dict() for run in (a, b))
    return ours.keys() == theirs.keys() and all(torch.equal(t.cpu(), theirs[name].cpu()) for name, t in ours.items())


def common(entries: Sequence[Opened], data: Source | None, view: View | None) -> list[Measured]:
    """What each run is measured on, of which the held-out examples are the same; UserError where they differ."""
    found = [measured(entries[0].trained, data, view, True)]
    first, origin = found[0], entries[0].trained.origin()
    for name, trained, _ in entries[1:]:
        if data is not None or (origin is not None and trained.origin() == origin):  # loaded already
            held_out = trained.matching(first.held_out, View())
            found.append(Measured(held_out, first.train, first.split))
            continue
        other = measured(trained, None, None, True)
        if other.held_out.fingerprint() != first.held_out.fingerprint():
            raise UserError(
                f"{entries[0].name} and {name} have different held-out examples, of {first.held_out.name} and "
                f"{other.held_out.name}: give the same for all, as `data`"
            )
        found.append(other)
    return found


def costs(run: Opened) -> Numbers:
    """What a run is, and what it has cost."""
    nets = (net for name, net in run.trained.nets.items() if name != "encoder")
    folder = run.trained.folder
    return {
        "run": run.name, "folder": None if folder is None else str(folder), "model": name_of(run.trained.model),
        "prior": run.prior, "parameters": sum(p.numel() for net in nets for p in net.parameters()),
        "step": run.trained.about.get("step"), "seconds": None if folder is None else run_folder.seconds_logged(folder),
    }  # fmt: skip
