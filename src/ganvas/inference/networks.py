"""The networks of a trained model, made from the tensors of a file; the discriminator of a GAN among them.

Weights hold the discriminator only where the run was asked to keep it; a checkpoint always does.
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..data.stored_scaling import scaling_from_state
from ..errors import UserError
from ..io.run_folder import CHECKPOINT_FILE, RunFolder
from ..io.safetensors import read_safetensors, select_prefix
from ..model import Model, model_name
from ..models import MODELS
from ..models._gan import Adversarial
from ..nn.skeleton import allocate
from .schema import check_networks

if TYPE_CHECKING:
    from .trained import Trained


def load_networks(
    model: Model, shape: tuple[Any, ...], classes: int, tensors: Mapping[str, Tensor], training: bool, message: str
) -> nn.ModuleDict:
    """The networks that these tensors are of, on the CPU, fit for use; those in `training`, or those that are kept.

    InvalidFileError, which begins with the message, unless the tensors are theirs.
    """
    nets = allocate(check_networks(model, shape, classes, tensors, training, message))
    if model.own_networks or type(model) is not MODELS.get(model_name(model)):  # the user's own hold more than a file
        nets = nn.ModuleDict({name: net for name, net in model.networks(shape, classes).items() if name in nets})
    nets.load_state_dict(tensors)
    return nets.eval().requires_grad_(False)


def keeps_discriminator(model: Model) -> bool:
    """Whether the weights of such a model hold the discriminator."""
    return isinstance(model, Adversarial) and model.keep_discriminator


def find_checkpoint(trained: "Trained") -> Path:
    """The checkpoint that has D of a GAN whose weights do not; UserError where there is none."""
    file = None if trained.folder is None else RunFolder(trained.folder).checkpoint
    if file is None or not file.exists():
        where = f"{CHECKPOINT_FILE} is not in {trained.folder}" if file else "there is no run folder with a checkpoint"
        advice = "train with keep_discriminator=true to keep it with the weights"
        raise UserError(f"the discriminator is not among these weights, and {where}: {advice}")
    return file


def load_discriminator(trained: "Trained") -> nn.Module:
    """D of a GAN, fit for use: that kept with its weights, else that of its run's last checkpoint.

    UserError where it is lost, in shards, or does not fit.
    """
    if trained.discriminator is not None:  # which may be the one that a run goes on training
        return deepcopy(trained.discriminator).eval().requires_grad_(False).to(trained.device)
    file = find_checkpoint(trained)
    header, tensors = read_safetensors(file)
    if header.get("shards") is not None:
        raise UserError(f"{file} has the discriminator in shards: train with keep_discriminator=true to keep it whole")
    scaling_from_state(tensors, header, trained.model)  # takes out what is no network's
    nets, message = select_prefix(tensors, "nets/"), f"{file} is the checkpoint of another model"
    classes = len(trained.metadata.get("classes", []))
    D: nn.Module = load_networks(trained.model, trained.shape, classes, nets, True, message)["D"]
    return D.to(trained.device)
