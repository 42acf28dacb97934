"""Is an example strange?  Scores of examples, and their p-values by the scores of held-out examples."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from ..data import DataOptions, Dataset, Source, resolve_domains
from ..errors import UserError
from ..inference.networks import load_discriminator
from ..inference.scores import ERRORS, comparisons, load_all, load_inputs, resolve_score, score_dataset, score_kinds
from ..inference.trained import Trained
from ..metrics.conformal import conformal_p_values
from ..metrics.features.base import Progress, say_nothing
from ..training.run_records import load_run


@dataclass(frozen=True, eq=False)
class ScoredExamples:
    """Examples with a score each, larger is stranger, and what is said of them."""

    data: Dataset
    kind: str
    scores: Float64[Tensor, " n"]
    p_values: Float64[Tensor, " n"] | None
    """None where there are no held-out examples to calibrate by"""
    calibration: str
    """name of the held-out examples; or why there are no p-values"""
    n_calibration: int = 0

    def rows(self, threshold: float) -> list[dict[str, Any]]:
        """A row an example: its file or its index, class if any, score, p-value, and whether p <= threshold.

        Of ordinary examples at most that share has such a p, on average.
        """
        n, data, name = len(self.data), self.data, "file" if self.data.files else "index"
        classes = [] if data.labels is None else [data.classes[i] for i in data.labels.tolist()]
        p_values = [None] * n if self.p_values is None else self.p_values.tolist()
        return [
            {name: data.example_name(i)} | ({"class": classes[i]} if classes else {})
            | {"score": score, "p_value": p, "anomaly": None if p is None else p <= threshold}
            for i, (score, p) in enumerate(zip(self.scores.tolist(), p_values, strict=True))
        ]  # fmt: skip


def score_examples(
    trained: Trained | str | Path,
    data: Source,
    options: DataOptions | None = None,
    *,
    kind: str | None = None,
    calibrate: Source | None = None,
    calibrate_options: DataOptions | None = None,
    importance_samples: int | None = None,
    seed: int = 0,
    to: str = "B",
    progress: Progress = say_nothing,
) -> ScoredExamples:
    """Score examples as `Trained.score` does; p-values by `calibrate`, by default the run's own test split.

    Examples to calibrate by must be ordinary, and the run must not have learnt from them.  UserError for what cannot be
    read or scored.
    """
    trained = load_run(trained)
    kind = resolve_score(trained, kind, importance_samples)
    if kind == "discriminator":  # one for all, though a run may go on and replace its checkpoint
        trained = replace(trained, discriminator=load_discriminator(trained))
    dataset = load_all(trained, data, options, to)
    held_out = (
        load_calibration(trained, to) if calibrate is None else load_all(trained, calibrate, calibrate_options, to)
    )
    score = partial(score_dataset, trained, kind=kind, importance_samples=importance_samples, seed=seed, to=to)
    progress(f"{kind} of {len(dataset)} examples")
    scores = score(dataset)
    if isinstance(held_out, str):
        return ScoredExamples(dataset, kind, scores, None, held_out)
    progress(f"{kind} of {len(held_out)} held-out examples of {held_out.name}")
    p_values = conformal_p_values(scores, score(held_out))
    return ScoredExamples(dataset, kind, scores, p_values, held_out.name, len(held_out))


def load_calibration(trained: Trained, to: str) -> Dataset | str:
    """The test split of the run's own data, of a translator that of the domain translated `to` B or A; or why not."""
    if (training_data := trained.training_data) is None:
        return "nothing says where the run's data are"

    def read(sources: Any, options: DataOptions) -> Dataset:
        sources = sources if trained.model.n_domains == 1 else resolve_domains(sources)[trained.domains(to)[0]]  # type: ignore[index]
        return load_inputs(trained, sources, options, to)

    try:
        test = training_data.load_test_split(read)
    except UserError as error:
        return str(error)
    return "the run held out no examples" if test is None else test


def shown_errors(trained: Trained, data: Dataset, kind: str, seed: int = 0, to: str = "B") -> tuple[Tensor, ...]:
    """Images as they are seen on white, what they are compared with, and the squared error of each pixel.

    The first two are n x c x h x w with pixels in [0, 1], the error n x h x w; of signals and volumes likewise.  A
    score that compares nothing is shown by the reconstructions; of a model that has none there are the images alone.
    """
    scaling = trained.domain_scaling(trained.domains(to)[0] if trained.model.n_domains == 2 else 0)
    # of deep images the first channel, or three; of those with alpha the three that are seen on white
    channels = slice(3 if data.shape[0] > 2 else 1) if not scaling.may_have_alpha else slice(-3, None)
    channels = slice(None) if data.kind == "signal" else channels
    if kind not in ERRORS and "reconstruction" not in score_kinds(trained):
        x = scaling.to_unit(data.x)
        return (scaling.composite(x)[:, channels],)
    x, r = (torch.cat(parts) for parts in zip(*comparisons(trained, data, kind, seed, to), strict=True))
    return x[:, channels], r[:, channels].clamp(0, 1), (x - r).square().mean(1)
