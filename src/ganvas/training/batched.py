"""The steps of several runs as one: their networks are stacked, and an operation computes all of them.

`torch.func` gives every operation a further axis, the member of the group.  A model's `step` stays as it is and sees
one member; tensors with that axis are in its place.  The members' own parameters, buffers and gradients are views of
the stacked ones, so whoever logs, measures or saves a member finds in it what a run alone has.  Each member draws
random numbers by its own seed and has batches of its own; its gradient, that of the sum of losses, depends on its own
loss alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunction, _functorch
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from ..model import Model, Move
from ..nn.device import float32_products
from .loop import StepPlayer, Terms, get_optimizer, name_of_networks, update_ema

LEVEL = 1
"""depth of vmap in which tensors have the further axis: there is one"""
RANDOM_FUNCTIONS: frozenset[Callable[..., Tensor]] = frozenset({
    torch.rand, torch.randn, torch.randint, torch.randperm, torch.rand_like, torch.randn_like, torch.randint_like,
    torch.bernoulli, Tensor.bernoulli, torch.normal, torch.multinomial, Tensor.multinomial, torch.poisson,
    torch.dropout, nn.functional.dropout, nn.functional.dropout2d,
})  # fmt: skip
"""what a step may draw with; with any other function that draws, vmap raises"""
FOREACH_FUNCTIONS: frozenset[Callable[..., None]] = frozenset({torch._foreach_clamp_min_, torch._foreach_clamp_max_})
"""functions of numbers one by one, for which vmap has no rule"""


def is_stacked(value: object) -> bool:
    return isinstance(value, Tensor) and _functorch.is_batchedtensor(value)


def as_member(stacked: Tensor) -> Tensor:
    """What a step sees of members' tensors, stacked along the first axis: one of them."""
    member: Tensor = _functorch._add_batch_dim(stacked, 0, LEVEL)
    return member


def as_stacked(member: Tensor) -> Tensor:
    """The inverse of `as_member`."""
    value, axis = _functorch.get_unwrapped(member), _functorch.maybe_get_bdim(member)
    stacked: Tensor = value.movedim(axis, 0)
    return stacked


class MembersMode(TorchFunctionMode):
    """What functions do for each member that vmap does not: draw random numbers, and differentiate."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator: torch.Generator = generator
        self.generator_states: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in RANDOM_FUNCTIONS:
            return self.draw(func, args, kwargs)
        if func is torch.autograd.grad:
            return self.differentiate(*args, **kwargs)
        if func is Tensor.requires_grad_ and is_stacked(args[0]):
            with temporarily_pop_interpreter_stack():
                _functorch.get_unwrapped(args[0]).requires_grad_(*args[1:], **kwargs)
            return args[0]
        if func == Tensor.requires_grad.__get__ and is_stacked(args[0]):  # type: ignore[attr-defined]
            return _functorch.get_unwrapped(args[0]).requires_grad
        if func in FOREACH_FUNCTIONS:
            with temporarily_pop_interpreter_stack():
                return func([_functorch.get_unwrapped(t) for t in args[0]], *args[1:], **kwargs)
        return func(*args, **kwargs)

    def draw(self, func: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """What the function draws for each member, with the state that its generator has."""
        inputs = tree_map(lambda value: Stacked(as_stacked(value)) if is_stacked(value) else value, (args, kwargs))
        results = []
        with temporarily_pop_interpreter_stack():
            for i, state in enumerate(self.generator_states):
                own_args, own_kwargs = tree_map(lambda v, i=i: v.values[i] if isinstance(v, Stacked) else v, inputs)
                self.generator.set_state(state)
                results.append(func(*own_args, **own_kwargs))
                self.generator_states[i] = self.generator.get_state()
            return as_member(torch.stack(results))

    def differentiate(self, outputs: Any, inputs: Any, **options: Any) -> tuple[Tensor, ...]:
        """The gradient of each member's output by its inputs: of the outputs' sum by them all."""
        (output,), inputs = as_tuple(outputs), as_tuple(inputs)
        with temporarily_pop_interpreter_stack():
            values = [_functorch.get_unwrapped(t) for t in inputs]
            gradients = torch.autograd.grad(as_stacked(output).sum(), values, **options)
        axes = [_functorch.maybe_get_bdim(t) for t in inputs]
        return tuple(_functorch._add_batch_dim(g, i, LEVEL) for g, i in zip(gradients, axes, strict=True))


class Stacked:
    """Members' tensors, stacked: no tensor itself, so that a tree has it as a leaf."""

    def __init__(self, values: Tensor) -> None:
        self.values: Tensor = values


def as_tuple(tensors: Any) -> tuple[Tensor, ...]:
    return (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)


class StackedTensor(NamedTuple):
    """A parameter or buffer of all members, and what each has of it: views."""

    value: Tensor
    members: list[Tensor]


class BatchedPlayer:
    """Plays a step of several runs at once.  They have done as many steps, and differ in seed and weights alone.

    Their optimisers may differ.  What belongs to one member, e.g. clipping its gradient, is done for each.
    """

    def __init__(self, players: Sequence[StepPlayer]) -> None:
        self.players: list[StepPlayer] = list(players)
        first = self.players[0]
        self.model: Model = first.model
        device = first.device
        is_cuda = device.type == "cuda"
        index = torch.cuda.current_device() if is_cuda and device.index is None else device.index
        self.mode: MembersMode = MembersMode(
            torch.cuda.default_generators[index] if is_cuda else torch.default_generator
        )
        with torch.no_grad():
            nets, parameters = stack_networks([player.state.nets for player in players])
            self.nets: dict[str, nn.Module] = nets
            self.parameters: dict[str, list[StackedTensor]] = parameters
        self.optimizers: dict[str, list[Optimizer]] = {}

    def play(self) -> None:
        """Play the step after those that all members have done; their counters stay as they are."""
        self.mode.generator_states = []
        for player in self.players:
            player.reseed()
            self.mode.generator_states.append(self.mode.generator.get_state())
        state, config = self.players[0].state, self.players[0].config
        batches = self.batches()
        with self.players[0].precision, float32_products(config.tf32, self.players[0].device):
            moves = self.model.step(batches, state.step, **self.nets)
            while (move := self.next_move(moves)) is not None:
                self.descend(*move)
        for player in self.players:
            update_ema(player.ema_pairs, state.step, player.config.ema_decay)

    @contextmanager
    def members_axis(self) -> Iterator[None]:
        """A block in which tensors have the further axis."""
        _functorch._vmap_increment_nesting(len(self.players), "error")
        try:
            with self.mode:
                yield
        finally:
            _functorch._vmap_decrement_nesting()

    def next_move(self, moves: Iterator[Move]) -> tuple[str, Tensor, Terms] | None:
        """The next move: the names of its networks, the sum of losses, and the members' terms; None after the last."""
        with self.members_axis():
            move = next(moves, None)
            if move is None:
                return None
            loss, terms = move.loss, move.terms | move.logged
        name = name_of_networks(self.nets, move)
        return name, as_stacked(loss).sum(), {key: as_stacked(value).detach() for key, value in terms.items()}

    def descend(self, name: str, loss: Tensor, terms: Terms) -> None:
        """Differentiate the loss by the networks of this name, and let each member descend its own gradient."""
        parameters = [stacked for part in name.split("+") for stacked in self.parameters[part]]
        for stacked in parameters:
            stacked.value.grad = None
        # unlike `torch.autograd.grad`, it lays gradients out as parameters are, which fused optimisers take for granted
        loss.backward(inputs=[stacked.value for stacked in parameters])
        for stacked in parameters:
            gradients = [None] * len(self.players) if stacked.value.grad is None else stacked.value.grad.unbind()
            for parameter, gradient in zip(stacked.members, gradients, strict=True):
                parameter.grad = gradient
        for player in self.players:
            if (bound := player.config.clip_grad_norm) is not None:
                for part in name.split("+"):
                    nn.utils.clip_grad_norm_(player.state.nets[part].parameters(), bound)
        if name not in self.optimizers:
            own = [get_optimizer(name, player.model, player.state) for player in self.players]
            self.optimizers[name] = (
                merge(own) if len({player.rate(name, player.state.step) for player in self.players}) == 1 else own
            )
        optimizers = self.optimizers[name]
        for i, optimizer in enumerate(optimizers):
            for group in optimizer.param_groups:
                group["lr"] = self.players[i].rate(name, self.players[i].state.step)
            optimizer.step()
        rows = {key: value.unbind() for key, value in terms.items()}
        for i, player in enumerate(self.players):
            player.state.meter.add(player.state.step + 1, {key: values[i] for key, values in rows.items()})

    def batches(self) -> Iterator[Any]:
        """The members' batches, stacked, as a step sees them."""
        while True:
            with temporarily_pop_interpreter_stack(), DisableTorchFunction():
                members = [next(player.stream) for player in self.players]
                batch = tree_map(
                    lambda *parts: as_member(torch.stack(parts)) if isinstance(parts[0], Tensor) else parts[0], *members
                )
            yield batch


def stack_networks(members: Sequence[nn.ModuleDict]) -> tuple[dict[str, nn.Module], dict[str, list[StackedTensor]]]:
    """Networks as a step sees them, and by the name of each its parameters that learn; makes views of the members'."""
    nets, parameters = deepcopy(members[0]), {name: list[StackedTensor]() for name in members[0]}
    stacked: dict[int, StackedTensor] = {}
    for path, module in nets.named_modules():
        for entries in ("_parameters", "_buffers"):
            for name, tensor in getattr(module, entries).items():
                if tensor is None or is_stacked(tensor):
                    continue
                own = [getattr(member.get_submodule(path), entries)[name] for member in members]
                if id(own[0]) not in stacked:  # networks may share a parameter
                    value = torch.stack([t.detach() for t in own]).requires_grad_(own[0].requires_grad)
                    for t, view in zip(own, value.detach().unbind(), strict=True):
                        t.data = view
                    stacked[id(own[0])] = StackedTensor(value, own)
                    if entries == "_parameters" and value.requires_grad:
                        parameters[path.partition(".")[0]].append(stacked[id(own[0])])
                getattr(module, entries)[name] = as_member(stacked[id(own[0])].value)
    return dict(nets.items()), parameters


def merge(optimizers: list[Optimizer]) -> list[Optimizer]:
    """One optimiser of all members' parameters, which updates each as its own does, where all are alike.

    The members' own have its state, for their checkpoints.
    """
    first = optimizers[0]
    if any(len(o.param_groups) > 1 or o.defaults != first.defaults for o in optimizers):
        return optimizers
    try:
        merged = type(first)([p for o in optimizers for p in o.param_groups[0]["params"]], **first.defaults)
    except TypeError:  # it takes other arguments
        return optimizers
    for optimizer in optimizers:
        for parameter in optimizer.param_groups[0]["params"]:
            merged.state[parameter] = optimizer.state[parameter]
    return [merged]
