"""The models.  To add one: write its file, name it here."""

from ..model import Model
from .autoencoder import Autoencoder
from .gan import GAN
from .vae import VAE

MODELS: dict[str, type[Model]] = {m.__name__.lower(): m for m in (Autoencoder, VAE, GAN)}

__all__ = ["GAN", "MODELS", "VAE", "Autoencoder"]
