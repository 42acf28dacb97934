"""Residual networks: R3GAN's by its paper, resampling that draws no checkerboard, fix-up, images of any size."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, interpolate

import ganvas
from ganvas.nn import decoder, encoder, residual
from ganvas.nn.residual import BLOCKS, GAIN, Basis, Resample, ResidualBlock, n_groups

SIZES = [((6, 7), (12, 14)), ((6, 7), (6, 14)), ((4, 5), (9, 11)), ((1, 7), (1, 15)), ((16, 16), (32, 32))]


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def share_at_nyquist(maps: Tensor) -> float:
    """Of all maps' power, the part in the highest frequency of either axis; maps have even height and width."""
    power = torch.fft.fft2(maps).abs().square()
    h, w = (n // 2 for n in maps.shape[-2:])
    return float((power[..., h, :].sum() + power[..., :, w].sum()) / power.sum())


def test_r3gans_networks_are_those_of_its_paper() -> None:
    """Config E of arXiv:2501.05441 for FFHQ at 256 x 256, in the ablation of configs A to E: 23.058M and 23.010M.

    Maps of 96, 192, 384 and from then on 768 channels, 256 to 4 wide; two blocks at each size, in groups of 16
    channels: 12, 24, 48 and 96 groups; z has 64 numbers; no normalisation.  Biases are in the blocks, before their
    activations; those of the layers next to image and logit are ours.
    """
    with torch.device("meta"):
        nets = ganvas.R3GAN(net="residual", width=96, latent=64).networks((3, 256, 256))
    G, D = nets["G"], nets["D"]
    channels = [96, 192, 384, 768, 768, 768, 768]
    for net, stages in ((D, channels), (G, channels[::-1])):
        blocks = [layer for layer in net.children() if isinstance(layer, ResidualBlock)]
        assert [block.last.out_channels for block in blocks] == [c for c in stages for _ in range(2)]
        for c, block in zip((c for c in stages for _ in range(2)), blocks, strict=True):
            layers = [type(layer) for layer in (*block.first, block.last)]
            assert layers == [nn.Conv2d, nn.LeakyReLU, nn.Conv2d, nn.LeakyReLU, nn.Conv2d]
            assert block.first[2].groups == c // 8
            assert count(block) == c * 2 * c + 2 * c * 16 * 9 + 2 * c * c + 2 * 2 * c
    in_blocks = sum(2 * (4 * c * c + 292 * c) for c in channels)
    transitions = 96 * 192 + 192 * 384 + 384 * 768
    assert count(G) == 64 * 768 + 768 * 16 + in_blocks + transitions + 96 * 3 + 3
    assert count(D) == 3 * 96 + 96 + in_blocks + transitions + 768 * 16 + 768 + 1
    assert [round(count(net) / 1e6, 3) for net in (G, D)] == [23.058, 23.010]


def test_layers_are_those_of_its_cifar_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its authors' networks for CIFAR-10 have 768 channels at each size, 32 to 4, where ours double.

    With as many channels the layers are the same.  Counted by hand from the layers in the authors' code, since a total
    is not published: weights and the biases before activations, in millions 20.732 and 20.684; ours have a bias next to
    the image and the logit besides.
    """
    c, pixels = 768, (32, 16, 8, 4)
    monkeypatch.setattr(residual, "stage_shapes", lambda shape, width: [(width, n, n) for n in pixels])
    with torch.device("meta"):
        G, D = residual.residual_decoder(64, (3, 32, 32), c), residual.residual_encoder((3, 32, 32), 1, c)
    blocks = 2 * len(pixels) * (c * 2 * c + 2 * c * 16 * 9 + 2 * c * c + 2 * 2 * c)
    basis = c * 4 * 4
    theirs = [64 * c + basis + blocks + c * 3, 3 * c + blocks + basis + c]
    assert [round(n / 1e6, 3) for n in theirs] == [20.732, 20.684]
    assert [count(G) - 3, count(D) - c - 1] == theirs
    for net in (G, D):
        kinds = [type(layer) for layer in net if isinstance(layer, ResidualBlock | Resample)]
        stage = [ResidualBlock] * 2
        assert kinds == [*stage, *(Resample, *stage) * 3]
        assert {layer.first[2].groups for layer in net if isinstance(layer, ResidualBlock)} == {96}


def test_the_filter_of_resampling_is_its_authors() -> None:
    """1, 2, 1 convolved with 1, 1, with zeros beyond the border, where ours has only pixels that are there."""
    row = torch.tensor(np.convolve([1.0, 2.0, 1.0], [1.0, 1.0]))
    kernel = (row[:, None] * row / 64)[None, None]
    x, small, large = torch.randn(2, 1, 12, 12, dtype=torch.float64), (1, 6, 6), (1, 12, 12)
    down = Resample(small, large, up=False).double()(x)
    up = Resample(large, (1, 24, 24), up=True).double()(x)
    inner = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(down[inner], conv2d(x, kernel, None, 2, 1)[inner])
    torch.testing.assert_close(up[inner], conv_transpose2d(x, 4 * kernel, None, 2, 1)[inner])


@pytest.mark.parametrize("net", ["G", "D"])
def test_residual_networks_begin_with_fix_up(net: str) -> None:
    """arXiv:1901.09321, section 3: each block the identity, the other layers' weights scaled by L^(-1/(2m - 2)), m = 3.

    What DCGAN's weights would be is not drawn over them.
    """
    layers = ganvas.R3GAN(net="residual", width=32).networks((3, 32, 32))[net]
    blocks = [layer for layer in layers.children() if isinstance(layer, ResidualBlock)]
    assert len(blocks) == 4 * BLOCKS
    for block in blocks:
        x = torch.randn(2, block.last.out_channels, 6, 6)
        assert torch.equal(block(x), x)
        for layer in (block.first[0], block.first[2]):
            deviation = GAIN * len(blocks) ** -0.25 / layer.weight[0].numel() ** 0.5
            assert layer.weight.std().item() == pytest.approx(deviation, rel=0.1)
            assert not layer.bias.any()


def test_signals_neither_vanish_nor_explode_at_the_beginning() -> None:
    for width in (8, 32):
        x = decoder("residual", 64, (3, 64, 64), width, 0)(torch.randn(64, 64))
        assert 0.2 < float(x.detach().std()) < 2
        code = encoder("residual", (3, 64, 64), 64, width, 0)(x)
        assert 0.02 < float(code.detach().std()) < 2


@pytest.mark.parametrize(("small", "large"), SIZES, ids=str)
def test_resampling_is_bilinear_interpolation(small: tuple[int, int], large: tuple[int, int]) -> None:
    """Filtered downwards; upwards all but the last row or column of an odd size, which has its neighbour's values."""
    x, y = (torch.randn(2, 3, *size, dtype=torch.float64) for size in (small, large))
    up, down = (Resample((3, *small), (3, *large), up=up).double() for up in (True, False))
    even = [m if n == m else 2 * m for m, n in zip(small, large, strict=True)]
    found, expected = up(x), interpolate(x, even, mode="bilinear")
    assert found.shape[2:] == large
    assert torch.allclose(found[:, :, : even[0], : even[1]], expected, rtol=0, atol=1e-12)
    assert torch.allclose(found[:, :, -1], found[:, :, even[0] - 1], rtol=0, atol=1e-12)
    assert down(y).shape[2:] == small
    if even == list(large):
        assert torch.allclose(down(y), interpolate(y, small, mode="bilinear", antialias=True), rtol=0, atol=1e-12)
    assert torch.autograd.gradgradcheck(down, y[:1, :1].requires_grad_())


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize(("small", "large"), SIZES, ids=str)
def test_resampling_draws_no_checkerboard(small: tuple[int, int], large: tuple[int, int], up: bool) -> None:
    """A constant map stays the same constant, up to its borders."""
    y = Resample((8, *small), (8, *large), up=up)(torch.ones(1, 8, *(small if up else large)))
    assert torch.allclose(y, torch.ones_like(y), rtol=0, atol=1e-6)


def test_a_checkerboard_is_not_aliased() -> None:
    """Downwards it vanishes; borders are left out."""
    board = 1.0 - 2 * (torch.arange(32)[:, None] + torch.arange(32)).remainder(2)
    stripes = (1.0 - 2 * torch.arange(32).remainder(2)).expand(32, -1)
    y = Resample((1, 16, 16), (1, 32, 32), up=False)(torch.stack([board, stripes])[:, None])
    assert y[:, :, 1:-1, 1:-1].abs().max() < 1e-6


def test_samples_have_no_power_at_nyquist() -> None:
    """Of images from fresh decoders: transposed convolutions have a checkerboard, residual networks have none.

    Codes are the mean over many, since a checkerboard is in the same place in all.
    """
    torch.manual_seed(0)
    shares = {}
    for net in ("conv", "residual"):
        G = ganvas.R3GAN(net=net, width=16).networks((3, 64, 64))["G"][:-1]  # before tanh
        with torch.no_grad():
            shares[net] = share_at_nyquist(G(torch.randn(256, 64))[:, :, 4:-4, 4:-4])
    assert shares["residual"] < 1e-3 < shares["conv"]


def test_blocks_of_any_weights_draw_no_checkerboard() -> None:
    """Of a constant map, after interpolation and two blocks, all power is at frequency 0; borders are left out."""
    blocks = [ResidualBlock(8, "none", "leaky-relu") for _ in range(2)]
    with torch.no_grad():
        y = nn.Sequential(Resample((8, 16, 16), (8, 32, 32), up=True), *blocks)(torch.ones(1, 8, 16, 16))
    assert share_at_nyquist(y[:, :, 4:-4, 4:-4]) < 1e-9


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_residual_networks_take_images_of_any_size(channels: int) -> None:
    """Odd or even, square or not, up to 256 pixels."""
    with torch.device("meta"):
        for n in (*range(channels, 9, 4), *range(16 + channels, 257, 29)):
            shape = (channels, n, max(1, 272 - n - n // 3))
            x = decoder("residual", 5, shape, 2, 0, norm="batch")(torch.empty(2, 5))
            assert x.shape == (2, *shape)
            assert encoder("residual", shape, 3, 2, 0)(x).shape == (2, 3)


def test_every_size_is_halved_and_doubled() -> None:
    for n in range(2, 257):
        large, small = (1, n, 1), (1, n // 2, 1)
        assert Resample(small, large, up=False)(torch.empty(1, *large)).shape[1:] == small
        assert Resample(small, large, up=True)(torch.empty(1, *small)).shape[1:] == large


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (16, 1), (20, 1), (32, 2), (50, 2), (64, 4), (1536, 96)])
def test_groups_have_sixteen_channels_or_more(channels: int, groups: int) -> None:
    assert n_groups(channels) == groups


def test_a_basis_is_a_map_a_channel() -> None:
    basis, z = Basis(7, (5, 4, 6)), torch.randn(3, 7)
    y = basis(z)
    assert y.shape == (3, 5, 4, 6)
    torch.testing.assert_close(y[2, 3], basis.maps[3] * (basis.linear.weight[3] @ z[2]))


def test_spectral_norm_divides_layers_that_would_begin_at_zero() -> None:
    D = ganvas.DCGAN(net="residual", width=4, spectral_norm=True, norm_d="none").networks((3, 16, 16))["D"]
    y = D(torch.randn(5, 3, 16, 16))
    assert y.isfinite().all()
    y.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in D.parameters())
