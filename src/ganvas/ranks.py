"""Which of several processes that train together this one is, and what an objective needs of all their batches.

A *rank* is such a process, as torchrun starts them (`training.distributed`); anywhere else there is one, of rank 0.
Each has its own part of a batch.  A term that is a mean over examples needs nothing from here: the mean of the ranks'
gradients is the gradient of the mean.  Any other term of a batch, such as the square of a mean, gathers what it needs:

    mean_over_ranks(x)    sum_r x_r / W                 of W ranks
    gather_batch(x)       x_1 ... x_W, one after the other

Both are differentiated as what they are: the gradient that reaches a rank's x is the sum of all ranks' losses by it.
Every rank must call them equally often and in the same order.
"""

from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch import distributed as dist
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def rank() -> int:
    """The number of this process, from 0 on."""
    return dist.get_rank() if has_group() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if has_group() else 1


def has_group() -> bool:
    """Whether this process trains with others, or could; a torch without distributed has no such function."""
    return dist.is_available() and dist.is_initialized()


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum, in a tensor of its own."""
    total = x.contiguous().clone()
    dist.all_reduce(total)
    return total


class _Mean(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return sum_over_ranks(x) / world_size()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return sum_over_ranks(gradient) / world_size()


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.size = len(x)
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return sum_over_ranks(gradient).narrow(0, rank() * ctx.size, ctx.size)


def mean_over_ranks(x: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """The mean of what the ranks have; x itself where there is one."""
    result: Tensor = x if world_size() == 1 else _Mean.apply(x)
    return result


def gather_batch(x: Shaped[Tensor, "b *shape"]) -> Shaped[Tensor, "all_b *shape"]:
    """The rows of all ranks, equally many of each, in the order of ranks; x itself where there is one."""
    result: Tensor = x if world_size() == 1 else _Gather.apply(x)
    return result
