"""What a line of the log says besides losses: how codes are used, how a game stands, how the averaged weights do."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..data import Scaling
from ..data.tables.scaling import TableScaling
from ..diagnostics import latent_report
from ..metrics import sliced_wasserstein
from ..model import Batch, EncoderModel, GenerativeModel, Model, PairBatch, device_of
from ..nn.conv import Convolution, TransposedConvolution
from ..randomness import make_generator, reseed
from .ema import current_ema, ema_decay_of
from .loop import TrainState

Networks = dict[str, nn.Module]
MIN_DISTANCE = 1e-6
"""a distance from the data, as a share of what separates two examples, that is as good as none"""


def monitor_statistics(
    model: Model, state: TrainState, train_config: TrainConfig, batch: Batch | PairBatch | None,
    terms: dict[str, float], is_checkpoint: bool,
) -> dict[str, Any]:  # fmt: skip
    """What the log keeps besides the terms, from which it takes what is none; `batch` are always the same examples.

    At a checkpoint, what costs more than a percent of the time between two lines is looked at as well.
    """
    game = {name: round(terms.pop(name), 4) for name in model.logged_statistics if name in terms}
    if batch is None:
        return {"adversarial": game} if game else {}
    ema_nets = current_ema(state, ema_decay_of(model, train_config))
    reseed(device_of(state.nets), train_config.seed, "observe")
    with torch.no_grad():
        monitored_values = {name: value.float().cpu() for name, value in model.monitor(batch, **ema_nets).items()}
    state.nets.eval()  # so that batch norm takes no notice
    latest_nets = {name: state.nets[name] for name in ema_nets}
    if game:
        statistics = {name: value.item() for name, value in monitored_values.items()}
        statistics |= model.discriminator_statistics(batch, **state.nets)
        statistics |= gradient_norms({f"gradient_{name}": net for name, net in state.nets.items()})
        if isinstance(batch, Batch) and (distance := distance_to_data(model, batch, latest_nets)) is not None:
            statistics["distance_to_data"] = round(distance, 4)
    else:
        statistics = latent_report(monitored_values) | gradient_norms({"gradient": state.nets})
    statistics["weight_scale"] = round(max(weight_scale(net) for net in state.nets.values()), 3)
    if is_checkpoint and isinstance(batch, Batch):  # a translator's samples are judged by its own `monitor`
        statistics |= ema_statistics(model, batch, latest_nets, dict(ema_nets.items()), state.scaling)
    state.nets.train()
    return {"adversarial": game | statistics} if game else {"latent": statistics}


def gradient_norms(networks: dict[str, nn.Module]) -> dict[str, float]:
    """The norm of each network's gradient, but for those whose last update was skipped since it was not finite."""
    return {name: norm for name, net in networks.items() if isfinite(norm := gradient_norm(net))}


def gradient_norm(network: nn.Module) -> float:
    """Norm of the network's gradient in its last move, at most `clip_grad_norm`."""
    return nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None]).item()


@torch.no_grad()
def weight_scale(net: nn.Module) -> float:
    """How much larger outputs are than inputs, for random weights of this size: sqrt(n) times their root mean square.

    n is the inputs of a unit, and the layer the one where it is least: at first 0.6 to 1.4, whatever the width.  Data
    in large units need large weights in some layers, too high a learning rate makes them large in all.
    """
    layers = [m.weight for m in net.modules() if isinstance(m, Convolution | TransposedConvolution | nn.Linear)]
    if not layers:
        return 0.0
    size: float = torch.stack([w[0].numel() * w.square().mean() for w in layers]).min().sqrt().item()
    return size


@torch.no_grad()
def ema_statistics(
    model: Model, batch: Batch, latest_nets: Networks, ema_nets: Networks, scaling: Sequence[Scaling] = ()
) -> dict[str, float]:
    """`ema_lag`: how many times as far from the data as the latest weights the averaged ones are, which are kept.

    Where the latest are as good as in the data, or there is no distance, as between examples that are all alike, there
    is none.  `outside_fraction`: the share of samples of vectors that lie far beyond the examples.
    """
    statistics: dict[str, float] = {}
    ema_distance, latest_distance = (distance_to_data(model, batch, nets) for nets in (ema_nets, latest_nets))
    if ema_distance is not None and latest_distance is not None and not latest_distance < MIN_DISTANCE:
        statistics["ema_lag"] = round(ema_distance / latest_distance, 3)
    is_table = any(isinstance(s, TableScaling) for s in scaling)  # whose samples are entries of the examples
    if batch.x.ndim == 2 and not is_table and (model.has_normal_prior or not isinstance(model, EncoderModel)):
        samples = generate_samples(model, batch, ema_nets)
        statistics["outside_fraction"] = round(outside_share(samples, batch.x, *scaling), 3)
    return statistics


@torch.no_grad()
def distance_to_data(model: Model, batch: Batch, nets: Networks) -> float | None:
    """How far samples, or reconstructions where there is an encoder, are from the examples.

    The sliced Wasserstein distance (times the root of the dimensions), or the root mean square error, as a share of
    the mean distance between two examples; None where all are alike.
    """
    x, labels = batch.x, model.condition_of(batch)
    data_spread = torch.pdist(x.flatten(1)).mean().item()
    if data_spread == 0:
        return None
    if isinstance(model, EncoderModel):
        assert isinstance(model, GenerativeModel)
        reconstructions = model.generate(model.encode(x, *labels, **nets), *labels, **nets)
        error: float = (reconstructions - x).flatten(1).square().sum(1).mean().sqrt().item()
        return error / data_spread
    distance: float = sliced_wasserstein(generate_samples(model, batch, nets), x, n_directions=64)
    distance *= x[0].numel() ** 0.5
    return distance / data_spread


def generate_samples(model: Model, batch: Batch, nets: Networks) -> Tensor:
    """As many samples as there are examples, always of the same noise."""
    assert isinstance(model, GenerativeModel)
    n, shape = len(batch.x), tuple(batch.x.shape[1:])
    z = model.sample_prior(n, shape, make_generator(torch.device("cpu"), 0, "compared"), **nets).to(batch.x.device)
    return model.generate(z, *model.condition_of(batch), **nets)


def outside_share(fake: Tensor, x: Tensor, scaling: Scaling | None = None) -> float:
    """The share of samples of vectors that lie outside of the examples' box, made larger by half of it on every side.

    No side of the box is shorter than two deviations of its column over all the data, of which these are a few: a rare
    number may not be among them.  Where vectors are not standardised, that is at least two of these examples' own.  A
    column that never changes does not count: its samples are what it was.
    """
    low, high = x.amin(0), x.amax(0)
    column_std = x.std(0, correction=0)
    column_scale = torch.where(column_std > 0, column_std, column_std.square().mean().sqrt() + (column_std == 0).all())
    is_variable = torch.ones_like(column_std, dtype=torch.bool)
    if scaling is not None and scaling.std is not None:
        column_scale, is_variable = torch.ones_like(column_std), scaling.std.to(column_std.device) > 0
    margin = 0.5 * torch.maximum(high - low, 2 * column_scale)
    return (((fake < low - margin) | (fake > high + margin)) & is_variable).any(1).float().mean().item()
