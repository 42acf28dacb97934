"""Algorithm 1 of the GAN paper, checked by recording its moves."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ganvas.data import Collection, Stream
from ganvas.model import Batch, Move
from ganvas.models import GAN
from ganvas.models.gan import verdicts


def recorded(
    gan: GAN, data: Collection
) -> tuple[list[str], list[Tensor], list[Batch], list[Move], dict[str, nn.Module]]:
    """One step's moves in order, the noise given to G, the batches drawn."""
    nets = gan.networks(data.shape)
    noise: list[Tensor] = []
    nets["G"].register_forward_pre_hook(lambda module, inputs: noise.append(inputs[0].clone()))
    drawn: list[Batch] = []

    def drawing() -> Iterator[Batch]:
        for batch in Stream(data, batch=8, seed=0):
            drawn.append(batch)
            yield batch

    moves = list(gan.step(drawing(), 0, **nets))
    names = ["".join(name for name, net in nets.items() if net in move.networks) for move in moves]
    return names, noise, drawn, moves, nets


@pytest.mark.parametrize("k", [1, 2, 5])
def test_k_discriminator_moves_come_before_one_generator_move(k: int, images: Collection) -> None:
    names, noise, drawn, _, _ = recorded(GAN(k=k, width=4, latent=3), images)
    assert names == ["D"] * k + ["G"]
    assert len(noise) == k + 1
    assert len(drawn) == k


def test_every_move_has_fresh_noise_and_every_discriminator_move_fresh_examples(images: Collection) -> None:
    _, noise, drawn, _, _ = recorded(GAN(k=3, width=4, latent=3), images)
    assert all(not torch.equal(a, b) for i, a in enumerate(noise) for b in noise[:i])
    assert all(not torch.equal(a.x, b.x) for i, a in enumerate(drawn) for b in drawn[:i])
    assert all(len(z) == 8 for z in noise)


def test_the_discriminators_move_leaves_no_gradient_in_the_generator(images: Collection) -> None:
    gan = GAN(width=4, latent=3)
    nets = gan.networks(images.shape)
    steps = gan.step(Stream(images, batch=8, seed=0), 0, **nets)
    next(steps).loss.backward()
    assert all(p.grad is None for p in nets["G"].parameters())
    assert all(p.grad is not None for p in nets["D"].parameters())


def test_real_and_fake_are_judged_apart_only_where_batch_norm_would_mix_them() -> None:
    """One pass gives an MLP's verdicts of two passes, in half the time; with batch norm it would change them."""
    shape = (3, 16, 16)
    x, fake = torch.rand(8, *shape), torch.rand(8, *shape)
    for net, passes in (("mlp", 1), ("conv", 2)):
        D = GAN(net=net, width=4).networks(shape)["D"]
        seen: list[int] = []
        D.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(len(inputs[0])))
        together = verdicts(D, x, fake)
        assert seen == ([16] if passes == 1 else [8, 8])
        for verdict, expected in zip(together, (D(x), D(fake)), strict=True):
            torch.testing.assert_close(verdict, expected)


@pytest.mark.parametrize("loss", ["minimax", "non-saturating"])
def test_the_loss_is_the_one_that_is_named(loss: str, vectors: Collection) -> None:
    torch.manual_seed(0)
    gan = GAN(loss=loss, latent=3, width=6)
    nets = gan.networks(vectors.shape)
    seen: list[Tensor] = []
    nets["D"].register_forward_hook(lambda module, inputs, out: seen.append(out.detach()))
    moves = list(gan.step(Stream(vectors, batch=8, seed=0), 0, **nets))
    (real, fake), fooled = seen[0].chunk(2), seen[1]
    assert moves[0].terms["real"].item() == pytest.approx(-logsigmoid(real).mean().item(), rel=1e-5)
    assert moves[0].terms["fake"].item() == pytest.approx(-logsigmoid(-fake).mean().item(), rel=1e-5)
    expected = logsigmoid(-fooled).mean() if loss == "minimax" else -logsigmoid(fooled).mean()
    assert moves[1].terms["fool"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_discriminator_returns_logits(images: Collection) -> None:
    for net in ("mlp", "conv"):
        D = GAN(net=net, width=4).networks(images.shape)["D"]
        assert isinstance(list(D.modules())[-1], nn.Linear)


def test_batch_norm_has_its_usual_epsilon() -> None:
    nets = GAN(width=4).networks((3, 16, 16))
    norms = [m for net in nets.values() for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert {m.eps for m in norms} == {1e-5}


def test_weights_start_as_in_dcgan() -> None:
    nets = GAN(width=32).networks((3, 32, 32))
    for net in nets.values():
        for m in net.modules():
            if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and m.weight.numel() > 5000:
                assert m.weight.std().item() == pytest.approx(0.02, rel=0.1)
            if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and m.bias is not None:
                assert m.bias.abs().max() == 0
