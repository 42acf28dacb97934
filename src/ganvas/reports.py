"""What a line of the log says besides losses: how codes are used, how a game stands, how the averaged weights do."""

from typing import Any

import torch
from torch import Tensor, nn

from .doctor import latent_report
from .metrics import sliced_wasserstein
from .model import Batch, Encodes, Model, Samples, Shape
from .randomness import generator, reseed
from .training import State, gradient_norm

DIRECTIONS = 64
"""of the sliced Wasserstein distance between a line's few samples and examples"""
ROOM = 0.5
"""how far beyond the examples samples may lie, as a share of what the examples span, in each dimension"""


def reported(model: Model, state: State, batch: Batch | None, terms: dict[str, float], seed: int) -> dict[str, Any]:
    """What the log keeps besides the terms, from which it takes what is none; `batch` are always the same examples."""
    game = {name: round(terms.pop(name), 4) for name in model.watched if name in terms}
    if batch is None:
        return {"game": game} if game else {}
    reseed(batch.x.device, seed, "observe")
    with torch.no_grad():
        seen = {name: value.float().cpu() for name, value in model.observe(batch, **state.average).items()}
    latest = {name: state.nets[name] for name in state.average}
    state.nets.eval()  # so that batch norm takes no notice
    if game:
        found = {name: value.item() for name, value in seen.items()} | model.probe(batch, **state.nets)
        found |= {f"gradient_{name}": gradient_norm(net) for name, net in state.nets.items()}
    else:
        found = latent_report(seen) | {"gradient": gradient_norm(state.nets)}
    found |= compared(model, batch, latest, dict(state.average.items()))
    found["scale"] = round(max(scale(net) for net in state.nets.values()), 3)
    state.nets.train()
    return {"game": game | found} if game else {"codes": found}


@torch.no_grad()
def scale(net: nn.Module) -> float:
    """How much larger a layer's output is than its input, for random weights of this size: 0.6 to 1.4 at first.

    The root mean square over layers of sqrt(n) times the weights' own, n the inputs of a unit.
    """
    gains = [w[0].numel() * w.square().mean() for w in net.parameters() if w.ndim > 1]
    size: float = torch.stack(gains).mean().sqrt().item() if gains else 0.0
    return size


@torch.no_grad()
def compared(
    model: Model, batch: Batch, latest: dict[str, nn.Module], average: dict[str, nn.Module]
) -> dict[str, float]:
    """How far `away` the latest weights are from the data, and how many times as far the averaged ones (`lag`).

    `away` of a GAN is the sliced Wasserstein distance of its samples, that of a model with an encoder the root mean
    square error of its reconstructions, as a share of the mean distance between two examples.  `outside` is the share
    of samples of vectors that lie far beyond the examples, whatever is averaged.
    """
    labels = (batch.y,) if model.labelled and batch.y is not None else ()
    far = {name: off(model, batch.x, labels, nets) for name, nets in (("latest", latest), ("average", average))}
    found = {"away": round(far["latest"], 4), "lag": round(far["average"] / max(far["latest"], 1e-12), 3)}
    if batch.x.ndim == 2 and (model.normal or not isinstance(model, Encodes)):
        found["outside"] = round(beyond(samples(model, batch.x, labels, average), batch.x), 3)
    return found


def off(model: Model, x: Tensor, labels: tuple[Tensor, ...], nets: dict[str, nn.Module]) -> float:
    """How far samples, or reconstructions where there is an encoder, are from the examples."""
    apart: float = torch.pdist(x.flatten(1)).mean().item()
    if isinstance(model, Encodes):
        assert isinstance(model, Samples)
        rebuilt = model.generate(model.encode(x, *labels, **nets), *labels, **nets)
        error: float = (rebuilt - x).flatten(1).square().sum(1).mean().sqrt().item()
        return error / max(apart, 1e-12)
    far: float = sliced_wasserstein(samples(model, x, labels, nets), x, directions=DIRECTIONS) * x[0].numel() ** 0.5
    return far / max(apart, 1e-12)


def samples(model: Model, x: Tensor, labels: tuple[Tensor, ...], nets: dict[str, nn.Module]) -> Tensor:
    """As many samples as there are examples, always of the same noise."""
    assert isinstance(model, Samples)
    shape: Shape = tuple(x.shape[1:])
    z = model.noise(len(x), shape, generator(torch.device("cpu"), 0, "compared"), **nets).to(x.device)
    return model.generate(z, *labels, **nets)


def beyond(made: Tensor, x: Tensor) -> float:
    """The share of samples of vectors that lie outside of the examples' box, made larger by ROOM on every side."""
    low, high = x.amin(0), x.amax(0)
    room = ROOM * (high - low)
    return ((made < low - room) | (made > high + room)).any(1).float().mean().item()
