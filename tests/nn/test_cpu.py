"""Layers for the CPU against PyTorch's own."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from ganvas.nn.cpu import InstanceNorm, OutputConv2d

LAST, FIRST = torch.channels_last, torch.contiguous_format


@pytest.mark.parametrize("order", [LAST, FIRST])
def test_instance_norm_is_that_of_pytorch(order: torch.memory_format) -> None:
    x = torch.randn(3, 5, 7, 6).to(memory_format=order)
    torch.testing.assert_close(InstanceNorm(5)(x), nn.InstanceNorm2d(5)(x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(InstanceNorm(5)(x)[1:2], InstanceNorm(5)(x[1:2]), rtol=1e-5, atol=1e-6)
    assert InstanceNorm(5)(x).is_contiguous(memory_format=order)
    assert InstanceNorm(5)(x.bfloat16()).dtype == torch.float32
    wide = (5 + torch.randn(2, 3, 4, 3, dtype=torch.float64)).to(memory_format=order).requires_grad_()
    assert torch.autograd.gradcheck(InstanceNorm(3), wide)
    theirs = torch.autograd.grad((nn.InstanceNorm2d(3)(wide) ** 3).sum(), wide)
    torch.testing.assert_close(torch.autograd.grad((InstanceNorm(3)(wide) ** 3).sum(), wide), theirs)


def test_instance_norm_of_one_pixel_is_zero() -> None:
    assert InstanceNorm(5)(torch.randn(3, 5, 1, 1)).abs().max() < 1e-4


@pytest.mark.parametrize("maps", [1, 3, 4])
@pytest.mark.parametrize("order", [LAST, FIRST])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_to_an_image_is_that_of_pytorch(maps: int, order: torch.memory_format, bias: bool) -> None:
    layer = OutputConv2d(6, maps, 7, bias=bias)
    x = torch.randn(2, 6, 11, 13).to(memory_format=order).requires_grad_()
    mine, theirs = layer(x), conv2d(x, layer.weight, layer.bias)
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    inputs, g = [x, *layer.parameters()], torch.randn_like(theirs)
    for a, b in zip(torch.autograd.grad(mine, inputs, g), torch.autograd.grad(theirs, inputs, g), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)


def test_a_convolution_to_an_image_has_the_right_derivative() -> None:
    layer = OutputConv2d(2, 3, 3).double()
    assert torch.autograd.gradcheck(layer, torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True))


def test_a_convolution_to_an_image_is_plain_in_bfloat16() -> None:
    layer, x = OutputConv2d(6, 3, 7), torch.randn(2, 6, 11, 13)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), nn.Conv2d.forward(layer, x))
