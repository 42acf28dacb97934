"""Batch norm whose gains and shifts are functions of z."""

import numpy as np
import pytest
import torch

import ganvas
from ganvas.errors import UserError
from ganvas.models._gan_networks import finalize_network, uses_batch_norm
from ganvas.nn import decoder
from ganvas.nn.modulation import ModulatedBatchNorm
from tests.support.data import image_collection


def test_equals_the_papers_equation_in_numpy() -> None:
    torch.manual_seed(0)
    norm, h, z = ModulatedBatchNorm(3, 5), torch.randn(4, 3, 2, 6), torch.randn(4, 5)
    torch.nn.init.normal_(norm.norm.weight)
    torch.nn.init.normal_(norm.norm.bias)
    y = norm(h, z).detach().numpy()
    U, a, V, b = (weight.detach().numpy() for weight in norm.modulation.parameters())
    gain, shift = np.split(np.maximum(z.numpy() @ U.T + a, 0) @ V.T + b, 2, axis=1)
    maps, axes = h.numpy(), (0, 2, 3)
    normal = (maps - maps.mean(axes, keepdims=True)) / np.sqrt(maps.var(axes, keepdims=True) + 1e-5)
    g, beta = (weight.detach().numpy()[:, None, None] for weight in (norm.norm.weight, norm.norm.bias))
    expected = (g * normal + beta) * (1 + gain[:, :, None, None]) + shift[:, :, None, None]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_all_norms_of_a_generator_see_z() -> None:
    torch.manual_seed(0)
    net = finalize_network(decoder("resize", 7, (3, 32, 32), 8, 0, norm="modulated"), (3, 32, 32))
    norms = [layer for layer in net if isinstance(layer, ModulatedBatchNorm)]
    assert len(norms) == 3
    assert uses_batch_norm(net)
    net(torch.randn(6, 7)).square().mean().backward()
    assert all(weight.grad.abs().sum() > 0 for norm in norms for weight in norm.modulation.parameters())
    net.eval()
    z = torch.randn(6, 7)
    torch.testing.assert_close(net(z)[:2], net(z[:2]))  # by running moments an image does not depend on the others


def test_labels_modulate_too() -> None:
    """Conditional batch norm comes of it, since cgan's input is z with the label."""
    model = ganvas.CGAN(net="resize", norm="modulated", width=4, latent=3)
    G = model.networks((3, 16, 16), 5)["G"]
    assert {m.modulation[0].in_features for m in G.modules() if isinstance(m, ModulatedBatchNorm)} == {8}


@pytest.mark.parametrize("model", [ganvas.DCGAN(net="conv", norm="modulated"), ganvas.GAN(norm="modulated")])
def test_other_networks_are_refused(model: ganvas.GAN) -> None:
    net = "conv" if isinstance(model, ganvas.DCGAN) else "mlp"
    with pytest.raises(UserError, match=f"norm=modulated needs net=resize, not {net}: give both, or norm=batch"):
        ganvas.train(model, image_collection(8), steps=1, folder=None)


def test_one_example_has_no_batch_statistics() -> None:
    model = ganvas.DCGAN(net="resize", norm="modulated")
    with pytest.raises(UserError, match="batch_size=1 is too small for batch norm"):
        ganvas.train(model, image_collection(8), steps=1, folder=None, batch_size=1)


@pytest.mark.parametrize("model", [ganvas.DCGAN, ganvas.CGAN, ganvas.WGAN, ganvas.WGANGP, ganvas.R3GAN])
def test_discriminators_of_all_gans_have_fine_convolutions(model: type[ganvas.DCGAN]) -> None:
    plain, fine = (model(net="conv", width=4, fine_convolutions=n).networks((3, 16, 16), 5)["D"] for n in (0, 1))
    assert len([*fine.parameters()]) > len([*plain.parameters()])
    with pytest.raises(UserError, match="fine_convolutions=1 has no effect without net=conv or net=resize"):
        ganvas.train(model(net="residual", fine_convolutions=1), image_collection(8), steps=1, folder=None)
