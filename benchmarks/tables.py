"""Are synthetic rows of a table of any use?  Quality, usefulness and copies, beside real rows and published values.

    python3 dev.py run python benchmarks/tables.py ../shared/data/tables [OUT] --seeds 3

Adult has a test part of its own; of other sets a fifth of the rows, drawn by the seed, is held out.  A model learns all
other rows with its defaults, and draws as many.  Quality is SDMetrics' score of all pairs (our own code, to the third
digit equal to it); usefulness what scikit-learn's gradient boosting, with its defaults, predicts of held-out rows when
it has learnt from synthetic ones: the macro F1 of a category, R2 of a number, beside what it predicts when it has
learnt from the real rows.  TabDDPM (Kotelnikov et al., arXiv:2209.15421, tables 4 and 5), whose values are quoted, has
a tuned CatBoost in its place, and tunes each generator for the table; quality and seconds of CTGAN and TVAE are those
that SDGym's stored results have for Adult (2026).  Rare is CTGAN's own protocol (arXiv:1907.00503): the F1
of the rarer class, a mean over a decision tree, AdaBoost, logistic regression and a small MLP.  Seconds are of a
process on this machine, training and prior.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import ganvas  # before torch: it sets how torch's threads wait

import numpy as np

from ganvas.data import Dataset, load
from ganvas.data.tables.columns import Column
from ganvas.data.tables.table import Table
from ganvas.evaluation.tables import evaluate_table
from ganvas.evaluation.tables.estimators import linear_encoder
from ganvas.evaluation.tables.usefulness import fit
from ganvas.inference.sampling import sample_examples
from _support import collect, parser, print_table


class Job(NamedTuple):
    """A table, the column to predict, and what others have published of it."""

    train: str
    test: str
    target: str
    published: str


JOBS = {
    "adult": Job("adult_train.csv.gz", "adult_test.csv.gz", "income",
                 "F1 real .815, TabDDPM .795, TVAE .781, CTABGAN+ .772; quality TVAE .857-.889, CTGAN .851-.879; "
                 "rare real .669, TVAE .626, CTGAN .601"),
    "housing": Job("housing.csv.gz", "", "median_house_value",
                   "R2 real .857, SMOTE .840, TabDDPM .836, TVAE .752, CTABGAN+ .525"),
    "pima": Job("../adbench/29_Pima.npz", "", "y", "F1 real .785, TabDDPM .740, TVAE .714"),
    "thyroid": Job("../adbench/38_thyroid.npz", "", "y", "F1 of Wilt (5 columns, 5% of rows rare): TVAE .501"),
    "satimage-2": Job("../adbench/31_satimage-2.npz", "", "y", "see thyroid"),
}  # fmt: skip
MODELS = {"vae": ganvas.VAE, "ctgan": ganvas.CTGAN}


def load_table(file: Path) -> Table:
    """A table of a file; of ADBench's archives their columns, and y as a category."""
    if file.suffix != ".npz":
        dataset: Dataset = load(str(file))
        assert isinstance(dataset, Table)
        return dataset
    import torch

    with np.load(file) as content:
        x, y = content["X"].astype(np.float64), content["y"].astype(np.float64).ravel()
    columns = [
        Column(f"x{j}", "integer" if (part == part.round()).all() else "real", low=part.min(), high=part.max())
        for j, part in enumerate(x.T)
    ]
    columns.append(Column("y", "category", categories=(0, 1)))
    return Table(
        x=torch.from_numpy(np.column_stack([x, y])), columns=tuple(columns), name=file.stem
    ).with_own_encoding()


def split(job: Job, folder: Path, seed: int) -> tuple[Table, np.ndarray]:
    """The rows to learn from, and the held-out ones."""
    whole = load_table(folder / job.train)
    if job.test:
        other = load_table(folder / job.test)
        assert whole.encoding is not None
        return whole, other.with_columns(whole.columns, whole.encoding).x.numpy()
    order = np.random.default_rng(seed).permutation(len(whole))
    held_out, rest = order[: len(whole) // 5], np.sort(order[len(whole) // 5 :])
    part = whole.select(rest)
    assert isinstance(part, Table)
    return part.with_own_encoding(), whole.x.numpy()[held_out]


def rare_f1(rows: np.ndarray, test: np.ndarray, columns: Sequence[Column], target: str) -> float:
    """F1 of the rarer category of the target in test rows, a mean of four classifiers that learn from `rows`."""
    from sklearn.ensemble import AdaBoostClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.neural_network import MLPClassifier
    from sklearn.tree import DecisionTreeClassifier

    j = [column.name for column in columns].index(target)
    inputs = [i for i in range(len(columns)) if i != j]
    classes, counts = np.unique(test[:, j], return_counts=True)
    encode = linear_encoder(rows[:, inputs], [columns[i] for i in inputs])
    x, y = encode(test[:, inputs]), test[:, j] == classes[counts.argmin()]
    learnt, truth = encode(rows[:, inputs]), rows[:, j] == classes[counts.argmin()]
    models = (
        DecisionTreeClassifier(max_depth=10, random_state=0), AdaBoostClassifier(random_state=0),
        LogisticRegression(max_iter=200), MLPClassifier((50,), max_iter=50, random_state=0),
    )  # fmt: skip
    return mean(float(f1_score(y, fit(model, learnt, truth).predict(x), zero_division=0.0)) for model in models)


def measure(name: str, model: str, seed: int, folder: Path, out: Path, steps: int) -> dict[str, Any]:
    """The numbers of a model's rows, on one split."""
    import time

    job = Job(*JOBS[name])
    train, held_out = split(job, folder, seed)
    options: dict[str, Any] = {"steps": steps} if steps else {}
    start = time.perf_counter()
    run = ganvas.train(
        MODELS[model](),
        train,
        folder=out / f"run-{name}-{model}-{seed}",
        seed=seed,
        quiet=True,
        report="off",
        **options,
    )
    training = time.perf_counter() - start
    rows = sample_examples(run, len(train), seed=seed).x.numpy()
    result = evaluate_table(train.x.numpy(), held_out, rows, train.columns, target=job.target, seed=seed)
    useful, privacy = result.usefulness, result.privacy
    assert useful is not None
    numbers = {source: scores[useful.number] for source, scores in useful.scores["boosting"].items() if scores}
    rare = {
        f"rare_{source}": rare_f1(x, held_out, train.columns, job.target)
        for source, x in (("real", train.x.numpy()), ("synthetic", rows))
        if useful.is_classification
    }
    return rare | {
        "quality": result.quality.score, "shapes": result.quality.column_shapes, "pairs": result.quality.pair_trends,
        "quality_shuffled": result.quality_shuffled.score, "real": numbers["real"],
        "synthetic": numbers.get("synthetic", 0.0), "auc": result.detection.auc if result.detection else None,
        "training_seconds": training, "privacy": None if privacy is None else str(privacy),
    }  # fmt: skip


def main() -> None:
    words = parser(__doc__, data="folder of tables", out="tables", workers=0, seeds=3, steps=0)
    words.add_argument("--only", default=",".join(JOBS), help="sets, by name")
    words.add_argument("--models", default="vae", help="vae, ctgan")
    given = words.parse_args()
    names, models = given.only.split(","), given.models.split(",")
    jobs = {
        f"{name}-{model}-{seed}": (name, model, seed, given.data, given.out, given.steps)
        for name in names for model in models for seed in range(given.seeds)
    }  # fmt: skip
    results = collect(measure, jobs, given.out, given.workers)
    heads, rows = ("quality", "shuffled", "usefulness", "of real", "rare", "of real", "seconds"), []
    for name in names:
        for model in models:
            mine = [results[f"{name}-{model}-{seed}"] for seed in range(given.seeds)]
            columns = {key: [float(one[key]) for one in mine] for key in ("quality", "quality_shuffled", "synthetic")}
            rows.append((
                f"{name}, {model}", show(columns["quality"]), show(columns["quality_shuffled"]),
                show(columns["synthetic"]), show([one["real"] for one in mine]),
                *(show([one[key] for one in mine if key in one]) for key in ("rare_synthetic", "rare_real")),
                f"{mean(one['training_seconds'] for one in mine):.0f}",
            ))  # fmt: skip
    print_table("", heads, rows)
    for name in names:
        print(f"{name}: published {Job(*JOBS[name]).published}")


def show(values: list[float]) -> str:
    """A mean, and the deviation of several."""
    if not values:
        return "-"
    return f"{mean(values):.3f}" + (f" +- {stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
