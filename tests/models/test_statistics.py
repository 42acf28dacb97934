"""What the log says of samples beside real examples: all alike but for noise, speckled, or as they should be."""

import pytest
import torch
from torch import Tensor

import ganvas
from ganvas.data import load
from ganvas.model import Batch
from ganvas.models._gan_diagnosis import MAX_DETAIL_RATIO, MAX_EXTRA_DETAIL, MIN_DIVERSITY
from ganvas.models._statistics import composite_on_white, detail, diversity, sample_statistics

RANDOM = torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def emoji() -> Tensor:
    return load("emoji").x[:256] / 127.5 - 1


def noise(x: Tensor) -> Tensor:
    return torch.randn(x.shape, generator=RANDOM)


def saturated(x: Tensor) -> Tensor:
    """Silhouettes, in which each number is the one end or the other."""
    inside = (x.mean(1, keepdim=True) < 0.9).float()
    return inside * (torch.rand(x.shape, generator=RANDOM).round() * 2 - 1) + (1 - inside)


def is_speckle(made: Tensor, real: Tensor) -> bool:
    found = sample_statistics(made, real)
    return bool(
        found["detail"] > MAX_DETAIL_RATIO * found["detail_real"]
        and found["detail"] > found["detail_real"] + MAX_EXTRA_DETAIL
    )


def test_real_images_are_as_diverse_and_as_detailed_as_real_images(emoji: Tensor) -> None:
    found = sample_statistics(emoji[::2], emoji[1::2])
    assert found["diversity"].item() == pytest.approx(1, abs=0.05)
    assert found["detail"] == pytest.approx(found["detail_real"].item(), rel=0.15)


def test_noise_on_images_that_are_all_the_same_is_no_variety(emoji: Tensor) -> None:
    same = emoji[:1].repeat(128, 1, 1, 1)
    for size in (0.0, 0.1, 0.5):
        assert diversity((same + size * noise(same)).clamp(-1, 1), emoji[:128]) < MIN_DIVERSITY
    assert diversity(emoji[:128].flip(3), emoji[:128]) == pytest.approx(1)
    textures = noise(emoji[:64]).clamp(-1, 1)
    assert diversity(noise(emoji[:64]).clamp(-1, 1), textures) == pytest.approx(1, abs=0.02), "noise is what they are"
    assert "diversity" not in sample_statistics(emoji[:16], same[:16])


def test_vectors_are_compared_by_their_numbers() -> None:
    x = noise(torch.zeros(100, 3))
    assert diversity(0.2 * x, x) == pytest.approx(0.2)
    assert diversity(0.2 * x, x, 0.1 * x) == pytest.approx(2)
    assert sample_statistics(x, x).keys() == {"diversity"}


def test_saturated_speckle_is_told_from_images_and_from_blur(emoji: Tensor) -> None:
    real, made = emoji[:128], emoji[128:]
    assert is_speckle(saturated(made), real)
    assert is_speckle((made + 0.25 * noise(made)).clamp(-1, 1), real)
    assert not is_speckle(torch.nn.functional.avg_pool2d(made, 3, 1, 1), real)
    for data in (saturated(emoji), noise(emoji).clamp(-1, 1), noise(emoji).sign()):
        assert not is_speckle(data[128:], data[:128]), "data that are noisy themselves"
    assert detail(noise(emoji), noise(emoji)) == pytest.approx(1, abs=0.02), "as the docstring says"


def test_what_nobody_sees_is_no_speckle(emoji: Tensor) -> None:
    opaque = torch.cat([emoji, torch.ones_like(emoji[:, :1])], 1)
    opaque[:, :, :, :16] = -1  # transparent
    hidden = opaque.clone()
    hidden[:, :3, :, :16] = noise(hidden[:, :3, :, :16]).clamp(-1, 1)
    torch.testing.assert_close(composite_on_white(hidden), composite_on_white(opaque))
    assert not is_speckle(hidden[:128], opaque[128:])


def test_a_gan_says_it_of_its_samples(emoji: Tensor) -> None:
    model = ganvas.DCGAN(width=4, latent=4)
    networks = model.networks((3, 32, 32))
    seen = model.monitor(Batch(emoji[:32]), G=networks["G"].eval())
    assert seen.keys() == {"diversity", "detail", "detail_real"}
    assert seen["diversity"] < MIN_DIVERSITY


@pytest.mark.parametrize("shape", [(2, 64), (1, 16, 8, 8)])
def test_signals_and_volumes_that_differ_by_noise_only_are_alike(shape: tuple[int, ...]) -> None:
    size = shape[1:]
    real = torch.randn(64, shape[0], *[1] * len(size), generator=RANDOM).expand(-1, *shape) / 2
    found = sample_statistics(real[:1] + noise(real) / 4, real)
    assert found.keys() == {"diversity"}
    assert found["diversity"] < MIN_DIVERSITY
    assert diversity(real[::2], real[1::2]) > 0.8
