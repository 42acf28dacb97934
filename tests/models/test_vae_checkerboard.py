"""No checkerboard: the spectrum of what a VAE's decoder draws."""

import torch
from torch import Tensor

from ganvas.data import load
from ganvas.models import VAE
from ganvas.training.defaults import choose_defaults


def test_a_vae_of_images_draws_no_checkerboard_unless_it_is_told_to() -> None:
    """Untrained, its decoder has as much power at the Nyquist frequency as next to it; transposed convolutions more."""
    data = load("emoji").select(slice(100))
    model, _ = choose_defaults(VAE(), data, {})
    assert model.net == "resize"
    assert choose_defaults(VAE(net="conv"), data, {})[0].net == "conv"
    power = {}
    nets = {"resize": model, "conv": VAE(net="conv", latent=model.latent)}
    for name, net in nets.items():
        decoder = net.networks((1, 32, 32))["decoder"]
        x = decoder(torch.randn(200, model.latent))
        spectrum = torch.fft.fft2((x if isinstance(x, Tensor) else x.mean).detach()).abs().square().mean((0, 1))
        power[name] = float(spectrum[16, 16] / spectrum[11:16, 11:16].median())
    assert power["resize"] < 2 < power["conv"]
