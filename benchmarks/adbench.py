"""Does the detector find outliers in tables as well as others do?  Sets of ADBench, by the protocol of PyOD.

    python3 dev.py run python benchmarks/adbench.py ../shared/data/adbench [OUT] --splits 20

Each split learns from 60% of the rows, drawn at random, outliers among them and no labels, and scores the other 40%.
Beside `ganvas.sklearn.AutoencoderDetector` with its defaults are three methods with those of PyOD, on standardised
columns: KNN, the distance to the fifth nearest row; IForest, scikit-learn's isolation forest; PCA, the sum of a row's
distances to the principal axes over their shares of the variance.  Their scores equal those of PyOD 3.6.7.  Ranks are
of mean AUROCs in a set, 1 is best.  The neighbours of our score were chosen on half of the sets, DEVELOPED, the weights
of its other parts with a look at the rest.  The sets are those of Han et al., ADBench, arXiv:2206.09426; the protocol
is that of Zhao et al., PyOD, JMLR 20, 2019.  Results are kept in OUT (runs/adbench) and taken from there the next time.
"""

import time
from collections.abc import Callable
from statistics import mean
from typing import Any


import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from ganvas.sklearn import AutoencoderDetector
from _support import collect, parser, print_table

DEVELOPED = ("18_Ionosphere", "24_mnist", "28_pendigits", "31_satimage-2", "40_vowels", "4_breastw")
"""the sets on which the neighbours were chosen"""


def score_by_detector(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    return -AutoencoderDetector(random_state=seed).fit(train).score_samples(test)


def score_by_neighbors(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    distances: np.ndarray = NearestNeighbors(n_neighbors=5).fit(train).kneighbors(test)[0]
    return distances[:, -1]


def score_by_isolation(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    return -np.asarray(IsolationForest(random_state=seed).fit(train).score_samples(test))


def score_by_components(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    pca = PCA().fit(train)
    shares = pca.explained_variance_ratio_
    distances: np.ndarray = cdist(test, pca.components_[shares > 1e-12]) / shares[shares > 1e-12]
    return distances.sum(1)


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "ours": score_by_detector, "KNN": score_by_neighbors, "IForest": score_by_isolation, "PCA": score_by_components,
}  # fmt: skip


def measure(file: str, seed: int) -> dict[str, Any]:
    """AUROC, average precision and seconds of each method, on one split of a set."""
    with np.load(file) as content:
        x, y = content["X"].astype(np.float64), content["y"].astype(int)
    train, test, _, is_outlier = train_test_split(x, y, test_size=0.4, random_state=seed)
    scaler = StandardScaler().fit(train)
    result: dict[str, Any] = {}
    for name, score in METHODS.items():
        start = time.process_time()
        scores = score(scaler.transform(train), scaler.transform(test), seed)
        auroc, precision = roc_auc_score(is_outlier, scores), average_precision_score(is_outlier, scores)
        result[name] = {"AUROC": auroc, "AP": precision, "seconds": time.process_time() - start}
    return result


def main() -> None:
    given = parser(__doc__, data="folder of ADBench's .npz files", out="adbench", workers=0, splits=20).parse_args()
    torch.set_num_threads(1)
    files = sorted(given.data.glob("*.npz"))
    if not files:
        raise SystemExit(f"{given.data} has no .npz files: give the folder of ADBench's")
    jobs = {f"{f.stem}-{seed}": (str(f), seed) for seed in range(given.splits) for f in files}
    results = collect(measure, jobs, given.out, given.workers)

    def average(name: str, method: str, kind: str) -> float:
        return mean(results[f"{name}-{seed}"][method][kind] for seed in range(given.splits))

    for kind in ("AUROC", "AP"):
        values = {f.stem: [average(f.stem, method, kind) for method in METHODS] for f in files}
        rows = [[name, *(f"{x:.3f}" for x in row)] for name, row in values.items()]
        groups = {"all": list(values), "developed": [n for n in values if n in DEVELOPED]}
        groups["confirmed"] = [name for name in values if name not in DEVELOPED]
        for group, names in groups.items():
            table = np.array([values[name] for name in names])
            if len(table):
                rows.append([f"mean, {group}", *(f"{x:.3f}" for x in table.mean(0))])
                rows.append([f"mean rank, {group}", *(f"{x:.2f}" for x in rankdata(-table, axis=1).mean(0))])
        print_table(f"{kind}, {given.splits} splits", list(METHODS), rows)
    seconds = [f"{max(average(f.stem, method, 'seconds') for f in files):.1f}" for method in METHODS]
    print_table("most CPU seconds in a set", list(METHODS), [["", *seconds]])


if __name__ == "__main__":
    main()
