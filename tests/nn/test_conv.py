"""Convolutional networks: what their layers compute, of images of any size."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, interpolate

from ganvas.nn import decoder
from ganvas.nn.conv import ResizeConv2d, conv_decoder, conv_encoder
from ganvas.nn.mlp import Norm

SIZES = [((6, 7), (12, 14)), ((6, 7), (6, 14)), ((6, 7), (12, 7)), ((4, 5), (9, 11)), ((1, 7), (1, 15))]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("small", "large"), SIZES, ids=str)
def test_resizing_and_convolving_are_one_layer(small: tuple[int, int], large: tuple[int, int], bias: bool) -> None:
    """All but the last row or column of an odd size, which the interpolation does not have."""
    layer = ResizeConv2d((3, *small), (5, *large), bias=bias).double()
    x = torch.randn(2, 3, *small, dtype=torch.float64)
    scale = tuple(n // m for n, m in zip(large, small, strict=True))
    expected = conv2d(interpolate(x, scale_factor=tuple(map(float, scale))), layer.weight, layer.bias, padding=1)
    y = layer(x)
    assert y.shape == (2, 5, *large)
    h, w = (n - (n % k > 0) for n, k in zip(large, scale, strict=True))
    assert torch.allclose(y[:, :, :h, :w], expected[:, :, :h, :w], rtol=0, atol=1e-12)


def test_resizing_draws_no_checkerboard_where_a_transposed_convolution_does() -> None:
    """Of a constant map all of a layer's power is at frequency 0, whatever its weights; borders are left out."""
    x = torch.ones(1, 8, 16, 16)
    for layer, has_checkerboard in (
        (ResizeConv2d((8, 16, 16), (4, 32, 32), bias=True), False),
        (nn.ConvTranspose2d(8, 4, 4, 2, 1), True),
    ):
        with torch.no_grad():
            power = torch.fft.fft2(layer(x)[0, :, 4:-4, 4:-4]).abs().square()
        n = power.shape[1] // 2
        nyquist = power[:, n, :].sum() + power[:, :, n].sum()
        assert bool(nyquist > 1e-6 * power.sum()) == has_checkerboard


@pytest.mark.parametrize(
    "shape", [(1, 28, 28), (3, 32, 32), (4, 17, 40), (1, 5, 5), (3, 8, 65), (1, 1, 30), (3, 101, 64)]
)
def test_resizing_decoders_return_images_of_any_size(shape: tuple[int, int, int]) -> None:
    net = decoder("resize", 7, shape, 3, 0, norm="batch")
    assert net(torch.randn(2, 7)).shape == (2, *shape)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17, 31])
def test_layers_of_signals_compute_sums_over_their_kernels(length: int) -> None:
    """A NumPy reference of the convolutions down to below 8 steps and the transposed ones back up, any length."""
    weights = conv_encoder((2, length), 1, 3).double(), conv_decoder(1, (2, length), 3).double()
    x = np.random.default_rng(0).normal(size=(2, length))
    lengths = [length]
    for net, is_up in zip(weights, (False, True), strict=True):
        for layer in (m for m in net if isinstance(m, nn.Conv1d | nn.ConvTranspose1d)):
            w, b = (p.detach().numpy() for p in (layer.weight, layer.bias))
            (k,), (s,) = layer.kernel_size, layer.stride
            n = x.shape[1]
            target = lengths[lengths.index(n) - 1] if is_up and s == 2 else n if is_up or s == 1 else n // 2
            padded = np.zeros((w.shape[1], (target if is_up else n) + 2 + k))
            if is_up:
                for i in range(n):
                    padded[:, s * i : s * i + k] += np.einsum("i,iok->ok", x[:, i], w)
                expected = padded[:, 1 : target + 1] + b[:, None]
            else:
                padded[:, 1 : n + 1] = x
                windows = [padded[:, s * i : s * i + k] for i in range(target)]
                expected = np.stack([np.einsum("ik,oik->o", window, w) for window in windows], 1) + b[:, None]
                lengths.append(target)
            y = layer(torch.from_numpy(x)[None])[0].detach().numpy()
            assert y.shape == expected.shape
            assert np.allclose(y, expected, atol=1e-12)
            x = y
    assert x.shape == (2, length)


@pytest.mark.parametrize("shape", [(3, 32, 20), (2, 19), (1, 5, 9, 8)])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_fine_convolutions_follow_the_first_layer(shape: tuple[int, ...], norm: Norm) -> None:
    plain, fine = (conv_encoder(shape, 1, 4, norm=norm, fine_convolutions=n) for n in (0, 2))
    kinds = nn.Conv1d | nn.Conv2d | nn.Conv3d
    added = [layer for layer in fine if isinstance(layer, kinds)][1:3]
    assert all((c.in_channels, c.out_channels, *c.kernel_size[:1], *c.stride[:1]) == (4, 4, 3, 1) for c in added)
    weights = sum(p.numel() for p in fine.parameters()) - sum(p.numel() for p in plain.parameters())
    of_norm = 0 if norm == "none" else 2 * 4
    assert weights == 2 * (4 * 4 * 3 ** len(shape[1:]) + (of_norm or 4))
    assert fine(torch.randn(3, *shape)).shape == (3, 1)
