"""Ganvas: autoencoders, variational autoencoders and generative adversarial networks, trained from scratch.

run = ganvas.train(ganvas.VAE(latent=16), "emoji", steps=2000)
run.sample(64).save("grid.png")
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

# Before torch is imported: threads that wait for work sleep, after spinning for a tenth of a millisecond.  Without
# this, two processes on the same cores slow each other down twenty times; without the spinning, small networks
# pay for waking a thread at every operation.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .config import TrainConfig as TrainConfig
    from .data import DataOptions as DataOptions
    from .data import Dataset as Dataset
    from .data import from_array as from_array
    from .evaluation import evaluate as evaluate
    from .evaluation.compare import compare as compare
    from .explore import arithmetic as arithmetic
    from .explore import interpolate as interpolate
    from .explore import manifold as manifold
    from .explore import traverse as traverse
    from .inference.trained import Trained as Trained
    from .inference.trained import load_trained
    from .model import Batch as Batch
    from .model import Model as Model
    from .model import minimize as minimize
    from .models import *  # noqa: F403
    from .training.many import resume_many as resume_many
    from .training.many import train_many as train_many
    from .training.run import resume as resume
    from .training.run import train as train

    load = load_trained

# Imported on first use, so that `ganvas --help` does not wait for torch.
_PUBLIC = {
    "Batch": "model.Batch", "DataOptions": "data.DataOptions", "Dataset": "data.Dataset", "Model": "model.Model",
    "TrainConfig": "config.TrainConfig", "Trained": "inference.trained.Trained", "arithmetic": "explore.arithmetic",
    "compare": "evaluation.compare.compare", "evaluate": "evaluation.evaluate", "from_array": "data.from_array",
    "interpolate": "explore.interpolate", "load": "inference.trained.load_trained", "manifold": "explore.manifold",
    "minimize": "model.minimize", "resume": "training.run.resume", "resume_many": "training.many.resume_many",
    "train": "training.run.train", "train_many": "training.many.train_many", "traverse": "explore.traverse",
}  # fmt: skip
"""beside the models, which are classes of `models`"""
_RENAMED = {"Collection": "Dataset", "Plan": "TrainConfig", "View": "DataOptions"}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name == "__all__":
            return __dir__()
        is_model = name[:1].isupper() and name not in _RENAMED  # a module's name does not import the models
        module, _, attribute = _PUBLIC.get(name, f"models.{name}" if is_model else "").rpartition(".")
        if module and hasattr(imported := import_module(f".{module}", __name__), attribute):
            globals()[name] = getattr(imported, attribute)
            return globals()[name]
        hint = f": it is called {_RENAMED[name]} now" if name in _RENAMED else ""
        raise AttributeError(f"module 'ganvas' has no attribute {name!r}{hint}")

    def __dir__() -> list[str]:
        return sorted([*_PUBLIC, *(cls.__name__ for cls in import_module(".models", __name__).MODELS.values())])
