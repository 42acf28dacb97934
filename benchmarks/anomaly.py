"""Is a digit strange to a model that has seen another one only?  AUROC of scores on MNIST, one digit against the rest.

    python3 dev.py run python benchmarks/anomaly.py ../shared/data/mnist.npz [OUT] --digits 2,5,8

A model with its defaults learns the training images of one digit, and priors are fitted to its codes; then all 10,000
test images are scored, of which the other digits are the anomalies.  AUROC is the probability that an image of another
digit is scored higher than one of this digit.  The protocol is that of Ruff et al., Deep One-Class Classification, ICML
2018; published means are those that Perera et al., OCGAN, arXiv:1903.08550, list.  Seconds are of this process on one
core.  Results are kept in OUT (runs/anomaly) and taken from there the next time.
"""

import time
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import torch
from torch import Tensor

from ganvas.data import Dataset, DataOptions, load
from ganvas.inference.scores import score_kinds
from _support import collect, parser, print_table, train_once

MODELS: dict[str, tuple[ganvas.Model, dict[str, Any]]] = {
    "autoencoder": (ganvas.Autoencoder(), {}), "vae": (ganvas.VAE(), {}),
}  # fmt: skip
PUBLISHED = {"OC-SVM": 0.951, "Deep SVDD": 0.948, "VAE": 0.970, "OCGAN": 0.975}


def auroc(ordinary: Tensor, strange: Tensor) -> float:
    """P(a strange example's score > an ordinary one's), ties count half."""
    below, up_to = (torch.searchsorted(ordinary.sort().values, strange, right=right) for right in (False, True))
    return (below + up_to).double().mean().item() / (2 * len(ordinary))


def without_labels(data: Dataset) -> Dataset:
    return replace(data, labels=None, classes=())


def measure(name: str, file: str, digit: int, out: Path) -> dict[str, Any]:
    """AUROC by each score of the model that knows one digit, and the seconds that training and scoring took."""
    train, test = load(file), load(file, DataOptions(split="test"))
    assert train.labels is not None
    assert test.labels is not None
    model, options = MODELS[name]
    start = time.process_time()
    run = train_once(model, without_labels(train.select(train.labels == digit)), out / f"{name}-{digit}", **options)
    if run.priors is None:
        run = run.fit_prior(without_labels(train.select(train.labels == digit)), kinds=["mixture"])
    result: dict[str, Any] = {"training": time.process_time() - start}
    for kind in score_kinds(run):
        start = time.process_time()
        scores, is_strange = run.score(without_labels(test), kind), test.labels != digit
        result |= {kind: auroc(scores[~is_strange], scores[is_strange]), f"{kind} seconds": time.process_time() - start}
    return result


def main() -> None:
    words = parser(__doc__, data="mnist.npz", out="anomaly", workers=0)
    words.add_argument("--digits", default="0,1,2,3,4,5,6,7,8,9", help="those that models learn, e.g. 2,5,8")
    words.add_argument("--model", choices=tuple(MODELS), default="autoencoder")
    given = words.parse_args()
    torch.set_num_threads(1)
    digits, name = [int(digit) for digit in given.digits.split(",")], given.model
    jobs = {f"{name}-{digit}": (name, str(given.data), digit, given.out / "runs") for digit in digits}
    results = collect(measure, jobs, given.out, given.workers)
    kinds = [kind for kind in results[f"{name}-{digits[0]}"] if f"{kind} seconds" in results[f"{name}-{digits[0]}"]]
    rows = [[str(digit), *(f"{results[f'{name}-{digit}'][kind]:.4f}" for kind in kinds),
             f"{results[f'{name}-{digit}']['training']:.0f}"] for digit in digits]  # fmt: skip
    means = (mean(result[kind] for result in results.values()) for kind in kinds)
    rows.append(["mean", *(f"{x:.4f}" for x in means), ""])
    rows += [[f"{method}, published", f"{x:.3f}", *[""] * len(kinds)] for method, x in PUBLISHED.items()]
    print_table(f"{name}, AUROC", (*kinds, "training, CPU s"), rows)


if __name__ == "__main__":
    main()
