"""What discriminators have besides the layers of an encoder: label projection, spectral norm, a pool of past fakes."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..model import Shape
from .conv import Convolution
from .residual import ResidualBlock


class ProjectionDiscriminator(nn.Module):
    """D(x, y) = psi(phi(x)) + <v_y, phi(x)>, psi the linear layer that ends `net` (arXiv:1802.05637, equation 3)."""

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
    """Divide weights by their largest singular values, by power iteration in float32: arXiv:1802.05957, algorithm 1."""
    for layer in list(net.modules()):
        if isinstance(layer, ResidualBlock):
            nn.init.kaiming_normal_(layer.last.weight)  # of fix-up's, which are 0, the largest singular value is too
        if isinstance(layer, Convolution | nn.Linear | nn.Embedding):
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


class ImagePool(nn.Module):
    """The last `size` fakes or so: while there is room, each fake is stored and returned.

    Then, with probability 1/2, it replaces a random old one, which is returned; else it is returned and not stored.
    Shrivastava et al., arXiv:1612.07828, section 2.3, in CycleGAN's version (arXiv:1703.10593, section 4).  All
    decisions are made on the device, so nothing waits; contents are buffers, so a checkpoint has them.
    """

    rank_state: ClassVar[tuple[str, ...]] = ("kept", "seen")  # each of several ranks has its own past
    kept: Tensor
    seen: Tensor

    def __init__(self, shape: Shape, size: int) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(size, *shape))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, new: Float[Tensor, "b *shape"]) -> Float[Tensor, "b *shape"]:
        size, device = len(self.kept), new.device
        if size == 0:
            return new.detach()
        coin, place = torch.rand(len(new), device=device), torch.randint(size, (len(new),), device=device)
        return self.query(new.to(self.kept.dtype), coin, place)

    def query(
        self, new: Float[Tensor, "b *shape"], coin: Float[Tensor, " b"], place: Int64[Tensor, " b"]
    ) -> Float[Tensor, "b *shape"]:
        """The fakes returned, for a coin in [0, 1) and a place 0, ..., size - 1 of each."""
        size, outputs = len(self.kept), []
        for fake, toss, index in zip(new, coin, place, strict=True):
            has_room = self.seen < size
            is_swapped = ~has_room & (toss > 0.5)
            slot = torch.where(has_room, self.seen, index)[None]
            old = self.kept.index_select(0, slot)[0]
            outputs.append(torch.where(is_swapped, old, fake))
            self.kept.index_copy_(0, slot, torch.where(has_room | is_swapped, fake, old)[None])
            self.seen += 1
        return torch.stack(outputs)


class CriticWithPool(nn.Module):
    """A critic with its own pool of past fakes."""

    def __init__(self, net: nn.Module, shape: Shape, size: int) -> None:
        super().__init__()
        self.net: nn.Module = net
        self.past: ImagePool = ImagePool(shape, size)

    def forward(self, x: Float[Tensor, "b *shape"]) -> Tensor:
        logits: Tensor = self.net(x)
        return logits
