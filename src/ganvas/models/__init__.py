"""The models.  To add one: write its file, name it here."""

from ..model import Model
from .autoencoder import Autoencoder
from .betatcvae import BetaTCVAE
from .gan import GAN
from .iwae import IWAE
from .laddervae import LadderVAE
from .vae import VAE

MODELS: dict[str, type[Model]] = {m.__name__.lower(): m for m in (Autoencoder, VAE, IWAE, BetaTCVAE, LadderVAE, GAN)}

__all__ = ["GAN", "IWAE", "MODELS", "VAE", "Autoencoder", "BetaTCVAE", "LadderVAE"]
