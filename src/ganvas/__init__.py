"""Ganvas: autoencoders, variational autoencoders and generative adversarial networks, trained from scratch.

run = ganvas.train(ganvas.VAE(latent=16), "emoji", steps=2000)
run.sample(64).save("grid.png")
"""

import os
from typing import TYPE_CHECKING, Any

# Before torch is imported: threads that wait for work sleep, after spinning for a tenth of a millisecond.  Without
# this, two processes on the same cores slow each other down twenty times; without the spinning, small networks
# pay for waking a thread at every operation.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .config import TrainConfig
    from .data import DataOptions, Dataset, from_array
    from .evaluation import evaluate
    from .evaluation.compare import compare
    from .explore import arithmetic, interpolate, manifold, traverse
    from .inference.trained import Trained
    from .inference.trained import load_trained as load
    from .models import (
        CGAN,
        DCGAN,
        GAN,
        IWAE,
        R3GAN,
        VAE,
        WGAN,
        WGANGP,
        Autoencoder,
        BetaTCVAE,
        CycleGAN,
        DiscoGAN,
        LadderVAE,
    )  # fmt: skip
    from .training.run import resume, train

# Imported on first use, so that `ganvas --help` does not wait for torch.
_PUBLIC = {
    "Autoencoder": ("models", "Autoencoder"),
    "BetaTCVAE": ("models", "BetaTCVAE"),
    "CGAN": ("models", "CGAN"),
    "CycleGAN": ("models", "CycleGAN"),
    "DCGAN": ("models", "DCGAN"),
    "DiscoGAN": ("models", "DiscoGAN"),
    "R3GAN": ("models", "R3GAN"),
    "WGAN": ("models", "WGAN"),
    "WGANGP": ("models", "WGANGP"),
    "Dataset": ("data", "Dataset"),
    "GAN": ("models", "GAN"),
    "IWAE": ("models", "IWAE"),
    "LadderVAE": ("models", "LadderVAE"),
    "TrainConfig": ("config", "TrainConfig"),
    "Trained": ("inference.trained", "Trained"),
    "VAE": ("models", "VAE"),
    "DataOptions": ("data", "DataOptions"),
    "arithmetic": ("explore", "arithmetic"),
    "compare": ("evaluation.compare", "compare"),
    "evaluate": ("evaluation", "evaluate"),
    "from_array": ("data", "from_array"),
    "interpolate": ("explore", "interpolate"),
    "load": ("inference.trained", "load_trained"),
    "manifold": ("explore", "manifold"),
    "resume": ("training.run", "resume"),
    "train": ("training.run", "train"),
    "traverse": ("explore", "traverse"),
}

__all__ = [
    "CGAN",
    "DCGAN",
    "GAN",
    "IWAE",
    "R3GAN",
    "VAE",
    "WGAN",
    "WGANGP",
    "Autoencoder",
    "BetaTCVAE",
    "CycleGAN",
    "DataOptions",
    "Dataset",
    "DiscoGAN",
    "LadderVAE",
    "TrainConfig",
    "Trained",
    "arithmetic",
    "compare",
    "evaluate",
    "from_array",
    "interpolate",
    "load",
    "manifold",
    "resume",
    "train",
    "traverse",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        now = {"Collection": "Dataset", "Plan": "TrainConfig", "View": "DataOptions"}.get(name)
        raise AttributeError(f"module 'ganvas' has no attribute {name!r}{(now and f': it is called {now} now') or ''}")
    from importlib import import_module

    module, attribute = _PUBLIC[name]
    value = getattr(import_module(f".{module}", __name__), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
