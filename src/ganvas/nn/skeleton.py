"""Networks on no device: names, shapes and types of their tensors, without the numbers."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

T = TypeVar("T")


class SkipInitialization(TorchFunctionMode):
    """In this context the functions of torch.nn.init leave tensors as they are.

    On no device there is nothing to fill, but normal_ imports PyTorch's compiler for that, which takes seconds.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        values = kwargs or {}
        return values["tensor"] if getattr(func, "__module__", "") == nn.init.__name__ else func(*args, **values)


def make_skeleton(make: Callable[[], T]) -> T:
    """The networks that the function makes, on no device; the caller's random numbers go on as if nothing had been."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"), SkipInitialization():
        return make()


def allocate(nets: nn.ModuleDict) -> nn.ModuleDict:
    """The networks with memory on the CPU, unfilled: `to_empty` of PyTorch imports sympy for that, another second."""
    allocated: nn.ModuleDict = nets._apply(
        lambda t: torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="cpu")
    )
    return allocated
