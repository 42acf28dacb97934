"""Images of any size through translators: tiles, channels, alpha."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from ganvas.data import from_array
from ganvas.data.dataset import convert_channels as of_bytes
from ganvas.errors import UserError
from ganvas.inference import tiling
from ganvas.inference.tiling import convert_channels, ramp, tile_spans, translate_images, translate_tiles
from ganvas.inference.trained import Trained
from ganvas.models import VAE, DiscoGAN
from ganvas.nn.translators import ResnetTranslator
from tests.support.models import small
from tests.support.translators import GREY, RGB, RGBA, negatives


@pytest.mark.parametrize("n", [5, 512, 513, 700, 960, 961, 5000])
def test_tiles_cover_every_pixel_with_overlap(n: int) -> None:
    found = tile_spans(n, 512, 64)
    assert found[0][0] == 0
    assert found[-1][1] == n
    assert all(end - start == min(n, 512) for start, end in found)
    assert all(before[1] - after[0] >= 63 for before, after in pairwise(found))


def test_tiles_of_a_function_of_each_pixel_are_exact() -> None:
    x = torch.rand(2, 3, 70, 90)
    made = translate_tiles(lambda part: 1 - part, x, (70, 90), tile=(32, 32), overlap=8)
    torch.testing.assert_close(made, 1 - x)


def test_seams_do_not_show() -> None:
    """A function that brightens each tile by its own amount: no step between neighbouring pixels of a flat image."""
    x = torch.full((1, 1, 60, 200), 0.5)
    amounts = iter(torch.linspace(0, 0.4, 8))
    made = translate_tiles(lambda part: part + next(amounts), x, (60, 200), tile=(60, 60), overlap=20)
    steps = made.diff(dim=3).abs()
    assert 0 < steps.max() < 0.012  # an amount of 0.1 is spread over the overlap
    assert made.amax() - made.amin() > 0.2


def test_weights_of_a_tile() -> None:
    w = ramp(10, 3, torch.zeros(1))
    np.testing.assert_allclose(w * 3, [0.5, 1.5, 2.5, 3, 3, 3, 3, 2.5, 1.5, 0.5])


def test_tiles_may_change_size() -> None:
    x = torch.rand(1, 1, 64, 96)
    made = translate_tiles(
        partial(interpolate, scale_factor=2, mode="nearest"), x, (128, 192), tile=(32, 32), overlap=8
    )
    assert made.shape == (1, 1, 128, 192)
    torch.testing.assert_close(avg_pool2d(made, 2), x)


def test_large_images_go_through_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "MAX_UNTILED_PIXELS", 50 * 50)
    seen: list[tuple[int, ...]] = []

    def function(part: Tensor) -> Tensor:
        seen.append(tuple(part.shape[2:]))
        return 1 - part

    x = torch.rand(1, 3, 600, 520)
    torch.testing.assert_close(translate_images(function, x, RGB, RGB), 1 - x)
    assert seen == [(512, 512)] * 4
    seen.clear()
    translate_images(function, x[:, :, :50, :50], RGB, RGB)
    assert seen == [(50, 50)]


@pytest.mark.parametrize("have", [1, 3, 4])
@pytest.mark.parametrize("want", [1, 3, 4])
def test_channels_are_those_of_the_data(have: int, want: int) -> None:
    x = torch.randint(0, 256, (2, have, 5, 6), dtype=torch.uint8)
    floats = convert_channels(x.float() / 255, want) * 255
    assert (floats - of_bytes(x, want).float()).abs().max() < 0.51


def test_alpha_is_kept_and_colours_below_it_laid_on_white() -> None:
    x = torch.rand(1, 4, 32, 32)
    x[:, 3, :16] = 0
    made = negatives().translate_batch(x, "B")
    assert torch.equal(made[:, 3], x[:, 3])
    torch.testing.assert_close(made[:, :3, :16], torch.zeros(1, 3, 16, 32))
    torch.testing.assert_close(made[:, :3, 16:], (1 - convert_channels(x, 3))[:, :, 16:])
    assert negatives(RGB, RGBA).translate_batch(x, "B").shape == x.shape
    grey = negatives(RGB, GREY).translate_batch(x, "B")
    assert grey.shape == (1, 4, 32, 32)
    assert torch.equal(grey[:, 0], grey[:, 2])


def test_translations_in_python() -> None:
    data = from_array(np.random.default_rng(0).integers(0, 256, (5, 20, 41, 3), np.uint8))
    run = negatives()
    made = run.translate(data, to="B").x
    assert torch.equal(made, 255 - data.x)
    assert torch.equal(run.translate(made, to="A").x, data.x)
    assert run.translate(data.x[:, 0]).x.shape == (5, 3, 20, 41)
    with pytest.raises(UserError, match="translates to B and A, not to 'C'"):
        run.translate(data, to="C")
    with pytest.raises(UserError, match="examples of 2, but this model translates those of 3x32x32 to B"):
        run.translate("ring")
    vae = Trained(small(VAE), (3, 12, 10), nn.ModuleDict())
    with pytest.raises(UserError, match="vae has one domain"):
        vae.translate(data)


def test_a_translator_of_one_size_is_given_that_size() -> None:
    """DiscoGAN's bottleneck belongs to a size: other images are resized, and their translations back."""
    shapes = ((3, 16, 16), (1, 32, 32))
    nets = {name: net.eval() for name, net in small(DiscoGAN).networks(shapes).items() if name[0] == "G"}
    run = Trained(small(DiscoGAN), shapes, nn.ModuleDict(nets))
    assert run.translate(torch.rand(2, 3, 50, 30)).x.shape == (2, 1, 100, 60)
    assert run.translate(torch.rand(2, 1, 50, 30), to="A").x.shape == (2, 3, 25, 15)
    flat = torch.full((1, 3, 16, 16), 0.3)
    large = torch.full((1, 3, 47, 90), 0.3)
    small_one, large_one = run.translate_batch(flat, "B"), run.translate_batch(large, "B")
    assert (small_one.mean() - large_one.mean()).abs() < 0.02


def test_a_translation_is_resized_without_aliasing() -> None:
    """Stripes of one pixel become grey when they are made smaller, as they look from afar."""
    stripes = (torch.arange(64) % 2).float().expand(1, 3, 64, 64)
    assert (tiling.resize(stripes, (20, 20))[..., 2:-2] - 0.5).abs().max() < 0.12
    net = ResnetTranslator((3, 64, 64), (3, 20, 20), 2, 1)
    net.body = nn.Identity()
    assert (net(stripes)[..., 2:-2] - 0.5).abs().max() < 0.12
    assert torch.equal(tiling.resize(stripes, (64, 64)), stripes)
