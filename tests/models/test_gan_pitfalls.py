"""Errors that known GAN codebases make without a word, each put where ours would show it.

One test an error, named after it; every one has been seen to fail with the error put in.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim import Adam, RMSprop

import ganvas
from ganvas.config import TrainConfig
from ganvas.data import Dataset, Stream, from_array
from ganvas.errors import UserError
from ganvas.io import safetensors
from ganvas.models import CGAN, DCGAN, GAN, R3GAN, WGAN, WGANGP
from ganvas.models._gan import Adversarial
from ganvas.models.wgan import n_critic_steps
from ganvas.objectives.adversarial import generator_loss
from ganvas.objectives.penalties import gradient_penalty
from ganvas.training.fit import Run
from ganvas.training.loop import apply_move, get_optimizer, initialize_state, train
from ganvas.training.progress import ProgressBar

CPU = torch.device("cpu")


class Scaled(nn.Module):
    """D(x) = |x|^2 / 2: its gradient at x is x, so the penalty at x is (|x| - 1)^2."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).square().sum(1, keepdim=True) / 2


def test_the_norm_in_the_gradient_penalty_is_not_that_of_the_whole_batch() -> None:
    x = torch.tensor([[3.0, 4.0], [0.6, 0.8]])  # of norms 5 and 1, together 26^(1/2)
    assert gradient_penalty(Scaled(), x, x).item() == pytest.approx((16 + 0) / 2)


def test_the_norm_in_the_gradient_penalty_is_not_that_of_each_pixel() -> None:
    x = torch.full((2, 4, 3, 3), 0.5)  # 36 numbers: norm 3; those of each pixel: norm 1
    assert gradient_penalty(Scaled(), x, x).item() == pytest.approx(4)


def test_the_share_in_the_gradient_penalty_is_not_one_for_the_whole_batch() -> None:
    x, fake = torch.zeros(200, 1), torch.full((200, 1), 2.0)
    found = gradient_penalty(Scaled(), x, fake).item()  # E (2 t - 1)^2 = 1/3; with one t anything from 0 to 1
    assert found == pytest.approx(1 / 3, abs=0.06)


def test_the_gradient_penalty_is_no_step_of_its_own(images: Dataset) -> None:
    """Descended by itself, it would be followed by Adam as strongly as the game, whatever its weight."""
    gan = WGANGP(width=4, latent=3, n_critic=2)
    nets = gan.networks(images.shape)
    moves = list(gan.step(Stream(images, batch=8, seed=0), 0, **nets))
    assert [set(move.terms) for move in moves] == [{"real", "fake", "gp"}] * 2 + [{"fool"}]


def test_the_weights_that_the_generator_meets_are_clipped(vectors: Dataset) -> None:
    """Clipped before its step instead of after it, the critic would leave the bound again."""
    gan = WGAN(width=8, latent=3, n_critic=3, initial_critic_steps=3, weight_clip=0.02, lr=0.05)
    state = initialize_state(gan, vectors.shape, 0, CPU)
    D, seen = state.nets["D"], []
    D.register_forward_pre_hook(lambda module, inputs: seen.append(max(p.abs().max().item() for p in D.parameters())))
    for _ in train(gan, vectors, TrainConfig(steps=2, batch_size=8), state):
        pass
    assert seen[0] > 0.02
    assert len(seen) == 8
    assert max(seen[1:]) <= np.float32(0.02)


@pytest.mark.parametrize("gan", [GAN(norm="batch", norm_d="batch", width=4), DCGAN(width=4), CGAN(width=4)])
def test_batch_norm_has_its_usual_epsilon(gan: Adversarial) -> None:
    """0.8, given where the momentum was meant, has spread from one repository to hundreds."""
    nets = gan.networks((3, 16, 16), 3)
    norms = [m for net in nets.values() for m in net.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert norms
    assert {(m.eps, m.momentum) for m in norms} == {(1e-5, 0.1)}


def test_a_conditional_gan_descends_cross_entropy_and_not_squares(images: Dataset) -> None:
    """Its terms are -log s(D(x|y)) and -log(1 - s(D(G(z|y)|y))) of the logits that D has just returned."""
    gan = CGAN(width=4, latent=3, norm_d="none")
    nets, logits = gan.networks(images.shape, 5), []
    nets["D"].register_forward_hook(lambda module, inputs, result: logits.append(result.detach().double()))
    turn = next(gan.step(Stream(images, batch=8, seed=0), 0, **nets))
    real, fake = logits[-1].sigmoid().chunk(2)
    assert turn.terms["real"].item() == pytest.approx(-real.log().mean().item(), rel=1e-5)
    assert turn.terms["fake"].item() == pytest.approx(-(1 - fake).log().mean().item(), rel=1e-5)


def test_a_run_with_default_options_is_saved(vectors: Dataset, tmp_path: Path) -> None:
    """Even one that is shorter than the interval between two checkpoints."""
    assert TrainConfig().checkpoint_every < TrainConfig().steps
    run = ganvas.train(GAN(width=4, latent=2), vectors, steps=3, batch_size=8, folder=tmp_path / "run", quiet=True)
    assert run.metadata["step"] == 3
    assert ganvas.load(tmp_path / "run").sample(2).x.shape == (2, *vectors.shape)
    assert safetensors.read_safetensors(tmp_path / "run" / "state.ckpt")[0]["step"] == 3


def test_the_critics_turn_does_not_move_the_generator(images: Dataset) -> None:
    for gan in (
        WGANGP(width=4, latent=3, n_critic=2),
        WGAN(width=4, latent=3, initial_critic_steps=1, n_critic=2),
        DCGAN(width=4, latent=3, n_critic=2, norm_d="none", r1=1.0, r2=1.0),
    ):
        state = initialize_state(gan, images.shape, 0, CPU)
        nets = dict(state.nets.items())
        before = [p.clone() for p in nets["G"].parameters()]
        steps = gan.step(Stream(images, batch=8, seed=0), 0, **nets)
        for _ in range(2):
            move = next(steps)
            move.loss.backward()
            assert all(p.grad is None for p in nets["G"].parameters())
            assert move.networks == (nets["D"],)
            apply_move(
                move._replace(terms={"x": sum(p.sum() for p in nets["D"].parameters())}), get_optimizer("D", gan, state)
            )
        assert all(torch.equal(a, b) for a, b in zip(before, nets["G"].parameters(), strict=True))


def test_the_gradient_penalty_of_wgan_gp_is_there() -> None:
    """A function that nothing calls leaves a critic without a bound, under the name of one that has it."""
    gan = WGANGP(width=4, latent=3)
    x, fake = torch.rand(2, 4, 6)
    D = gan.networks((6,))["D"]
    move = gan.discriminator_move(D, x, fake, gp=gan.gp)
    torch.manual_seed(0)
    assert move.terms["gp"].item() > 0
    assert move.loss.item() == pytest.approx(sum(t.item() for t in move.terms.values()), rel=1e-5)
    with_it = torch.autograd.grad(move.loss, [D[1].weight], retain_graph=True)[0]
    without = torch.autograd.grad(move.terms["real"] + move.terms["fake"], [D[1].weight], retain_graph=True)[0]
    assert (with_it - without).abs().max() > 1e-3


def test_a_wasserstein_critic_without_a_bound_is_refused(vectors: Dataset) -> None:
    with pytest.raises(UserError, match="needs a critic of bounded slope"):
        ganvas.train(GAN(loss="wasserstein"), vectors, steps=1, batch_size=8, quiet=True)


def turns(gan: Adversarial, data: Dataset, done: int) -> int:
    """D's turns in the step after `done` others."""
    nets = gan.networks(data.shape, len(data.classes))
    return sum(nets["D"] in move.networks for move in gan.step(Stream(data, batch=8, seed=0), done, **nets))


def test_the_number_of_the_discriminators_turns_is_not_ignored(vectors: Dataset) -> None:
    for cls in (GAN, WGANGP):
        assert [turns(cls(n_critic=k, width=4), vectors, 7) for k in (1, 3)] == [1, 3]
    assert turns(GAN(width=4), vectors, 0) == turns(R3GAN(width=4), vectors, 7) == 1
    assert turns(WGANGP(width=4), vectors, 0) == 5


def test_wgans_critic_has_more_turns_at_first_and_again(vectors: Dataset) -> None:
    gan = WGAN(width=4, n_critic=2, initial_critic_steps=9)
    assert [turns(gan, vectors, done) for done in (0, 1, 24, 25, 26, 499, 500, 501, 1000)] == [
        9, 9, 9, 2, 2, 2, 9, 2, 9,
    ]  # fmt: skip
    assert turns(WGAN(width=4, n_critic=4, initial_critic_steps=1), vectors, 0) == 4
    assert [n_critic_steps(5, 100, done) for done in (24, 25, 500)] == [100, 5, 100]
    assert [turns(WGANGP(width=4, initial_critic_steps=50), vectors, done) for done in (24, 25)] == [50, 5]


def ordered() -> Dataset:
    """60 examples sorted by class, as folders of classes come."""
    return from_array(np.arange(60, dtype=np.float32)[:, None], np.arange(60) // 20, name="ordered")


def test_examples_sorted_by_class_are_shuffled() -> None:
    seen = next(Stream(ordered(), batch=20, seed=0)).y
    assert seen is not None
    assert len(seen.unique()) == 3


def test_balanced_batches_have_all_classes_equally_often_and_are_the_same_again() -> None:
    labels = np.array([0] * 50 + [1] * 7 + [2] * 3)
    data = from_array(np.arange(60, dtype=np.float32)[:, None], labels, name="rare")
    for epoch in (0, 1):
        batches = [Stream(data, batch=12, seed=0, balanced=True, position=5 * epoch + i) for i in range(5)]
        drawn = [next(stream) for stream in batches]
        y, x = torch.cat([b.y for b in drawn if b.y is not None]), torch.cat([b.x for b in drawn])[:, 0].long()
        assert y.bincount().tolist() == [20, 20, 20]
        assert torch.equal(torch.tensor(labels)[x], y)  # labels stay with their examples
        assert set(x.tolist()) >= set(range(50, 60))  # no example of a rare class is left out
    straight = Stream(data, batch=12, seed=0, balanced=True)
    assert torch.equal([next(straight).x for _ in range(10)][9], drawn[4].x)  # a function of the position
    with pytest.raises(UserError, match="points has no labels: balanced=true draws every class equally often"):
        Stream(from_array(np.zeros((9, 2), np.float32), name="points"), batch=3, seed=0, balanced=True)


def test_a_preview_has_its_colours_where_they_belong(images: Dataset, tmp_path: Path) -> None:
    """A reshape of channels and pixels in the wrong order scrambles them."""
    model = GAN(width=4, latent=3)
    state = initialize_state(model, images.shape, 0, CPU)
    last: Any = next(m for m in reversed(list(state.ema_nets["G"].modules())) if isinstance(m, nn.Linear))
    last.weight.zero_()
    last.bias.view(3, 12, 10)[0, :, :5] = 9.0  # the left half red, the right half blue
    last.bias.view(3, 12, 10)[0, :, 5:] = -9.0
    last.bias.view(3, 12, 10)[1] = -9.0
    last.bias.view(3, 12, 10)[2, :, :5] = -9.0
    last.bias.view(3, 12, 10)[2, :, 5:] = 9.0
    Run(model, images, images, TrainConfig(), tmp_path, state, ProgressBar(quiet=True)).save()
    (file,) = (tmp_path / "previews").glob("*.png")
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    red, blue = ((pixels == colour).all(2) for colour in ([255, 0, 0], [0, 0, 255]))
    assert red.sum() == blue.sum() > 0
    assert np.argwhere(red)[:, 1].min() < np.argwhere(blue)[:, 1].min()


def test_top_k_is_applied_and_not_only_set(vectors: Dataset) -> None:
    for share, expected in ((0.25, 2), (1.0, 8)):
        gan = GAN(top_k=share, width=4, latent=3)
        nets = gan.networks(vectors.shape)
        made: list[Tensor] = []
        judged: list[Tensor] = []
        nets["D"].register_forward_hook(lambda module, inputs, out, judged=judged: judged.append(out.detach()))

        def keep(module: nn.Module, inputs: Any, out: Tensor, made: list[Tensor] = made) -> None:
            if out.requires_grad:
                out.retain_grad()
                made.append(out)

        nets["G"].register_forward_hook(keep)
        *_, last = gan.step(Stream(vectors, batch=8, seed=0), 10_000, **nets)
        last.loss.backward()
        assert made[0].grad is not None
        taught = made[0].grad.abs().sum(1) > 0
        assert taught.sum() == expected
        assert judged[-1][taught].min() >= judged[-1].flatten().topk(expected).values.min()


def test_the_average_of_the_weights_is_at_work_from_the_beginning(images: Dataset) -> None:
    """Not begun before step 20,000, it would be the weights themselves; begun at 0.999, the random first ones."""
    model = GAN(width=8, latent=3, lr=1e-3)
    first = initialize_state(model, images.shape, 0, CPU).nets["G"][0].weight
    state = initialize_state(model, images.shape, 0, CPU)
    for _ in train(model, images, TrainConfig(steps=30, batch_size=8), state):
        pass
    last, average = state.nets["G"][0].weight, state.ema_nets["G"][0].weight
    assert 0.01 * (first - last).norm() < (average - last).norm() < 0.6 * (first - last).norm()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_penalties_take_images_of_any_channels(channels: int) -> None:
    gan = DCGAN(width=4, gp=10.0, r1=1.0, r2=1.0)
    shape = (channels, 9, 12)
    x, fake = torch.rand(2, 4, *shape)
    move = gan.discriminator_move(gan.networks(shape)["D"], x, fake, **gan.penalties(0))
    assert move.terms.keys() >= {"gp", "r1", "r2"}
    assert move.loss.isfinite()


def test_minimax_is_not_the_non_saturating_loss_under_its_name() -> None:
    sure = torch.tensor([-20.0], requires_grad=True)  # D is sure that it sees a fake
    gradients = {}
    for loss in ("minimax", "non-saturating"):
        (gradients[loss],) = torch.autograd.grad(generator_loss(loss, sure), sure)
    assert abs(gradients["minimax"].item()) < 1e-8
    assert gradients["non-saturating"].item() == pytest.approx(-1)


@pytest.mark.parametrize(
    "gan",
    [DCGAN(width=4, latent=3), DCGAN(width=4, latent=3, spectral_norm=True), CGAN(width=4, latent=3)],
    ids=["batch norm", "spectral norm", "conditional"],
)
def test_looking_at_a_run_does_not_change_it(gan: Adversarial, images: Dataset) -> None:
    """Previews or reports made in training mode would change the statistics of batch norm, and random numbers."""
    often, seldom = (
        ganvas.train(gan, images, steps=6, batch_size=8, checkpoint_every=every, keep=keep, quiet=True)
        for every, keep in ((1, "best"), (1000, "last"))
    )
    a, b = (safetensors.read_safetensors(Path(run.folder or "") / "state.ckpt")[1] for run in (often, seldom))
    assert a.keys() == b.keys()
    assert any("running_mean" in name for name in a)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_each_paper_has_its_optimiser() -> None:
    layer = nn.Linear(2, 1)
    optimizer = WGAN().optimizer(layer)
    assert isinstance(optimizer, RMSprop)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["alpha"], group["momentum"], group["centered"]) == (5e-5, 0.99, 0, False)
    for gan, expected in (
        (WGANGP(), (1e-4, (0.0, 0.9))), (GAN(), (2e-4, (0.5, 0.999))), (DCGAN(), (2e-4, (0.5, 0.999))),
        (R3GAN(), (2e-4, (0.0, 0.99))),
    ):  # fmt: skip
        optimizer = gan.optimizer(layer)
        assert isinstance(optimizer, Adam)
        group = optimizer.param_groups[0]
        assert (group["lr"], group["betas"]) == expected
    assert (WGANGP().gp, WGANGP().n_critic, WGAN().weight_clip, WGAN().n_critic) == (10.0, 5, 0.01, 5)
