"""Adaptive augmentation: the probability with which D's images are changed follows how much D overfits."""

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.cli.app import main
from ganvas.data import Dataset
from ganvas.errors import TrainingStopped, UserError
from ganvas.io.safetensors import read_safetensors
from ganvas.models import DCGAN, GAN, R3GAN, WGAN
from ganvas.models._gan import Adversarial
from ganvas.nn.augment import AUGMENTATIONS, augment
from ganvas.objectives.adversarial import BORDERS, Loss
from ganvas.training.run_records import read_log
from tests.support.data import interrupted

KINDS: tuple[Any, ...] = tuple(AUGMENTATIONS)
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_images_stay_as_they_are_bit_for_bit_with_probability_0(kind: Any) -> None:
    x = torch.randn(50, 3, 16, 16)
    assert torch.equal(augment(x, (kind,), torch.tensor(0.0)), x)
    assert not torch.equal(augment(x, (kind,), torch.tensor(1.0)), x)


@every_kind
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_as_many_images_change_as_the_probability_says(kind: Any, p: float) -> None:
    """Of those that a kind is applied to it leaves some as they were: a flip half, a shift by 0 pixels one of 9."""
    n = 4000
    x = torch.rand(n, 3, 8, 8) * 2 - 1
    always = (augment(x, (kind,)) != x).flatten(1).any(1).float().mean().item()
    changed = (augment(x, (kind,), torch.tensor(p)) != x).flatten(1).any(1).float().mean().item()
    assert changed == pytest.approx(p * always, abs=4 * (0.25 / n) ** 0.5)


def test_kinds_are_applied_independently_of_each_other() -> None:
    n, p = 8000, 0.5
    x = torch.rand(n, 3, 8, 8) * 2 - 1
    unchanged = (augment(x, ("color", "cutout"), torch.tensor(p)) == x).flatten(1).all(1).float().mean().item()
    assert unchanged == pytest.approx((1 - p) ** 2, abs=0.02)


def test_gradients_pass_changed_and_unchanged_images() -> None:
    x = torch.rand(64, 1, 8, 8, requires_grad=True)
    y = augment(x, ("cutout",), torch.tensor(0.5))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, ((y == x) & (x != 0)).float())
    assert 0 < (gradient == 0).flatten(1).any(1).float().mean() < 1


class Judge(nn.Module):
    """A D whose logits are what a test says, of real examples and then of fakes."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.logits = logits
        self.register_buffer("augment_p", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * self.logits


def play(gan: Adversarial, D: Judge, real: np.ndarray, fake: np.ndarray) -> float:
    D.logits = torch.tensor(np.concatenate([real, fake]), dtype=torch.float32)[:, None]
    x = torch.zeros(len(real), 1)
    return gan.discriminator_move(D, x, x).logged["augment_p"].item()


@pytest.mark.parametrize("loss", get_args(Loss))
@pytest.mark.parametrize("pack", [1, 2])
def test_the_probability_follows_a_numpy_reference(loss: Loss, pack: int) -> None:
    target, span, b, p, path = 0.45, 150, 10, 0.0, []  # no multiple of 2 / b, where signs would be those of rounding
    gan = GAN(loss=loss, augment="flip", augment_target=target, augment_span=span, pack=pack)
    D, random = Judge(torch.zeros(1)), np.random.default_rng(0)
    for i in range(60):
        real, fake = random.normal(1.5 * np.sin(i / 5), 1, b), random.normal(-1, 1, b)
        zero = BORDERS[loss]
        border = (real.mean() + fake.mean()) / 2 if zero is None else zero
        p = float(np.clip(p + np.sign(np.sign(real - border).mean() - target) * b * pack / span, 0, 1))
        assert play(gan, D, real, fake) == pytest.approx(p, abs=1e-5)
        path.append(p)
    assert 0 in path
    assert max(path) > 0.3


@pytest.mark.parametrize("cls", [GAN, WGAN, R3GAN])
def test_it_rises_while_d_overfits_and_falls_to_0_when_it_does_not(cls: type[Adversarial]) -> None:
    gan = cls(augment=("flip",), augment_target=0.6, augment_span=100)
    D, real = Judge(torch.zeros(1)), np.linspace(0.5, 1, 10)
    rising = [play(gan, D, real, -real) for _ in range(12)]
    assert rising == pytest.approx([min(1, 0.1 * (i + 1)) for i in range(12)], abs=1e-5)
    mixed = np.linspace(-1, 1, 10)  # as many of either on each side
    falling = [play(gan, D, mixed, mixed) for _ in range(12)]
    assert falling == pytest.approx([max(0, 0.9 - 0.1 * i) for i in range(12)], abs=1e-5)


def test_it_is_a_part_of_training_and_of_no_average(images: Dataset) -> None:
    gan = DCGAN(width=4, latent=3, augment=KINDS, augment_target=0.0, augment_span=200, lr_d=0.01)
    options: dict[str, Any] = {"steps": 12, "batch_size": 8, "checkpoint_every": 4, "quiet": True}
    ganvas.train(gan, images, folder="straight", **options)
    with interrupted(5), pytest.raises(TrainingStopped):
        ganvas.train(gan, images, folder="stopped", **options)
    ganvas.resume("stopped", images, quiet=True)
    assert Path("stopped/state.ckpt").read_bytes() == Path("straight/state.ckpt").read_bytes()
    tensors = read_safetensors(Path("straight/state.ckpt"))[1]
    assert 0 < tensors["nets/D.augment_p"] < 1
    assert not any("augment_p" in name for name in read_safetensors(Path("straight/weights.safetensors"))[1])
    assert [name for name in tensors if "augment_p" in name] == ["nets/D.augment_p"]


def test_options_reach_training_from_the_command_line() -> None:
    words = [
        "train",
        "dcgan",
        "emoji",
        "--limit",
        "60",
        "--width",
        "4",
        "--latent",
        "3",
        "--steps",
        "6",
        "--batch-size",
        "8",
        "--quiet",
    ]
    rule = ["--augment", "flip,cutout", "--augment-target", "0.0", "--augment-span", "100"]
    for folder, more in (("always", rule[:2]), ("adaptive", rule)):
        assert main([*words, *more, "--folder", folder, "--checkpoint-every", "2"]) == 0
    found = [[line["adversarial"].get("augment_p") for line in read_log(Path(f))] for f in ("always", "adaptive")]
    assert set(found[0]) == {None}
    assert max(found[1]) > 0
    assert json.loads(Path("adaptive/config.json").read_text())["fields"]["augment_span"] == 100


def test_a_target_without_kinds_is_refused(images: Dataset) -> None:
    with pytest.raises(UserError, match=r"augment_target=0.6 needs kinds of change: give augment as well"):
        ganvas.train(GAN(augment_target=0.6), images, steps=1)
