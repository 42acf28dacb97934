"""PyTorch's Adam and RMSprop, but their first step does not import its compiler, which would take a second."""

from collections.abc import Callable
from inspect import unwrap
from typing import Any, TypeVar, cast

import torch
from torch import optim

Kind = TypeVar("Kind", bound=type[optim.Optimizer])
WRAPPERS = {("torch._compile", "inner"), ("torch.optim.optimizer", "_use_grad"), ("torch.optim.optimizer", "wrapper")}
"""the functions in place of methods by `_disable_dynamo`, `_use_grad_for_differentiable` and `profile_hook_step`"""


def is_other(method: Any) -> bool:
    """Whether a function in place of another is none of `WRAPPERS`: another version of PyTorch may need it."""
    module, code = getattr(method, "__globals__", {}).get("__name__"), getattr(method, "__code__", None)
    return (module, getattr(code, "co_name", None)) not in WRAPPERS


def without_compiler(kind: Kind) -> Kind:
    """The class, whose steps are the same, bit for bit, but cannot be compiled or differentiated."""
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step")
    methods: dict[str, Callable[..., Any]] = {name: unwrap(getattr(kind, name), stop=is_other) for name in names}
    methods["step"] = torch.no_grad()(methods["step"])  # which PyTorch then wraps for the profiler
    return cast(Kind, type(kind.__name__, (kind,), methods | {"__doc__": kind.__doc__, "__module__": __name__}))


Adam: type[optim.Adam] = without_compiler(optim.Adam)
RMSprop: type[optim.RMSprop] = without_compiler(optim.RMSprop)
