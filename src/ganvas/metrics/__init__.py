"""Metrics of generative models, one a file; `METRICS` has those of samples, by the name that `--metrics` gives them."""

from .classes import CLASSES
from .distances import DISTANCES, energy_distance
from .duplicates import DUPLICATES
from .fid import FID, frechet_distance
from .kid import KID, kernel_distance
from .memorisation import MEMORISATION, memorisation_test
from .metric import Comparison, Examples, Metric, Number, Score
from .modes import MODES, ModeCoverage, mode_coverage
from .ms_ssim import MS_SSIM
from .one_nn import ONE_NN, one_nn_accuracy
from .prdc import PRDC, precision_recall
from .sliced import SLICED_WASSERSTEIN, sliced_wasserstein

METRICS = {
    metric.name: metric
    for metric in (
        FID, KID, PRDC, ONE_NN, MEMORISATION, DUPLICATES, SLICED_WASSERSTEIN, CLASSES, MS_SSIM, DISTANCES, MODES,
    )
}  # fmt: skip
NUMBERS = {name: number for metric in METRICS.values() for name, number in metric.numbers.items()}
"""what is known of each number that `compare` shows"""

__all__ = [
    "METRICS",
    "NUMBERS",
    "Comparison",
    "Examples",
    "Metric",
    "ModeCoverage",
    "Number",
    "Score",
    "energy_distance",
    "frechet_distance",
    "kernel_distance",
    "memorisation_test",
    "mode_coverage",
    "one_nn_accuracy",
    "precision_recall",
    "sliced_wasserstein",
]
