"""Networks larger than a device: their tensors are sharded over the ranks by PyTorch's FSDP2, `fully_shard`.

Of each parameter, its gradient, its optimizer's moments and its average a rank has one part, a row or more of its first
dimension, as a DTensor.  Every layer gathers its own weights when it computes, forwards and backwards, and drops them
again; its gradients are averaged as they are dropped.  Buffers, such as the statistics of batch norm, each rank has
whole.

What the run looks at and writes, rank 0 gathers on its processor, one tensor after the other: see `gather_networks`.

Source: https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

import warnings
from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from ..errors import UserError
from ..model import Move
from ..ranks import world_size
from .distributed import full_tensor, is_main
from .ema import tensors
from .loop import Differentiate, StepPlayer, TrainState
from .nonfinite import local_shard

NOT_ALLOCATED = "data is not allocated"
"""what PyTorch says where it needs weights that were dropped"""


def shard_networks(device: torch.device, *groups: nn.ModuleDict) -> None:
    """Shard networks, which are on the processor and the same on every rank, over the devices of all."""
    mesh = init_device_mesh(device.type, (world_size(),))
    # about views that are changed in place: a whole network has no weights of its own to gather
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    for network in chain(*(group.values() for group in groups)):
        for name, parameter in network.named_parameters():
            if parameter.ndim == 0:
                raise UserError(f"fsdp shards rows, but {name} is a single number: give it a dimension")
            parameter.data = parameter.data.contiguous()  # FSDP2 takes no other memory layout
        layers = [module for module in network.modules() if module is not network and has_own_parameters(module)]
        for module in (*reversed(layers), network):  # parts first: a module takes what they have left
            fully_shard(module, mesh=mesh, reshard_after_forward=True)


def has_own_parameters(module: nn.Module) -> bool:
    """Whether it has parameters besides those of its parts."""
    return next(module.parameters(recurse=False), None) is not None


def sharded_modules(networks: Iterable[nn.Module]) -> list[FSDPModule]:
    """What gathers weights of its own, or whose parts do."""
    return [module for network in networks for module in network.modules() if isinstance(module, FSDPModule)]


class ShardedPlayer(StepPlayer):
    """Plays the training steps of sharded networks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # a rank averages what it has: views of the same memory, for which any operation exists
        self.ema_pairs: list[tuple[Tensor, Tensor]] = [
            (local_shard(average), local_shard(weights)) for average, weights in self.ema_pairs
        ]
        self.backward: Differentiate = self.sharded_backward

    def sharded_backward(self, move: Move, parameters: list[nn.Parameter]) -> None:
        """In place of `loop.backward`, since FSDP2 averages gradients in the backward pass itself.

        That differentiates by all weights; the gradients of networks that stand still are then what they were.  Where
        a gradient is differentiated once more the weights that move are whole all the while: FSDP2 would drop those of
        a layer after its first derivative.
        """
        moving = set(parameters)
        others = [(p, p.grad) for p in self.state.nets.parameters() if p not in moving]
        for p, _ in others:
            p.grad = None
        whole_modules = sharded_modules(move.networks) if move.second_order else []
        for module in whole_modules:
            module.set_reshard_after_backward(False, recurse=False)
            module.unshard()
        try:
            move.loss.backward()
        except RuntimeError as error:
            if NOT_ALLOCATED not in str(error):
                raise
            raise UserError(
                "fsdp drops the weights of a layer after its first derivative, and a loss of this model needs them "
                "once more: its move must have second_order=True, as ganvas.model.Move says"
            ) from error
        for module in whole_modules:
            module.set_reshard_after_backward(True, recurse=False)
            module.reshard()
        for p, gradient in others:
            p.grad = gradient


@torch.no_grad()
def gather_networks(state: TrainState, target: TrainState) -> None:
    """On rank 0 copy networks, averages and gradients into a state with whole ones; all ranks must call it.

    One tensor is whole at a time, so no device has to hold them all.
    """
    for name in state.nets:
        pairs = [(state.nets[name], target.nets[name])]
        pairs += [(state.ema_nets[name], target.ema_nets[name])] if name in state.ema_nets else []
        for sharded, whole in pairs:
            for source, copy in zip(tensors(sharded), tensors(whole), strict=True):
                value = full_tensor(source)
                gradient = None if source.grad is None else full_tensor(source.grad)
                if is_main():
                    copy.copy_(value)
                    copy.grad = None if gradient is None else gradient.to(copy.device)
    target.step, target.position, target.scaling = state.step, state.position, state.scaling
