"""The steps of several runs as one: their networks are stacked, and an operation computes all of them.

`torch.func.vmap` gives every operation a further axis, the member of the group.  A model's `step` stays as it is and
sees one member; tensors with that axis are in its place.  The members' own parameters, buffers and gradients are views
of the stacked ones, so whoever logs, measures or saves a member finds in it what a run alone has.  Each member draws
random numbers by its own seed and has batches of its own; its gradient, that of the sum of losses, depends on its own
loss alone.

A step goes on from move to move, and each is a call of vmap: networks and what a step remembers keep their axis from
one to the next.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from ..model import Batch, Model, Move
from ..nn.device import float32_products
from ..randomness import device_generator
from .ema import update_ema
from .loop import StepPlayer, Terms, get_optimizer, name_of_networks, set_beta_2

RANDOM_FUNCTIONS: frozenset[Callable[..., Tensor]] = frozenset({
    torch.rand, torch.randn, torch.randint, torch.randperm, torch.rand_like, torch.randn_like, torch.randint_like,
    torch.bernoulli, Tensor.bernoulli, torch.normal, torch.multinomial, Tensor.multinomial, torch.poisson,
    torch.dropout, nn.functional.dropout, nn.functional.dropout2d,
})  # fmt: skip
"""what a step may draw with; with any other function that draws, vmap raises"""
FOREACH_FUNCTIONS: frozenset[Callable[..., None]] = frozenset({torch._foreach_clamp_min_, torch._foreach_clamp_max_})
"""functions of numbers one by one, for which vmap has no rule"""
Axes = tuple[int | None, ...]
"""the axis of the members in each of some tensors; None where they have none"""


class Outside(torch.autograd.Function):
    """Calls a function outside of vmap, with tensors of all members, as PyTorch lets one give a rule for vmap.

    The function gets the axes of its tensors, and returns tensors and their axes.
    """

    @staticmethod
    def forward(function: Any, *tensors: Tensor) -> Any:
        raise NotImplementedError("one of the tensors has an axis of members, so `vmap` is called")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is differentiated by this class."""

    @staticmethod
    def vmap(info: Any, axes: Any, function: Callable[..., tuple[Any, Any]], *tensors: Tensor) -> tuple[Any, Any]:
        return function(axes[1:], *tensors)


class MembersMode(TorchFunctionMode):
    """What functions do for each member that vmap does not: draw random numbers, and differentiate."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator: torch.Generator = generator
        self.generator_states: list[Tensor] = []
        self.index: Tensor = torch.empty(0)
        """a tensor with the axis of the members"""
        self.learns: dict[int, bool] = {}
        """by the identity of a network's tensor, whether it requires a gradient, which is not asked of it under vmap"""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in RANDOM_FUNCTIONS:
            return self.draw(func, args, kwargs)
        if func is torch.autograd.grad:
            return self.differentiate(*args, **kwargs)
        if func is Tensor.requires_grad_:
            return self.outside(lambda axes, x, _: (x.requires_grad_(*args[1:], **kwargs), axes[0]), args[0])
        if func == Tensor.requires_grad.__get__ and id(args[0]) in self.learns:  # type: ignore[attr-defined]
            return self.learns[id(args[0])]
        if func in FOREACH_FUNCTIONS:
            return self.outside(lambda axes, *xs: (func(xs[:-1], *args[1:], **kwargs) or xs[-1], axes[-1]), *args[0])
        return func(*args, **kwargs)

    def outside(self, function: Callable[..., tuple[Any, Any]], *tensors: Tensor) -> Any:
        """What the function returns outside of vmap, where `index` is its last tensor."""
        return Outside.apply(function, *tensors, self.index)

    def draw(self, func: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """What the function draws for each member, with the state that its generator has."""
        values = [*args, *kwargs.values()]
        places = [i for i, value in enumerate(values) if isinstance(value, Tensor)]

        def draw_each(axes: Axes, *tensors: Tensor) -> tuple[Tensor, int]:
            results = []
            for i, state in enumerate(self.generator_states):
                own = list(values)
                for place, tensor, axis in zip(places, tensors[:-1], axes[:-1], strict=True):
                    own[place] = tensor if axis is None else tensor.select(axis, i)
                self.generator.set_state(state)
                results.append(func(*own[: len(args)], **dict(zip(kwargs, own[len(args) :], strict=True))))
                self.generator_states[i] = self.generator.get_state()
            return torch.stack(results), 0

        result: Tensor = self.outside(draw_each, *(values[place] for place in places))
        return result

    def differentiate(self, outputs: Any, inputs: Any, **options: Any) -> tuple[Tensor, ...]:
        """The gradient of each member's output by its inputs: of the outputs' sum by them all."""
        (output,), inputs = as_tuple(outputs), as_tuple(inputs)

        def differentiate_all(axes: Axes, output: Tensor, *tensors: Tensor) -> tuple[tuple[Tensor, ...], Axes]:
            return torch.autograd.grad(output.sum(), tensors[:-1], **options), axes[1:-1]

        gradients: tuple[Tensor, ...] = self.outside(differentiate_all, output, *inputs)
        return gradients


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
        self.mode: MembersMode = MembersMode(device_generator(device))
        self.index: Tensor = torch.arange(len(players), device=device)
        with torch.no_grad():
            nets, parameters = stack_networks([player.state.nets for player in players], self.mode.learns)
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
        with self.players[0].precision, float32_products(config.tf32, self.players[0].device):
            moves = self.model.step(self.batches(), state.step, **self.nets)
            while (move := self.next_move(moves)) is not None:
                self.descend(*move)
        for player in self.players:
            update_ema(player.ema_pairs, state.step, player.ema_decay)

    def next_move(self, moves: Iterator[Move]) -> tuple[str, Tensor, Terms] | None:
        """The next move: the names of its networks, the sum of losses, and the members' terms; None after the last."""
        move: Move | None = None

        def advance(index: Tensor) -> tuple[Tensor, Terms]:
            nonlocal move
            self.mode.index = index
            with self.mode:
                move = next(moves, None)
                return (move.loss, move.terms | move.logged) if move else (index, {})

        losses, terms = vmap(advance)(self.index)
        if move is None:
            return None
        return name_of_networks(self.nets, move), losses.sum(), {key: value.detach() for key, value in terms.items()}

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
            rates = {player.rate(name, player.state.step) for player in self.players}
            self.optimizers[name] = merge(own) if len(rates) == 1 else own
        optimizers = self.optimizers[name]
        for i, optimizer in enumerate(optimizers):
            set_beta_2(optimizer, self.model.schedule(self.players[i].state.step).beta_2)
            for group in optimizer.param_groups:
                group["lr"] = self.players[i].rate(name, self.players[i].state.step)
            optimizer.step()
        rows = {key: value.unbind() for key, value in terms.items()}
        for i, player in enumerate(self.players):
            player.state.meter.add(player.state.step + 1, {key: values[i] for key, values in rows.items()})

    def batches(self) -> Iterator[Batch]:
        """The members' batches, stacked, as a step sees them."""
        while True:
            x, *y = self.mode.outside(self.draw_batches)
            yield Batch(x, y[0] if y else None, self.players[0].stream.n)

    def draw_batches(self, axes: Axes, index: Tensor) -> tuple[tuple[Tensor, ...], Axes]:
        """The examples of a batch of each member, and labels if there are any, stacked."""
        batches: list[Any] = [next(player.stream) for player in self.players]
        labels = [batch.y for batch in batches if batch.y is not None]
        stacked = tuple(torch.stack(tensors) for tensors in ([batch.x for batch in batches], labels) if tensors)
        return stacked, (0,) * len(stacked)


def stack_networks(
    members: Sequence[nn.ModuleDict], learns: dict[int, bool]
) -> tuple[dict[str, nn.Module], dict[str, list[StackedTensor]]]:
    """Networks as a step sees them, and by the name of each its parameters that learn; makes views of the members'.

    Which of their tensors require gradients is written to `learns`, see `MembersMode`.
    """
    nets, parameters = deepcopy(members[0]), {name: list[StackedTensor]() for name in members[0]}
    stacked: dict[int, StackedTensor] = {}
    places: list[tuple[dict[str, Tensor], str, int]] = []
    for path, module in nets.named_modules():
        for entries in ("_parameters", "_buffers"):
            for name in [name for name, tensor in getattr(module, entries).items() if tensor is not None]:
                own = [getattr(member.get_submodule(path), entries)[name] for member in members]
                places.append((getattr(module, entries), name, id(own[0])))
                if id(own[0]) in stacked:  # networks may share a parameter
                    continue
                value = torch.stack([t.detach() for t in own]).requires_grad_(own[0].requires_grad)
                for t, view in zip(own, value.detach().unbind(), strict=True):
                    t.data = view
                stacked[id(own[0])] = StackedTensor(value, own)
                if entries == "_parameters" and value.requires_grad:
                    parameters[path.partition(".")[0]].append(stacked[id(own[0])])

    def insert(values: dict[int, Tensor]) -> dict[int, Tensor]:
        for entries, name, key in places:
            entries[name] = values[key]
            learns[id(values[key])] = stacked[key].value.requires_grad
        return values

    vmap(insert)({key: tensor.value for key, tensor in stacked.items()})
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
