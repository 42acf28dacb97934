"""Layers for the CPU against PyTorch's own."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

import ganvas
from ganvas.nn.conv import conv_decoder, conv_encoder, initialize
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


FAULTS = """
import resource, torch
from ganvas.nn.cpu import retain_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first, again = faults(), faults()
retain_freed_memory()
faults()
print(first, again, min(faults() for _ in range(5)))  # small pieces may be in the way of some
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another C library")
def test_memory_that_is_freed_serves_again_without_page_faults() -> None:
    for _ in range(3):  # a system short of memory may take the pages all the same
        words = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout
        first, again, retained = map(int, words.split())
        if again * 10 < first:
            pytest.skip("this C library keeps freed memory by itself")
        if retained * 100 < first:
            break
    assert retained * 100 < first


FAULTS_OF_SAMPLES = """
import resource, sys
import ganvas
from ganvas.inference import trained

def faults(run):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    run.sample(256)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

retain, trained.retain_freed_memory = trained.retain_freed_memory, lambda: None
run = ganvas.load(sys.argv[1])
first, again = faults(run), faults(run)
trained.retain_freed_memory = retain
run = ganvas.load(sys.argv[1])
faults(run)
print(first, again, min(faults(run) for _ in range(5)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another C library")
def test_samples_of_a_loaded_model_are_made_without_page_faults(tmp_path: Path) -> None:
    model, file = ganvas.DCGAN(width=8), tmp_path / "dcgan.safetensors"
    ganvas.Trained(model, (3, 32, 32), nn.ModuleDict({"G": model.networks((3, 32, 32))["G"]})).save(file)
    words = [sys.executable, "-c", FAULTS_OF_SAMPLES, str(file)]
    first, again, retained = map(int, subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    if again * 10 < first:
        pytest.skip("this C library keeps freed memory by itself")
    assert retained * 5 < again, (first, again, retained)


def test_networks_of_convolutions_are_in_channels_last() -> None:
    for net in (conv_encoder((3, 16, 16), 2, 8), conv_decoder(2, (3, 16, 16), 8, norm="batch")):
        for weights in (net, initialize(net)):
            maps = [p for p in weights.parameters() if p.ndim == 4]
            assert maps
            assert all(p.is_contiguous(memory_format=torch.channels_last) for p in maps)


def test_initial_weights_are_the_same_in_any_order_of_memory() -> None:
    net = conv_encoder((3, 16, 16), 2, 8)
    torch.manual_seed(0)
    weights = [p.clone() for p in initialize(net).parameters()]
    torch.manual_seed(0)
    net.to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(weights, list(initialize(net).parameters()), rtol=0, atol=0)
