"""Colours that nobody sees, under alpha 0, play no part: not in training, not in any metric."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.config import TrainConfig
from ganvas.data import (
    DataOptions,
    Dataset,
    Scaling,
    StreamedDataset,
    fit_scaling,
    from_array,
    load,
    load_all,
    load_or_stream,
    make_stream,
)  # fmt: skip
from ganvas.data.pair import empty_image_share
from ganvas.data.scaling import composite_backgrounds, premultiply, unpremultiply
from ganvas.evaluation import translation
from ganvas.inference.translation import translate_files
from ganvas.io import safetensors
from ganvas.metrics.features import make_feature_space
from ganvas.model import Model
from ganvas.models import VAE, Autoencoder, LadderVAE
from ganvas.training.loop import initialize_state, train
from ganvas.training.run_records import read_log
from ganvas.viz.images import Examples
from tests.support.models import every_model, small
from tests.support.scores import values_of
from tests.support.shards import examples, write_tar
from tests.support.training_state import CPU

SHAPE = (12, 10, 4)
METRICS = ("elbo", "bound", "reconstruction", "kid", "sliced-wasserstein")
RED, BLUE = (255, 0, 0), (0, 0, 255)


def sprites(seed: int = 0, n: int = 60, hidden: tuple[int, int, int] = RED) -> Dataset:
    """Random sprites, a third of whose pixels are transparent, with this colour below, and a third half so."""
    g = np.random.default_rng(seed)
    x = g.integers(0, 256, (n, *SHAPE)).astype(np.uint8)
    x[..., 3] = g.choice([0, 128, 255], (n, *SHAPE[:2]))
    x[x[..., 3] == 0, :3] = hidden
    return from_array(x, np.arange(n) % 2, name="sprites")


def test_multiplied_colours_come_back_as_far_as_they_are_seen() -> None:
    x = sprites().x
    again = unpremultiply(premultiply(x))
    assert torch.equal(again[:, 3], x[:, 3])
    assert (again.int() - x.int()).abs()[(x[:, 3:] == 255).expand_as(x)].max() == 0
    assert (again.int() - x.int()).abs()[(x[:, 3:] == 128).expand_as(x)].max() <= 1
    assert again[:, :3][(x[:, 3:] == 0).expand(-1, 3, -1, -1)].max() == 0
    assert torch.equal(premultiply(again), premultiply(x))
    every = torch.cartesian_prod(torch.arange(256), torch.arange(256)).to(torch.uint8)  # of each colour and alpha
    every = torch.stack([every[:, 0]] * 3 + [every[:, 1]], 1)[:, :, None, None]
    assert torch.equal(premultiply(unpremultiply(premultiply(every))), premultiply(every))
    floats = x.float() / 255
    torch.testing.assert_close(premultiply(unpremultiply(premultiply(floats))), premultiply(floats))


@pytest.mark.parametrize("span", [(-1.0, 1.0), (0.0, 1.0)])
def test_a_model_sees_colours_times_alpha_and_its_outputs_are_divided(span: tuple[float, float]) -> None:
    red, blue = sprites().x, sprites(hidden=BLUE).x
    scaling = Scaling.fit(red, span)
    assert torch.equal(scaling(red), scaling(blue))
    assert torch.equal(scaling.inverse(scaling(red)), unpremultiply(premultiply(red)))
    opaque = red.clone()
    opaque[:, 3] = 255
    assert torch.equal(scaling(opaque), Scaling(span)(opaque))
    bright = torch.full((1, 4, 1, 1), span[1])
    bright[:, 3] = (span[0] + span[1]) / 2
    assert scaling.inverse(bright).flatten().tolist() == [255, 255, 255, 128], "brighter than alpha allows is clipped"


def test_streams_of_each_kind_hide_what_alpha_hides(tmp_path: Path) -> None:
    """On the device, on the host and from shards: colours times alpha, whatever the colours under alpha 0."""
    batches = []
    for name, hidden in (("red", RED), ("blue", BLUE)):
        data = sprites(hidden=hidden)
        write_tar(tmp_path / f"{name}.tar", examples(list(data.x.movedim(1, -1).numpy())))
        streamed = load_or_stream(str(tmp_path / f"{name}.tar"), DataOptions(stream="always", holdout=0.0))
        assert isinstance(streamed, StreamedDataset)
        for source, options in ((data, {}), (data, {"device_bytes": 1}), (streamed, {})):
            stream = make_stream(source, fit_scaling(source, ganvas.DCGAN()), batch=8, seed=0, **options)
            batches.append(next(stream).x)
    assert all(torch.equal(a, b) for a, b in zip(batches[:3], batches[3:], strict=True))
    for x in batches:
        assert (x[:, :3] <= x[:, 3:] + 1e-6).all(), "no colour is brighter than its alpha"


@pytest.mark.parametrize("span", [(-1.0, 1.0), (0.0, 1.0)])
def test_colours_of_samples_do_not_flash_where_alpha_is_tiny(span: tuple[float, float]) -> None:
    """Rounded before it is divided, a colour at an alpha of 1 of 255 is none at all or full."""
    alpha = torch.linspace(0.52, 8, 500)[:, None, None, None] / 255  # these round to 1 or more
    colours = torch.tensor([0.5, 0.25, 0.75])[:, None, None]
    u = torch.cat([colours * alpha, alpha], 1) * (span[1] - span[0]) + span[0]
    x = Scaling(span, premultiplied=True).inverse(u)
    assert x[:, 3].min() == 1
    assert (x[:, :3] - colours * 255).abs().max() <= 8
    faint = torch.full((1, 4, 1, 1), 0.49 / 255) * (span[1] - span[0]) + span[0]
    assert Scaling(span, premultiplied=True).inverse(faint).max() == 0, "no colour under alpha 0"


def test_translations_have_no_colour_under_alpha_0() -> None:
    x = torch.full((1, 4, 1, 1), 0.49 / 255)
    assert unpremultiply(x)[:, :3].max() == 0
    assert unpremultiply(x * 2)[:, :3].min() == 1


def test_on_black_and_white_an_image_is_what_is_seen() -> None:
    x = sprites().x
    seen = composite_backgrounds(x).float()
    colours, alpha = x[:, :3].float(), x[:, 3:].float() / 255
    assert (seen[:, :3] - colours * alpha).abs().max() <= 0.51
    assert (seen[:, 3:] - (colours * alpha + 255 * (1 - alpha))).abs().max() <= 0.51
    torch.testing.assert_close(composite_backgrounds(x.float() / 255) * 255, seen, rtol=0, atol=0.51)


@every_model
def test_losses_and_weights_do_not_depend_on_hidden_colours(cls: type[Model], tmp_path: Path) -> None:
    logs = []
    for name, hidden in (("red", RED), ("blue", BLUE)):
        data = sprites(hidden=hidden)
        both = (data, sprites(1, hidden=hidden)) if cls.n_domains == 2 else data
        run = ganvas.train(
            small(cls), both, steps=2, batch_size=8, checkpoint_every=2, folder=tmp_path / name, quiet=True
        )
        weights = run.nets.state_dict()
        logs.append((read_log(tmp_path / name)[-1], weights))
    (one, a), (other, b) = logs
    assert dict(numbers(one)) == dict(numbers(other))
    assert all(torch.equal(a[name], b[name]) for name in a)


def numbers(line: dict[str, Any]) -> list[tuple[str, Any]]:
    found = []
    for key, value in line.items():
        if isinstance(value, dict):
            found += [(f"{key}.{name}", v) for name, v in numbers(value)]
        elif "seconds" not in key:
            found.append((key, value))
    return found


@pytest.mark.parametrize("features", ["random-conv-v2", "random-conv-v1", "pixels"])
def test_every_metric_of_samples_is_the_same_whatever_is_hidden(features: str) -> None:
    real, alike, other = sprites(0), sprites(0, hidden=BLUE), sprites(1)
    space = make_feature_space(features, real.shape)
    assert torch.equal(space(real.x), space(alike.x))
    found = values_of(real, alike, space, "fid", "sliced-wasserstein", "ms-ssim")
    assert found["fid"] == pytest.approx(0, abs=1e-6)
    assert found["sliced_wasserstein"] == 0
    assert values_of(real, other, space, "sliced-wasserstein")["sliced_wasserstein"] > 0
    assert found["ms_ssim"] == values_of(real, real, space, "ms-ssim")["ms_ssim"]


def test_errors_of_pairs_are_of_what_is_seen() -> None:
    """A translation with other colours where nobody sees them is right; one that is seen to be wrong is worse."""
    truth, alike = sprites(), sprites(hidden=BLUE)
    right = translation.paired_errors(alike.x.float() / 255, truth)
    assert right["l1"] == 0
    assert right["ssim"] == pytest.approx(1)
    assert right["mean_rank"] == 1
    wrong = truth.x.float() / 255
    wrong[:, :3] = torch.where(wrong[:, 3:] == 1, 1 - wrong[:, :3], wrong[:, :3])
    assert translation.paired_errors(wrong, truth)["l1"] > 0.1


def test_reconstructions_are_judged_by_what_is_seen() -> None:
    run = ganvas.train(small(ganvas.VAE), sprites(), steps=2, batch_size=8, quiet=True)
    one, other = (
        ganvas.evaluate(run, data, importance_samples=2, draws=1, metrics=METRICS)
        for data in (sprites(), sprites(hidden=BLUE))
    )
    assert [k for k in one if one[k] != other[k]] == []


def test_translations_of_files_do_not_depend_on_hidden_colours(tmp_path: Path) -> None:
    run = ganvas.train(small(ganvas.CycleGAN), (sprites(), sprites(1)), steps=1, batch_size=4, quiet=True)
    made = []
    for name, hidden in (("red", RED), ("blue", BLUE)):
        Examples(sprites(n=3, hidden=hidden).x).save(tmp_path / name)
        translate_files(run, tmp_path / name, tmp_path / f"{name}-made")
        made.append(load(str(tmp_path / f"{name}-made")).x)
        assert (run.translate(sprites(n=3, hidden=hidden)).x.int() - made[-1].int()).abs().max() <= 1
    assert torch.equal(made[0], made[1])
    assert made[0].shape[1] == 4


def test_weights_of_models_that_saw_hidden_colours_still_do(tmp_path: Path) -> None:
    run = ganvas.train(small(ganvas.VAE), sprites(), steps=1, batch_size=8, folder=tmp_path / "run", quiet=True)
    assert run.scaling[0].premultiplied
    loaded = ganvas.load(tmp_path / "run")
    assert torch.equal(loaded.sample(5).x, run.sample(5).x)
    for name in ("weights.safetensors", "state.ckpt"):
        header, tensors = safetensors.read_safetensors(tmp_path / "run" / name)
        del header["premultiplied"]
        safetensors.write_safetensors(tmp_path / "run" / name, header, tensors)
    old = ganvas.load(tmp_path / "run")
    assert not torch.equal(old.encode(sprites()), old.encode(sprites(hidden=BLUE)))
    resumed = ganvas.resume(tmp_path / "run", steps=2, data=sprites(), quiet=True)
    assert not resumed.scaling[0].premultiplied


def test_data_say_which_colours_nobody_sees(images: Dataset) -> None:
    red, blue, black = (sprites(hidden=colour) for colour in (RED, BLUE, (0, 0, 0)))
    (note,) = load(red).notes
    assert "% of the pixels are transparent and have colours, which nobody sees" in note
    assert load(load(red)).notes == (note,)
    assert load(black).notes == ()
    assert load(images).notes == images.notes
    said = "\n".join(load_all((red, blue)).notes)
    assert "colours of transparent pixels differ, (255, 0, 0) in sprites, (0, 0, 255) in sprites" in said
    assert "colours of transparent pixels differ" in "\n".join(load_all((red, black)).notes)
    assert "differ" not in "\n".join(load_all((red, red)).notes)


def test_an_image_of_which_nothing_is_seen_is_empty() -> None:
    x = sprites().x.clone()
    x[:, 3] = 0
    assert empty_image_share(from_array(x, channels_last=False)) == 1.0


def test_bits_under_alpha_0_are_no_grey_levels() -> None:
    x = (sprites().x > 127).to(torch.uint8) * 255
    x[:, :3] = torch.where(x[:, 3:] == 0, 77, x[:, :3])
    model = ganvas.VAE(latent=2, width=4, likelihood="bernoulli")
    model.validate_data(from_array(x, channels_last=False))


def test_copies_with_other_hidden_colours_are_doubles() -> None:
    a, b = sprites(n=20).x, sprites(n=20, hidden=BLUE).x
    assert len(premultiply(torch.cat([a, b])).unique(dim=0)) == 20


@pytest.mark.parametrize("cls", [VAE, Autoencoder, LadderVAE])
def test_sprites_on_much_transparency_are_learnt_from_the_start(cls: type[VAE | Autoencoder | LadderVAE]) -> None:
    """From outputs of 0.5 the first steps leave the sigmoid flat everywhere: nothing is seen for hundreds of steps."""
    g = np.random.default_rng(0)
    x = np.zeros((64, 56, 68, 4), np.uint8)
    for image in x:
        top, left = g.integers(14, 30), g.integers(18, 36)
        image[top : top + 12, left : left + 14] = (*g.integers(0, 256, 3), 255)
    data, model = from_array(x), cls(width=8)
    state = initialize_state(model, data.shape, 0, CPU)
    for _ in train(model, data, TrainConfig(steps=40, batch_size=16), state):
        pass
    u = state.scaling[0](data.x)
    with torch.no_grad():
        y = model.generate(model.encode(u, **state.nets), **state.nets)
    assert (y - u).square().sum() < u.square().sum(), "better than empty images"


def test_only_a_sigmoid_of_images_with_alpha_begins_below_its_middle() -> None:
    for shape, likelihood, is_lower in (
        ((4, 8, 8), "gaussian", True), ((4, 8, 8), "squared-error", True), ((3, 8, 8), "gaussian", False),
        ((4, 8, 8), "bernoulli", False), ((4, 8, 8), "discretized-logistic", False), ((4,), "gaussian", False),
    ):  # fmt: skip
        for net in ("conv", "resize", "residual", "mlp", "spatial") if len(shape) == 3 else ("mlp",):
            nets = VAE(latent=2, width=4, net=net, likelihood=likelihood).networks(shape)
            *_, bias = nets["decoder"].parameters()
            assert (bias.mean() < -2).item() == is_lower, (shape, likelihood, net)
