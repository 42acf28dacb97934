"""Metrics of generative models; `METRICS` has those of samples, by the name that `--metrics` gives them.

To add one, write its file: each function under `@metric` in this folder is listed, in the order of their `rank`.
"""

from importlib import import_module
from pkgutil import iter_modules

from .copies import memorisation_test
from .distances import energy_distance, sliced_wasserstein
from .fid import frechet_distance
from .kid import kernel_distance
from .metric import Comparison, Examples, Metric, Number, Score
from .modes import ModeCoverage, mode_coverage
from .one_nn import one_nn_accuracy
from .prdc import precision_recall

__all__ = [
    "METRICS", "NUMBERS", "Comparison", "Examples", "Metric", "ModeCoverage", "Number", "Score", "energy_distance",
    "frechet_distance", "kernel_distance", "memorisation_test", "mode_coverage", "one_nn_accuracy", "precision_recall",
    "sliced_wasserstein",
]  # fmt: skip


_modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
_metrics = [value for module in _modules for value in vars(module).values() if isinstance(value, Metric)]
METRICS = {metric.name: metric for metric in sorted(_metrics, key=lambda metric: (metric.rank, metric.name))}
NUMBERS = {name: number for metric in METRICS.values() for name, number in metric.numbers.items()}
"""what is known of each number that `compare` shows"""
