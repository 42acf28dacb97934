"""The models.  To add one: write its file, name it here."""

from ..model import Model
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

__all__ = [
    "CGAN", "DCGAN", "GAN", "IWAE", "MODELS", "R3GAN", "VAE", "WGAN", "WGANGP", "Autoencoder", "BetaTCVAE", "CycleGAN",
    "DiscoGAN", "LadderVAE",
]  # fmt: skip
