"""What discriminators have besides the layers of an encoder: label projection and spectral norm."""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class ProjectionDiscriminator(nn.Module):
    """D(x, y) = psi(phi(x)) + <v_y, phi(x)>: the label is compared with what D sees.

    `net` is a discriminator whose last layer, psi, is linear: what comes before it is phi.  Miyato & Koyama,
    arXiv:1802.05637, equation 3.
    """

    def __init__(self, net: nn.Sequential, classes: int) -> None:
        super().__init__()
        last = net[-1]
        assert isinstance(last, nn.Linear)
        self.phi: nn.Module = net[:-1]
        self.psi: nn.Linear = last
        self.v: nn.Embedding = nn.Embedding(classes, last.in_features)
        nn.init.normal_(self.v.weight, 0.0, last.in_features**-0.5)

    def forward(self, x: Float[Tensor, "b *shape"], y: Int64[Tensor, " b"]) -> Float[Tensor, "b 1"]:
        features = self.phi(x)
        return torch.add(self.psi(features), (self.v(y) * features).sum(1, keepdim=True))


def add_spectral_norm(net: nn.Module) -> nn.Module:
    """The network with every weight divided by its largest singular value, by power iteration in float32.

    Miyato et al., arXiv:1802.05957, algorithm 1: one iteration at each use in training.
    """
    for layer in list(net.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            spectral_norm(layer)
            parametrizations: Any = layer.parametrizations
            parametrizations.weight[0] = WithoutAutocast(parametrizations.weight[0])
    return net


class WithoutAutocast(nn.Module):
    """A module that computes in the precision of its input, whatever autocast says."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            y: Tensor = self.module(x)
        return y
