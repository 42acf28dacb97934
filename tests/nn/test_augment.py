"""What a discriminator sees of its images: changed at random, and in a way that gradients pass."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import ganvas
from ganvas.data import Dataset, Stream
from ganvas.models import GAN
from ganvas.nn.augment import AUGMENTATIONS, augment

KINDS: tuple[Any, ...] = tuple(AUGMENTATIONS)
SHAPES = [(1, 8, 8), (3, 16, 16), (4, 9, 21), (3, 33, 7), (1, 28, 28), (1, 1, 1), (4, 1, 8), (3, 5, 1)]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def noise(n: int, *shape: int) -> Tensor:
    """n images of pixels in [-1, 1], of which none is 0."""
    x = torch.rand(n, *shape) * 2 - 1
    return torch.where(x == 0, 1.0, x)


def extent(holes: Tensor) -> tuple[range, range]:
    """The rows and the columns in which there are holes."""
    down, across = holes.any(1).nonzero().flatten(), holes.any(0).nonzero().flatten()
    if not len(down):
        return range(0), range(0)
    return range(int(down[0]), int(down[-1]) + 1), range(int(across[0]), int(across[-1]) + 1)


def rolled(image: Tensor, dy: int, dx: int) -> np.ndarray:
    """NumPy's roll, with grey for what comes round."""
    y, (h, w) = np.roll(image.numpy(), (dy, dx), (1, 2)), image.shape[1:]
    y[:, : max(dy, 0)] = y[:, h + min(dy, 0) :] = 0
    y[:, :, : max(dx, 0)] = y[:, :, w + min(dx, 0) :] = 0
    return y


def test_no_kinds_no_change() -> None:
    x = noise(2, 3, 8, 8)
    assert augment(x, ()) is x


@every_kind
def test_each_image_has_its_own_change(kind: Any) -> None:
    x = noise(1, 3, 32, 32).expand(200, -1, -1, -1)
    variants = len(augment(x, (kind,)).unique(dim=0))
    assert variants == {"flip": 2, "shift": 25}.get(kind, variants)
    assert variants > 50 or kind in ("flip", "shift")


@every_kind
def test_reseeding_repeats_a_change(kind: Any) -> None:
    x = noise(20, 3, 16, 16)
    first, second = augment(x, (kind,)), augment(x, (kind,))
    torch.manual_seed(1)
    third = augment(x, (kind,))
    torch.manual_seed(1)
    assert torch.equal(augment(x, (kind,)), third)
    assert not torch.equal(first, second)


@every_shape
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_images_of_all_sizes_keep_shape_and_type(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = noise(6, *shape).to(dtype)
    y = augment(x, KINDS)
    assert (y.shape, y.dtype) == (x.shape, dtype)
    assert y.isfinite().all()
    assert not torch.equal(x, y)  # one pixel has at least another brightness


@every_shape
def test_translation_is_numpys_roll_with_grey_for_what_comes_round(shape: tuple[int, ...]) -> None:
    up, along = int(shape[1] / 8 + 0.5), int(shape[2] / 8 + 0.5)  # rounded, as in the paper's code
    x, all_shifts = noise(600, *shape), set()
    for image, moved in zip(x, augment(x, ("translation",)), strict=True):
        shifts = [
            (dy, dx) for dy in range(-up, up + 1) for dx in range(-along, along + 1)
            if np.array_equal(rolled(image, dy, dx), moved.numpy())
        ]  # fmt: skip
        assert len(shifts) == 1
        all_shifts.update(shifts)
    assert len(all_shifts) == (2 * up + 1) * (2 * along + 1)  # every shift there is


@every_shape
def test_shift_is_a_crop_of_numpys_padding_with_the_border(shape: tuple[int, ...]) -> None:
    up, along = int(shape[1] / 16 + 0.5), int(shape[2] / 16 + 0.5)
    x, all_shifts = noise(600, *shape), set()
    for image, moved in zip(x, augment(x, ("shift",)), strict=True):
        padded = np.pad(image.numpy(), ((0, 0), (up, up), (along, along)), "edge")
        shifts = [
            (i, j) for i in range(2 * up + 1) for j in range(2 * along + 1)
            if np.array_equal(padded[:, i : i + shape[1], j : j + shape[2]], moved.numpy())
        ]  # fmt: skip
        assert shifts
        all_shifts.update(shifts)
    assert len(all_shifts) == (2 * up + 1) * (2 * along + 1)  # every shift there is


@every_shape
def test_cutout_greys_a_square_of_half_the_height_and_width(shape: tuple[int, ...]) -> None:
    _, h, w = shape
    a, b = int(h / 2 + 0.5), int(w / 2 + 0.5)
    x = noise(1000, *shape)
    y = augment(x, ("cutout",))
    assert torch.equal(torch.where(y == 0, x, y), x)
    corners = set()
    for changed in y:
        holes = (changed == 0).all(0)
        assert torch.equal(holes, (changed == 0).any(0))  # in all channels alike
        rows, columns = extent(holes)
        assert holes.sum() == len(rows) * len(columns)
        assert bool(holes.any()) == (a > 0 < b)
        for indices, side, n in ((rows, a, h), (columns, b, w)):
            inside, touches = len(indices), len(indices) and (indices[0] == 0 or indices[-1] == n - 1)
            assert inside in (side, 0) or (side // 2 <= inside < side and touches)
        corners.add((rows, columns))
    if h == w == 8:
        assert {(range(i, i + 4), range(4)) for i in range(5)} <= corners  # each place, and whole
        assert len(corners) == 9 * 9


def test_cutout_hides_no_place_always_and_none_never() -> None:
    for n in (8, 9):
        hidden = (augment(torch.ones(4000, 1, n, n), ("cutout",)) == 0).float().mean((0, 1))
        assert hidden.min() > 0.05
        assert hidden.max() < 0.35
        assert (hidden - hidden.flip(0)).abs().max() < 0.05
        assert (hidden - hidden.T).abs().max() < 0.05


def test_flip_is_the_mirror_image_of_half_of_them() -> None:
    x = noise(400, 3, 5, 7)
    y = augment(x, ("flip",))
    flipped = (y == x.flip(3)).flatten(1).all(1)
    assert torch.equal(y, torch.where(flipped[:, None, None, None], x.flip(3), x))
    assert 160 < flipped.sum() < 240


def colour(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """b, s and k of each image, from its means and its spread before and after."""
    y = augment(x, ("color",))

    def parts(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        m = x.mean(1, keepdim=True)
        M = m.mean((2, 3), keepdim=True)
        return x - m, m - M, M

    (hue, shade, M), (hue_y, shade_y, M_y) = parts(x), parts(y)
    k = (shade * shade_y).sum((1, 2, 3)) / shade.square().sum((1, 2, 3))
    sk = (hue * hue_y).sum((1, 2, 3)) / hue.square().sum((1, 2, 3))
    torch.testing.assert_close(shade_y, k.view(-1, 1, 1, 1) * shade)  # the parts have changed in length alone
    torch.testing.assert_close(hue_y, sk.view(-1, 1, 1, 1) * hue)
    return (M_y - M).flatten(), sk / k, k


def test_colour_changes_mean_saturation_and_contrast_each_by_a_uniform_number() -> None:
    parameters = colour(noise(2000, 3, 6, 5))
    for values, low, high in zip(parameters, (-0.5, 0.0, 0.5), (0.5, 2.0, 1.5), strict=True):
        assert values.min() > low - 1e-4
        assert values.max() < high + 1e-4
        expected = torch.linspace(low, high, len(values))
        assert (values.sort().values - expected).abs().max() < 0.06 * (high - low)
    assert torch.corrcoef(torch.stack(parameters)).sub(torch.eye(3)).abs().max() < 0.1


def test_colour_is_brightness_then_saturation_then_contrast(monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(3, 3, 6, 5)
    b, s, k = (torch.tensor(v).view(3, 1, 1, 1) for v in ([-0.5, 0.2, 0.4], [0.0, 0.6, 1.9], [1.4, 0.5, 0.9]))
    u = torch.stack([b + 0.5, s / 2, k - 0.5])
    monkeypatch.setattr(torch, "rand", lambda *size, device: u if size == u.shape else None)
    y = x + b
    y = torch.lerp(y.mean(1, keepdim=True), y, s)
    y = torch.lerp(y.mean((1, 2, 3), keepdim=True), y, k)
    torch.testing.assert_close(augment(x, ("color",)), y)


def test_grey_images_have_no_saturation_to_change() -> None:
    x = noise(50, 1, 6, 5)
    y = augment(x, ("color",))
    slope = (y.amax((1, 2, 3)) - y.amin((1, 2, 3))) / (x.amax((1, 2, 3)) - x.amin((1, 2, 3)))
    assert slope.min() > 0.5 - 1e-4
    assert slope.max() < 1.5 + 1e-4
    assert slope.std() > 0.2


def test_alpha_is_not_recoloured_and_plays_no_part_in_the_colours() -> None:
    x = noise(20, 4, 6, 5)
    y = augment(x, ("color",))
    assert torch.equal(y[:, 3], x[:, 3])
    torch.manual_seed(1)
    y = augment(x, ("color",))
    torch.manual_seed(1)
    assert torch.equal(augment(x[:, :3], ("color",)), y[:, :3])
    assert not torch.equal(y[:, :3], x[:, :3])


@every_kind
@pytest.mark.parametrize("channels", [1, 4])
def test_every_change_is_twice_differentiable(kind: Any, channels: int) -> None:
    def changed(x: Tensor) -> Tensor:
        torch.manual_seed(2)
        return augment(x, (kind,)).pow(3)  # the changes are linear: their own second derivative is 0

    x = noise(3, channels, 8, 9).double().requires_grad_()
    assert gradcheck(changed, x, fast_mode=True)
    assert gradgradcheck(changed, x, fast_mode=True)


def test_in_bfloat16_a_change_is_that_of_float32_rounded() -> None:
    x = noise(20, 4, 9, 10).bfloat16()
    torch.manual_seed(1)
    expected = augment(x.float(), KINDS)
    torch.manual_seed(1)
    torch.testing.assert_close(augment(x, KINDS).float(), expected, rtol=0.05, atol=0.05)


def step_with_inputs(gan: GAN, data: Dataset) -> tuple[list[Tensor], dict[str, Any], list[Any]]:
    """All that D sees in one step: real and fake in its own turn, fakes in G's."""
    nets = gan.networks(data.shape)
    inputs_d: list[Tensor] = []
    nets["D"].register_forward_pre_hook(lambda module, inputs: inputs_d.append(inputs[0].detach()))
    moves = list(gan.step(Stream(data, batch=8, seed=0), 0, **nets))
    return inputs_d, nets, moves


def test_all_that_the_discriminator_sees_is_augmented_real_and_fake(images: Dataset) -> None:
    for pack in (1, 2):
        both, fooling = step_with_inputs(GAN(augment="cutout", width=8, latent=3, pack=pack), images)[0]
        for inputs_d, n in ((both, 16), (fooling, 8)):
            holes = (inputs_d.unflatten(1, (pack, 3)).flatten(0, 1) == 0).all(1).flatten(1).float().mean(1)
            assert len(holes) == n
            assert holes.min() >= 1 / 16
    both, fooling = step_with_inputs(GAN(width=8, latent=3), images)[0]
    assert (torch.cat([both, fooling]) != 0).all()


def test_gradients_reach_the_generator_through_augmented_images(images: Dataset) -> None:
    gan = GAN(augment=",".join(KINDS), width=8, latent=3)
    assert gan.augment == KINDS
    _, nets, moves = step_with_inputs(gan, images)
    moves[-1].loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in nets["G"].parameters())


def test_a_gan_with_augmentation_trains_and_its_samples_are_not_augmented(images: Dataset) -> None:
    gan = GAN(augment=KINDS, width=8, latent=3)
    run = ganvas.train(gan, images, steps=6, batch_size=8, checkpoint_every=3, quiet=True)
    weights = torch.nn.utils.parameters_to_vector(run.nets["G"].parameters())
    torch.manual_seed(0)
    assert not torch.allclose(
        weights, torch.nn.utils.parameters_to_vector(gan.networks(images.shape)["G"].parameters())
    )
    z = torch.randn(16, 3)
    samples = gan.generate(z, **run.nets)
    assert torch.equal(samples, run.nets["G"](z))
    assert (samples != 0).all()
