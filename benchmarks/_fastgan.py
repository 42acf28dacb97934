"""FastGAN, for few pictures, written anew from its paper, for smaller images: Liu et al., arXiv:2101.04775.

G: a transposed convolution makes the first maps from 256 normal numbers; each further side has one 3 x 3 convolution of
maps enlarged by nearest neighbours, batch norm and a gated linear unit.  Skip-layer excitation multiplies each map of
the two largest sides by a gate that follows from the two smallest sides' maps, y = F(low) high (section 3.1).

D: strided residual blocks, whose logits the hinge loss takes.  On real images it is an encoder too: two small decoders
draw the image from D's last maps, and a random quarter of it from the same quarter of the maps before (section 3.2).

All convolutions have spectral norm, and weights begin as N(0, 0.02^2).  D sees DiffAugment's images.  Adam 2e-4, betas
0.5 and 0.999, batch 8, and averages of G's weights, 0.999; samples take batch norm from their own batch of 100.

What differs from the paper's 256 to 1,024 pixels:

- G's sides are those of the image, halved down to 4 to 7: 4 8 16 32 of 32 pixels, 7 14 28 of 28.  The paper's gates
  go from 8 to 128 and from 16 to 256; here from 4 to 32 and from 8 to 64, or from 4 to 16 and from 8 to 32.
- D halves the image three times.  As in the paper the decoders draw half of its side, both the whole image and the
  quarter; they begin at an eighth of it in place of a 32nd, so they enlarge twice in place of four times.
- Maps are as many as its authors have at each side, MAPS, times a `width` that a processor can afford.
- The reconstruction's loss is L1, as VGG's weights, of the paper's perceptual loss, are not here.
- The average of weights spans fewer steps at first, (1 + n) / (10 + n), since it has minutes in place of hours.
"""

from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise
from typing import Any

import ganvas  # noqa: F401  first: it sets how torch's threads wait

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, l1_loss
from torch.nn.utils.parametrizations import spectral_norm

from ganvas.errors import UserError
from ganvas.nn.augment import Augmentation, augment
from ganvas.objectives.adversarial import discriminator_terms, generator_loss

MAPS = {4: 1024, 8: 512, 16: 256, 32: 128, 64: 128}
"""G's maps at each side; D has twice as many, but no more than the most"""
LATENT, BATCH, LR, BETAS, EMA = 256, 8, 2e-4, (0.5, 0.999), 0.999
KINDS: tuple[Augmentation, ...] = ("color", "translation", "cutout")
DECODER_MAPS = (128, 64)
LEAK = 0.2


def sides_of(shape: tuple[int, ...]) -> list[int]:
    """The sides of G's maps, the smallest first; UserError for images that cannot be halved so."""
    sides = [shape[-1]]
    while sides[0] > 7 and sides[0] % 2 == 0:
        sides.insert(0, sides[0] // 2)
    if shape[1] != shape[2] or not 3 <= len(sides) <= len(MAPS) or sides[0] > 7:
        size = f"{shape[1]} x {shape[2]}"
        raise UserError(
            f"fastgan is for square images of 16 to 64 pixels whose side halves to 4 to 7, not of {size}: leave it out"
        )
    return sides


def maps_at(side: int, width: float, factor: int = 1) -> int:
    """Maps of G at a side, as at the next power of two, or so many times as many."""
    return max(1, round(width * min(max(MAPS.values()), factor * MAPS[max(4, 1 << (side - 1).bit_length())])))


def enlarge(a: int, b: int) -> nn.Sequential:
    """b maps of twice the side from a."""
    convolution = nn.Conv2d(a, 2 * b, 3, padding=1, bias=False)
    return nn.Sequential(nn.Upsample(scale_factor=2), convolution, nn.BatchNorm2d(2 * b), nn.GLU(1))


def gate(low: int, high: int) -> nn.Sequential:
    """A factor in [0, 1] for each of so many maps of a large side, from those of a small one."""
    squeeze = nn.AdaptiveAvgPool2d(4), nn.Conv2d(low, high, 4), nn.LeakyReLU(LEAK)
    return nn.Sequential(*squeeze, nn.Conv2d(high, high, 1), nn.Sigmoid())


class Generator(nn.Module):
    """Noise b x 256 becomes images b x c x h x w in [-1, 1]."""

    def __init__(self, shape: tuple[int, ...], width: float) -> None:
        super().__init__()
        sides = sides_of(shape)
        maps = [maps_at(side, width) for side in sides]
        first = nn.ConvTranspose2d(LATENT, 2 * maps[0], sides[0], bias=False)
        self.first = nn.Sequential(nn.Unflatten(1, (LATENT, 1, 1)), first, nn.BatchNorm2d(2 * maps[0]), nn.GLU(1))
        self.blocks = nn.ModuleList(enlarge(a, b) for a, b in pairwise(maps))
        self.gates = nn.ModuleList(gate(low, high) for low, high in zip(maps[:2], maps[-2:], strict=True))
        self.last = nn.Sequential(nn.Conv2d(maps[-1], shape[0], 3, padding=1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        maps = [self.first(z)]
        for block in self.blocks:
            x = block(maps[-1])
            i = len(maps) - len(self.blocks) + 1  # 0 and 1 at the last two sides
            maps.append(x * self.gates[i](maps[i]) if i >= 0 else x)
        image: Tensor = self.last(maps[-1])
        return image


class Reduction(nn.Module):
    """b maps of half the side from a: the mean of two ways, of two convolutions and of pooling."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.deep = nn.Sequential(
            nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(LEAK),
            nn.Conv2d(b, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(LEAK),
        )  # fmt: skip
        self.direct = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(a, b, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(LEAK)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = (self.deep(x) + self.direct(x)) / 2
        return y


class Discriminator(nn.Module):
    """Images become logits, 5 x 5 an image of 64 pixels, one of 32; and what its decoders draw."""

    def __init__(self, shape: tuple[int, ...], width: float) -> None:
        super().__init__()
        sides = [shape[-1] >> halvings for halvings in (1, 2, 3)]
        maps = [maps_at(side, width, 2) for side in sides]
        self.first = nn.Sequential(nn.Conv2d(shape[0], maps[0], 4, 2, 1, bias=False), nn.LeakyReLU(LEAK))
        self.fine, self.coarse = (Reduction(a, b) for a, b in pairwise(maps))
        self.logits = nn.Sequential(
            nn.Conv2d(maps[2], maps[2], 1, bias=False), nn.BatchNorm2d(maps[2]), nn.LeakyReLU(LEAK),
            nn.Conv2d(maps[2], 1, min(4, sides[2]), bias=False),
        )  # fmt: skip
        a, b = (max(1, round(width * n)) for n in DECODER_MAPS)
        self.decode_part, self.decode_all = (
            nn.Sequential(enlarge(n, a), enlarge(a, b), nn.Conv2d(b, shape[0], 3, padding=1), nn.Tanh())
            for n in maps[1:]
        )

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of a quarter and of an eighth of the image's side."""
        fine = self.fine(self.first(x))
        return fine, self.coarse(fine)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.logits(self.maps(x)[1])
        return logits

    def judge_and_reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the mean absolute errors of the image and of a quarter of it, as the decoders draw them."""
        fine, coarse = self.maps(x)
        whole, side = self.decode_all(coarse), fine.shape[-1] // 2
        row, column = torch.randint(fine.shape[-1] - side + 1, (2,)).tolist()
        part = self.decode_part(fine[:, :, row : row + side, column : column + side])
        target = x[:, :, 4 * row : 4 * (row + side), 4 * column : 4 * (column + side)]
        small = interpolate(x, whole.shape[-2:], mode="bilinear", antialias=True)
        return self.logits(coarse), l1_loss(whole, small) + l1_loss(part, target)


def make_networks(shape: tuple[int, ...], width: float) -> tuple[Generator, Discriminator]:
    """G and D as they begin, with spectral norm."""
    nets = Generator(shape, width), Discriminator(shape, width)
    for layer in [layer for net in nets for layer in net.modules()]:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            spectral_norm(layer)
    return nets


class FastGAN:
    """The networks, and the average of G."""

    def __init__(self, shape: tuple[int, ...], width: float) -> None:
        self.G, self.D = make_networks(shape, width)
        self.average = deepcopy(self.G).requires_grad_(False)

    def steps(self, batches: Iterator[Tensor]) -> Iterator[None]:
        """Train on batches of images in [-1, 1], a batch a step."""
        G, D, adam = self.G, self.D, torch.optim.Adam
        optimizer_g, optimizer_d = (adam(net.parameters(), LR, BETAS, fused=True) for net in (G, D))
        for n, x in enumerate(batches):
            fake = G(torch.randn(len(x), LATENT))
            logits, reconstruction = D.judge_and_reconstruct(augment(x, KINDS))
            terms: dict[str, Any] = discriminator_terms("hinge", logits, D(augment(fake.detach(), KINDS)))
            optimizer_d.zero_grad()
            (terms["real"] + terms["fake"] + reconstruction).backward()
            optimizer_d.step()
            loss = generator_loss("hinge", D(augment(fake, KINDS)))
            optimizer_g.zero_grad()
            loss.backward(inputs=list(G.parameters()))
            optimizer_g.step()
            decay = min(EMA, (1 + n) / (10 + n))
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.parameters()), list(G.parameters()), 1 - decay)
            yield

    @torch.no_grad()
    def samples(self, z: Tensor) -> Tensor:
        """Images in [-1, 1] of noise n x 256, by the average; its batch norm takes each batch's own moments."""
        for average, buffer in zip(self.average.buffers(), self.G.buffers(), strict=True):
            average.copy_(buffer)
        return torch.cat([self.average(part) for part in z.split(100)])
