"""Networks compiled by `torch.compile`: their layers fused into few kernels, which a compiler of C++ or Triton builds.

What was learnt of PyTorch 2.13: `net.compile()` of an nn.Sequential compiles nothing and says nothing, so networks are
wrapped by `torch.compile`; a wrapped network has the parameters of its original, which checkpoints, averages and
optimisers go on to hold.  Networks share one cache of compiled code, whose limit is therefore raised.  With
`dynamic=False` every shape is compiled by itself: automatic dynamic shapes failed where two networks share their class.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

BACKEND = "inductor"
RECOMPILE_LIMIT = 64
"""variants that are compiled at most, of all networks together: a network in each mode of gradients is one"""


def compile_networks(nets: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The networks, compiled at their first call; calls of other methods than `forward` are as they were.

    Random numbers are drawn as without compilation (`fallback_random`).
    """
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
    options: dict[str, Any] | None = {"fallback_random": True} if BACKEND == "inductor" else None
    compile_: Callable[[nn.Module], Any] = torch.compile(dynamic=False, backend=BACKEND, options=options)
    return {name: compile_(net) for name, net in nets.items()}


def uncompiled(net: nn.Module) -> nn.Module:
    """The network itself, of one that may be compiled: with the same parameters, but its layers can be called.

    It is needed where gradients are differentiated once more, which compiled code cannot be, and for layers alone.
    """
    original: nn.Module = getattr(net, "_orig_mod", net)
    return original


def missing_compiler(device: torch.device) -> str | None:
    """Why nothing can be compiled for the device, or None where a compiler is there."""
    if BACKEND != "inductor":
        return None
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return None if has_triton() else "Triton is not installed or does not know this GPU"
    if device.type == "cpu":
        from torch._inductor import exc
        from torch._inductor.cpp_builder import get_cpp_compiler

        try:
            get_cpp_compiler()
        except (exc.InvalidCxxCompiler, OSError, RuntimeError):
            return "there is no compiler of C++ such as g++"
    return None
