"""CUT.  Park, Efros, Zhang & Zhu, Contrastive learning for unpaired image-to-image translation, arXiv:2007.15651.

G: A -> B against a critic D, and nothing leads back: so B may be poorer, as line art is.  x is from A, y from B.

    D     descends  half of  E (D(y) - 1)^2 + E D(G(x))^2                         (equation 1, with squares)
    G, H  descend   E (D(G(x)) - 1)^2  +  nce PatchNCE(x)  +  identity PatchNCE(y)          (equation 5)

    PatchNCE(x) = E -log( exp(q_s k_s / t) / sum_r exp(q_s k_r / t) ),   q = H(G_enc(G(x))),  k = H(G_enc(x))

(equations 3 and 4): what a layer of G's encoder sees at the place s of the translation is to resemble what it saw there
in the input, more than at other places r of that input.  H is an MLP a layer, q and k have length 1, and the layers are
the pixels, both downsampling convolutions, and the first and the fifth residual block.  PatchNCE(y) is of y and G(y).

Equation 4 sums over layers and places; this is the mean, and k is constant in the gradient, of which the equations say
nothing: both as in the authors' code.  That also halves the two weights of equation 5, where both are in use; this does
not.  G_enc takes images like those of A, so G(x) and y get A's size and channels.

FastCUT is --nce-weight 10 --identity-weight 0, here without that code's equivariance to flips.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ..data import DomainPair
from ..errors import UserError
from ..fields import Count, Positive, Weight
from ..model import Moves, PairBatches, Shape, kind_of, minimize
from ..nn import Width
from ..nn.compilation import uncompiled
from ..nn.translators import ResidualBlock, ResidualTranslator, ResnetTranslator, pad_to_multiple
from ..objectives.adversarial import generator_loss
from ..objectives.translation import patch_nce
from ._translator import SQUARES, PatchTranslator, critic_terms

HEAD_UNITS = 256


class CUT(PatchTranslator):
    """A translator from A to B alone learns to keep at each place what tells it from the image's other places."""

    training_only: ClassVar[tuple[str, ...]] = ("D", "H")
    translators: ClassVar[dict[str, str]] = {"B": "G"}
    ignored_options: ClassVar[tuple[str, ...]] = (*PatchTranslator.ignored_options, "depth", "depth_d")

    net: Literal["auto", "conv"] = "auto"
    """kind of networks: convolutions, for images alone"""
    width: Width = None
    """channels next to the image (64)"""
    nce_weight: Weight = 1.0
    """weight of PatchNCE between images and their translations"""
    identity_weight: Weight = 1.0
    """weight of PatchNCE between examples of B and what G makes of them"""
    temperature: Positive = 0.07
    """temperature of PatchNCE"""
    patches: Count = 256
    """places of an image that are compared, where it has as many"""

    def validate_data(self, data: DomainPair) -> None:
        super().validate_data(data)
        if (kind := kind_of(data.shape[0])) != "image":
            raise UserError(f"cut compares places of images, but the data are {kind}s: train cyclegan or discogan")

    def networks(self, shape: tuple[Shape, Shape], classes: int = 0) -> dict[str, nn.Module]:
        a, b = shape
        G, width = self.translator(a, b), self.width or 64
        channels = [a[0], 2 * width, *[4 * width] * (len(encoder_layers(G)) - 1)]
        return {"G": G, "D": self.critic(b), "H": Heads(channels)}

    def step(self, batches: PairBatches, global_step: int, G: nn.Module, D: nn.Module, H: nn.Module) -> Moves:
        """The authors' order: D on translations, then G and H on the same ones, as if each had an Adam of its own."""
        x, y = (self.random_view(batch.x) for batch in next(batches))
        inputs = [x, like_input(y, x)] if self.identity_weight else [x]
        fake, *same = G(torch.cat(inputs)).split([len(images) for images in inputs])
        terms, logged = critic_terms(D, "B", y, fake.detach())
        yield minimize(D, **terms)._replace(logged=logged)  # equation 1
        terms = {"fool": 2 * generator_loss(SQUARES, D(fake)), "nce": self.nce_weight * self.patch_nce(G, H, x, fake)}
        if self.identity_weight:
            terms["identity"] = self.identity_weight * self.patch_nce(G, H, inputs[1], same[0])
        yield minimize(G, H, **terms)  # equation 5

    def patch_nce(self, G: nn.Module, H: nn.Module, x: Tensor, fake: Tensor) -> Tensor:
        """Equation 4: the mean over layers, at random places that are the same in x and in its translation."""
        with torch.no_grad():
            maps = encoder_features(G, x)
            places = [random_places(layer, self.patches) for layer in maps]
            keys = H(select_places(maps, places))
        queries = H(select_places(encoder_features(G, like_input(fake, x)), places))
        losses = [patch_nce(q, k, self.temperature) for q, k in zip(queries, keys, strict=True)]
        return torch.stack(losses).mean()


class Heads(nn.Module):
    """H: of each layer an MLP of two layers, from a place's channels to HEAD_UNITS numbers."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        mlps = [nn.Sequential(nn.Linear(c, HEAD_UNITS), nn.ReLU(), nn.Linear(HEAD_UNITS, HEAD_UNITS)) for c in channels]
        self.mlps: nn.ModuleList = nn.ModuleList(mlps)
        for name, parameter in self.named_parameters():
            nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.normal_(parameter, 0.0, 0.02)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [mlp(layer) for mlp, layer in zip(self.mlps, features, strict=True)]


def encoder_network(G: nn.Module) -> ResnetTranslator:
    """G, of which the layers can be called."""
    net = uncompiled(G)
    net = net.net if isinstance(net, ResidualTranslator) else net
    assert isinstance(net, ResnetTranslator)
    return net


def encoder_layers(G: nn.Module) -> dict[int, int]:
    """The paper's layers, by their places in G's body, each with the pixels from one number of its maps to the next."""
    n_blocks = sum(isinstance(layer, ResidualBlock) for layer in encoder_network(G).body)
    return {4: 2, 7: 4, 10: 4, 9 + min(n_blocks, 5): 4}  # convolutions, the first block, and the fifth or the last


def encoder_features(G: nn.Module, x: Tensor) -> list[Tensor]:
    """What G's encoder sees of images: b x c x h x w of the pixels, and of the paper's layers."""
    net, layers = encoder_network(G), encoder_layers(G)
    maps, y = [x := net.resize(x)], pad_to_multiple(x, 4, 8)
    for i in range(max(layers) + 1):
        y = net.body[i](y)
        if i in layers:
            h, w = (-(-n // layers[i]) for n in x.shape[2:])
            maps.append(y[:, :, :h, :w])  # without what was padded
    return maps


def random_places(maps: Tensor, n: int) -> Tensor:
    """The numbers of n random places of each image, b x n, or of all places where there are fewer."""
    b, _, h, w = maps.shape
    return torch.rand(b, h * w, device=maps.device).topk(min(n, h * w)).indices


def select_places(maps: list[Tensor], places: list[Tensor]) -> list[Tensor]:
    """A layer's channels at these places of each image: b x n x c."""
    return [layer.flatten(2).take_along_dim(p[:, None], 2).mT for layer, p in zip(maps, places, strict=True)]


def like_input(y: Tensor, x: Tensor) -> Tensor:
    """Images y in the size and with the channels of x: colours become grey or grey colours, alpha is opaque."""
    channels = x.shape[1]
    if y.shape[1] != channels:
        colours = y[:, :3].mean(1, keepdim=True) if channels == 1 else y[:, :3].expand(-1, 3, -1, -1)
        y = torch.cat([colours, y[:, 3:], torch.ones_like(y[:, :1])], 1)[:, :channels]
    size = x.shape[2:]
    return y if y.shape[2:] == size else interpolate(y, size, mode="bilinear", antialias=True)
