"""What a line of the log says besides losses: how codes are used, how a game stands, how the averaged weights do."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..config import Plan
from ..data import Scaling
from ..diagnostics import latent_report
from ..metrics import sliced_wasserstein
from ..model import Batch, Encodes, Model, PairBatch, Samples, device_of
from ..randomness import generator, reseed
from .loop import State, averaged, gradient_norm

DIRECTIONS = 64
"""of the sliced Wasserstein distance between a line's few samples and examples"""
LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
"""what has weights by which inputs are multiplied"""
NOTHING = 1e-6
"""a distance from the data, as a share of what separates two examples, that is as good as none"""
ROOM = 0.5
"""how far beyond the examples samples may lie, as a share of what the examples span, in each dimension"""


def reported(
    model: Model, state: State, plan: Plan, batch: Batch | PairBatch | None, terms: dict[str, float], due: bool
) -> dict[str, Any]:
    """What the log keeps besides the terms, from which it takes what is none; `batch` are always the same examples.

    At a checkpoint, `due`, what costs more than a percent of the time between two lines is looked at as well.
    """
    game = {name: round(terms.pop(name), 4) for name in model.watched if name in terms}
    if batch is None:
        return {"game": game} if game else {}
    average = averaged(state, plan.ema)
    reseed(device_of(state.nets), plan.seed, "observe")
    with torch.no_grad():
        seen = {name: value.float().cpu() for name, value in model.observe(batch, **average).items()}
    state.nets.eval()  # so that batch norm takes no notice
    latest = {name: state.nets[name] for name in average}
    if game:
        found = {name: value.item() for name, value in seen.items()} | model.probe(batch, **state.nets)
        found |= {f"gradient_{name}": gradient_norm(net) for name, net in state.nets.items()}
        if isinstance(batch, Batch) and (far := away(model, batch, latest)) is not None:
            found["away"] = round(far, 4)
    else:
        found = latent_report(seen) | {"gradient": gradient_norm(state.nets)}
    found["scale"] = round(max(scale(net) for net in state.nets.values()), 3)
    if due and isinstance(batch, Batch):  # a translator's samples are judged by its own `observe`
        found |= compared(model, batch, latest, dict(average.items()), state.scaling)
    state.nets.train()
    return {"game": game | found} if game else {"codes": found}


@torch.no_grad()
def scale(net: nn.Module) -> float:
    """How much larger outputs are than inputs, for random weights of this size: sqrt(n) times their root mean square.

    n is the inputs of a unit, and the layer the one where it is least: at first 0.6 to 1.4, whatever the width.  Data
    in large units need large weights in some layers, too high a learning rate makes them large in all.
    """
    layers = [m.weight for m in net.modules() if isinstance(m, LAYERS)]
    if not layers:
        return 0.0
    size: float = torch.stack([w[0].numel() * w.square().mean() for w in layers]).min().sqrt().item()
    return size


@torch.no_grad()
def compared(
    model: Model,
    batch: Batch,
    latest: dict[str, nn.Module],
    average: dict[str, nn.Module],
    scaling: Sequence[Scaling] = (),
) -> dict[str, float]:
    """`lag`: how many times as far from the data as the latest weights the averaged ones are, which are kept.

    Where the latest are as good as in the data, or there is no distance, as between examples that are all alike, there
    is none.  `outside`: the share of samples of vectors that lie far beyond the examples.
    """
    kept, newest = away(model, batch, average), away(model, batch, latest)
    found = {} if kept is None or newest is None or newest < NOTHING else {"lag": round(kept / newest, 3)}
    if batch.x.ndim == 2 and (model.normal or not isinstance(model, Encodes)):
        found["outside"] = round(beyond(samples(model, batch, average), batch.x, *scaling), 3)
    return found


@torch.no_grad()
def away(model: Model, batch: Batch, nets: dict[str, nn.Module]) -> float | None:
    """How far samples, or reconstructions where there is an encoder, are from the examples.

    The sliced Wasserstein distance (times the root of the dimensions), or the root mean square error, as a share of
    the mean distance between two examples; None where all are alike.
    """
    x, labels = batch.x, given(model, batch)
    apart = torch.pdist(x.flatten(1)).mean().item()
    if apart == 0:
        return None
    if isinstance(model, Encodes):
        assert isinstance(model, Samples)
        rebuilt = model.generate(model.encode(x, *labels, **nets), *labels, **nets)
        error: float = (rebuilt - x).flatten(1).square().sum(1).mean().sqrt().item()
        return error / apart
    far: float = sliced_wasserstein(samples(model, batch, nets), x, directions=DIRECTIONS) * x[0].numel() ** 0.5
    return far / apart


def given(model: Model, batch: Batch) -> tuple[Tensor, ...]:
    """The labels that a conditional model's networks are given."""
    return (batch.y,) if model.labelled and batch.y is not None else ()


def samples(model: Model, batch: Batch, nets: dict[str, nn.Module]) -> Tensor:
    """As many samples as there are examples, always of the same noise."""
    assert isinstance(model, Samples)
    n, shape = len(batch.x), tuple(batch.x.shape[1:])
    z = model.noise(n, shape, generator(torch.device("cpu"), 0, "compared"), **nets).to(batch.x.device)
    return model.generate(z, *given(model, batch), **nets)


def beyond(made: Tensor, x: Tensor, scaling: Scaling | None = None) -> float:
    """The share of samples of vectors that lie outside of the examples' box, made larger by ROOM on every side.

    No side of the box is shorter than two deviations of its column over all the data, of which these are a few: a rare
    number may not be among them.  Where vectors are not standardised, that is at least two of these examples' own.  A
    column that never changes does not count: its samples are what it was.
    """
    low, high = x.amin(0), x.amax(0)
    own = x.std(0, correction=0)
    unit = torch.where(own > 0, own, own.square().mean().sqrt() + (own == 0).all())
    changes = torch.ones_like(own, dtype=torch.bool)
    if scaling is not None and scaling.deviation is not None:
        unit, changes = torch.ones_like(own), scaling.deviation.to(own.device) > 0
    room = ROOM * torch.maximum(high - low, 2 * unit)
    return (((made < low - room) | (made > high + room)) & changes).any(1).float().mean().item()
