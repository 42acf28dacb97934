"""The models, in the order of `ganvas train --help`.  To add one: write its file, import it here.

A model in a file of the user's own needs no line: see `_own`.
"""

from ..errors import UserError
from ..fields import as_dataclass
from ..model import Model
from ._own import is_own, own_model_classes

# isort: off
from .autoencoder import Autoencoder as Autoencoder
from .vae import VAE as VAE
from .iwae import IWAE as IWAE
from .betatcvae import BetaTCVAE as BetaTCVAE
from .laddervae import LadderVAE as LadderVAE
from .gan import GAN as GAN
from .dcgan import DCGAN as DCGAN
from .cgan import CGAN as CGAN
from .wgan import WGAN as WGAN
from .wgangp import WGANGP as WGANGP
from .r3gan import R3GAN as R3GAN
from .ctgan import CTGAN as CTGAN
from .cyclegan import CycleGAN as CycleGAN
from .discogan import DiscoGAN as DiscoGAN
from .cut import CUT as CUT
# isort: on

MODELS: dict[str, type[Model]] = {
    name.lower(): as_dataclass(cls)
    for name, cls in list(vars().items())
    if isinstance(cls, type(Model)) and cls is not Model
}
"""by name, as on the command line and in files"""


def find_model_class(name: str) -> type[Model] | None:
    """The model of this name: one of ours, or else the user's own class of this name that was defined last."""
    return MODELS.get(name) or next((cls for cls in own_model_classes() if cls.__name__.lower() == name), None)


def check_name(cls: type[Model]) -> None:
    """UserError for a model of the user's own by whose name its runs would be loaded as one of ours."""
    if is_own(cls) and cls.__name__.lower() in MODELS:
        raise UserError(f"{cls.__name__} has the name of one of Ganvas's models: give it another one")
