"""PyTorch's optimisers, without what imports its compiler."""

from copy import deepcopy
from functools import wraps
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.optim.optimizer import register_optimizer_step_post_hook

from ganvas import optimizers


@pytest.mark.parametrize(
    ("own", "original", "options"),
    [(optimizers.Adam, optim.Adam, {"fused": True}), (optimizers.RMSprop, optim.RMSprop, {"foreach": True})],
)
def test_steps_and_states_are_those_of_pytorch(own: Any, original: Any, options: dict[str, bool]) -> None:
    torch.manual_seed(0)
    nets = [nn.Linear(5, 3)]
    nets.append(deepcopy(nets[0]))
    pair = [kind(net.parameters(), lr=0.1, **options) for kind, net in zip((own, original), nets, strict=True)]
    for _ in range(3):
        x = torch.randn(4, 5)
        for net, optimizer in zip(nets, pair, strict=True):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
    assert all(map(torch.equal, *(net.parameters() for net in nets)))
    states = [optimizer.state_dict() for optimizer in pair]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    torch.testing.assert_close(states[0]["state"], states[1]["state"], rtol=0, atol=0)
    pair[0].load_state_dict(states[1])
    assert isinstance(pair[0], original)
    assert torch.is_grad_enabled()


def test_hooks_of_steps_are_called_once() -> None:
    names = list[str]()
    handle = register_optimizer_step_post_hook(lambda optimizer, *_: names.append(type(optimizer).__name__))
    try:
        weight = nn.Parameter(torch.zeros(1))
        weight.grad = torch.ones(1)
        optimizers.Adam([weight]).step()
    finally:
        handle.remove()
    assert names == ["Adam"]


def test_wrappers_of_other_versions_of_pytorch_stay() -> None:
    calls = list[str]()

    def new_wrapper(method: Any) -> Any:
        @wraps(method)
        def inner(*args: Any, **kwargs: Any) -> Any:  # called as one of PyTorch's
            calls.append(method.__name__)
            return method(*args, **kwargs)

        return inner

    class Other(optim.Adam):
        add_param_group = new_wrapper(optim.Adam.add_param_group)
        step = new_wrapper(optim.Adam.step)

    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.ones(1)
    optimizers.without_compiler(Other)([weight]).step()
    assert calls == ["add_param_group", "step"]
