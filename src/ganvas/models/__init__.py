"""The models.  To add one: write its file, name it here."""

from typing import Any

from pydantic import TypeAdapter

from ..errors import UserError
from ..model import Model
from ..renamed import with_new_names
from .autoencoder import Autoencoder
from .betatcvae import BetaTCVAE
from .cgan import CGAN
from .cyclegan import CycleGAN
from .dcgan import DCGAN
from .discogan import DiscoGAN
from .gan import GAN
from .iwae import IWAE
from .laddervae import LadderVAE
from .r3gan import R3GAN
from .vae import VAE
from .wgan import WGAN
from .wgangp import WGANGP

MODELS: dict[str, type[Model]] = {
    m.__name__.lower(): m
    for m in (
        Autoencoder, VAE, IWAE, BetaTCVAE, LadderVAE, GAN, DCGAN, CGAN, WGAN, WGANGP, R3GAN, CycleGAN, DiscoGAN,
    )
}  # fmt: skip


def build_model(name: str, fields: dict[str, Any]) -> Model:
    """The model with these hyper-parameters; pydantic's ValidationError, a ValueError, where they do not fit."""
    if name not in MODELS:
        raise UserError(f"there is no model {name!r}: this Ganvas knows {', '.join(MODELS)}")
    model: Model = TypeAdapter(MODELS[name]).validate_python(with_new_names(fields, MODELS[name]))
    return model


__all__ = [
    "CGAN", "DCGAN", "GAN", "IWAE", "MODELS", "R3GAN", "VAE", "WGAN", "WGANGP", "Autoencoder", "BetaTCVAE", "CycleGAN",
    "DiscoGAN", "LadderVAE", "build_model",
]  # fmt: skip
