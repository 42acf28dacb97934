"""Training by several processes, the ranks, on one machine or many: what they do together.

torchrun starts the processes (or `launch`, which starts torchrun's own agent), torch.distributed joins them: NCCL
between GPUs, one a rank, gloo between processors.  Every rank has all networks and its own part of each batch.  The
loss is a mean over the batch, so the mean of the ranks' gradients is the gradient of the whole batch: it is taken once
a move, after the backward pass, as DistributedDataParallel does in it.  (That class counts one forward and one backward
pass of a network an update.  A GAN's step calls networks several times, differentiates by some of them alone, and
twice under a gradient penalty, so here the collective follows the backward pass, whatever that was.)

Rank 0 alone writes, prints and measures.  What must be the same everywhere is either computed so, as the weights are,
or decided together: see `agree`.  Without torchrun nothing here does anything.

Source: https://docs.pytorch.org/docs/stable/distributed.html, https://docs.pytorch.org/docs/stable/elastic/run.html
"""

import atexit
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch import distributed as dist

from ..config import TrainConfig
from ..errors import RankError, UserError
from ..model import rank_state_keys
from ..nn.device import resolve_device
from ..ranks import has_group, rank, world_size

VARIABLES = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
"""what torchrun tells a process, in its environment"""


def uses_shards(config: TrainConfig) -> bool:
    """Whether this run shards its networks over the ranks (`sharding`); one process has nobody to share them with."""
    return config.fsdp and world_size() > 1


def initial_device(config: TrainConfig, device: torch.device) -> torch.device:
    """Where a run's networks are made: on the processor, where they are sharded, since a device may not hold them."""
    return torch.device("cpu") if uses_shards(config) else device


def shard(config: TrainConfig, device: torch.device, *networks: nn.ModuleDict) -> None:
    """Shard the networks, which are on the processor, over the ranks' devices, if the run does."""
    if uses_shards(config):
        from .sharding import shard_networks  # it imports FSDP2

        shard_networks(device, *networks)


def check_fsdp(config: TrainConfig) -> None:
    """UserError for options that do not go with sharded networks."""
    if config.fsdp and config.compile == "on":
        raise UserError("fsdp gathers weights layer by layer, which compile=on does not know: leave out one of them")
    if config.fsdp and config.graph == "on":
        raise UserError("fsdp frees memory within a step, which a CUDA graph cannot: leave out graph=on")


def is_main() -> bool:
    """Whether this rank is the one that writes and prints."""
    return rank() == 0


def is_rank() -> bool:
    """Whether torchrun has started this process as one of several."""
    return os.environ.keys() >= VARIABLES and int(os.environ["WORLD_SIZE"]) > 1


def join_ranks(device: str) -> None:
    """Join the other ranks, if there are any, each with a device of its own; UserError where it has none.

    They stay joined until the process ends, since torchrun's store cannot be joined twice.
    """
    if has_group() or not is_rank():
        return
    kind, local_rank = resolve_device(device).type, int(os.environ.get("LOCAL_RANK", "0"))
    if kind == "mps":
        raise UserError("several ranks compute on CUDA or on the CPU: give device=cpu")
    if kind == "cuda":
        if local_rank >= (n := torch.cuda.device_count()):
            raise UserError(f"a rank needs a GPU of its own, and this machine has {n}: start {n} ranks, or device=cpu")
        torch.cuda.set_device(local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo")
    atexit.register(dist.destroy_process_group)


def in_place(tensors: Sequence[Tensor], collective: Callable[[Tensor], object]) -> None:
    """Apply a collective that changes its tensor to many at once: those of each type as one flat tensor."""
    for dtype in dict.fromkeys(t.dtype for t in tensors):
        group = [t.detach() for t in tensors if t.dtype == dtype]
        flat = torch.cat([t.reshape(-1) for t in group])
        collective(flat)
        parts = flat.split([t.numel() for t in group])
        torch._foreach_copy_(group, [part.view(t.shape) for part, t in zip(parts, group, strict=True)])


def is_sharded(tensor: Tensor) -> bool:
    """Whether the ranks have a part of it each: it is a DTensor, whose class takes a second to import."""
    return hasattr(tensor, "full_tensor")


def full_tensor(tensor: Tensor) -> Tensor:
    """The whole of a tensor that is sharded over the ranks, which must all ask for it; any other as it is."""
    full: Tensor = tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]
    return full


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace each gradient by the mean of the ranks' gradients."""
    if world_size() > 1:
        gradients = [p.grad for p in parameters if p.grad is not None]
        in_place([g.div_(world_size()) for g in gradients], dist.all_reduce)


def average(values: Tensor) -> Tensor:
    """The mean of what the ranks have, without a gradient."""
    if world_size() > 1:
        values = values / world_size()
        dist.all_reduce(values)
    return values


def broadcast(tensors: Sequence[Tensor]) -> None:
    """Replace what these tensors hold by what they hold on rank 0."""
    if world_size() > 1 and tensors:
        in_place(tensors, lambda flat: dist.broadcast(flat, 0))


def shared_tensors(nets: nn.ModuleDict, buffers_only: bool = False) -> dict[str, Tensor]:
    """The tensors, or only the buffers, that all ranks have alike, by name: no shards."""
    own = rank_state_keys(dict(nets.items()))
    named = nets.named_buffers() if buffers_only else nets.state_dict().items()
    return {name: tensor for name, tensor in named if name not in own and not is_sharded(tensor)}


def start_together(nets: nn.ModuleDict, ema_nets: nn.ModuleDict) -> list[Tensor]:
    """Give all ranks the networks of rank 0; returns the buffers that are to follow rank 0's after every step.

    As in DistributedDataParallel, batch norm has a rank's own statistics in a step, and rank 0's running ones remain.
    """
    broadcast([*shared_tensors(nets).values(), *shared_tensors(ema_nets).values()])
    return list(shared_tensors(nets, buffers_only=True).values())


def check_equal(tensors: Mapping[str, Tensor], step: int) -> None:
    """RankError, which names the tensor, where the bits of one are not the same on all ranks."""
    if world_size() == 1 or not tensors:
        return
    sums = torch.stack([bit_sum(t) for t in tensors.values()]).cpu()
    extremes = torch.cat([sums, -sums])
    dist.all_reduce(extremes, dist.ReduceOp.MAX)
    highest, lowest = extremes.chunk(2)
    for name, is_same in zip(tensors, (highest == -lowest).tolist(), strict=True):
        if not is_same:
            raise RankError(f"{name} is not the same on all ranks after step {step}: their devices compute differently")


def bit_sum(tensor: Tensor) -> Tensor:
    """A number that changes with any bit of a tensor, whatever the order in which it is summed."""
    flat = tensor.detach().contiguous().view(-1)
    return flat.view(torch.int32 if flat.itemsize % 4 == 0 else torch.uint8).sum(dtype=torch.int64)


def agree(*values: int) -> list[int]:
    """The largest of what the ranks have for each of the values: all go on with the same."""
    if world_size() == 1:
        return list(values)
    largest = torch.tensor(values)  # on the processor: no device has to wait
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return [int(value) for value in largest.tolist()]


def gather_texts(text: str) -> list[str]:
    """The text of every rank."""
    if world_size() == 1:
        return [text]
    data = torch.frombuffer(bytearray(text.encode() + b"\n"), dtype=torch.uint8)
    padded = torch.zeros(agree(len(data))[0], dtype=torch.uint8)
    padded[: len(data)] = data
    parts = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(parts, padded)
    return [bytes(part.tolist()).rstrip(b"\0").decode()[:-1] for part in parts]


@contextmanager
def share_errors() -> Iterator[None]:
    """A block that ends well on all ranks or on none; in it, none may wait for another.

    A rank raises its own error, else that of another as a UserError: so rank 0, which alone prints, has one.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as own:
        error = own
    texts = gather_texts("" if error is None else str(error) or type(error).__name__)
    if error is not None:
        raise error
    for number, text in enumerate(texts):
        if text:
            raise UserError(f"rank {number}: {text}")


def from_main(compute: Callable[[], str]) -> str:
    """The text that rank 0 computes, or the error that it has in doing so, on every rank."""
    text = ""
    with share_errors():
        text = compute() if is_main() else ""
    return gather_texts(text)[0]


def gather_rank_state(nets: nn.ModuleDict) -> dict[str, Tensor]:
    """On rank 0 the tensors of which each rank has its own, as "ranks/1/DX.past.kept", of all ranks but 0."""
    gathered: dict[str, Tensor] = {}
    own = rank_state_keys(dict(nets.items())) if world_size() > 1 else set[str]()
    for name, tensor in nets.state_dict().items():
        if name in own:
            parts = [torch.empty_like(tensor) for _ in range(world_size())] if is_main() else None
            dist.gather(tensor.contiguous(), parts)
            gathered |= {f"ranks/{i}/{name}": part.cpu() for i, part in enumerate(parts or ()) if i}
    return gathered


def is_loss_of_rank(error: RuntimeError) -> bool:
    """Whether this is how torch says that another rank has gone."""
    texts = ("gloo", "Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL")
    return world_size() > 1 and (isinstance(error, dist.DistError) or any(text in str(error) for text in texts))
