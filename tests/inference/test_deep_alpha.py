"""Images of 16 bits with alpha: read deep, seen as colours times alpha, and written as such."""

from pathlib import Path

import numpy as np
import png as pypng
import pytest
import torch
from PIL import Image
from torch import nn

import ganvas
from ganvas.cli.app import main
from ganvas.data import DataOptions, Dataset, as_measured, check_depth, from_array, load
from ganvas.data.crop import crop_images
from ganvas.data.duplicates import find_duplicates
from ganvas.data.scaling import Scaling
from ganvas.data.stored_scaling import scaling_from_state, scaling_state
from ganvas.errors import UserError
from ganvas.inference.loading import load_domain
from ganvas.inference.trained import Trained
from ganvas.inference.translation import translate_files
from ganvas.viz.images import Examples, preview
from tests.support.images import png
from tests.support.translators import Negative, small

VAE = ganvas.VAE(latent=2, width=4)
RANDOM = np.random.default_rng(0)


def drawings(n: int = 6, channels: int = 4) -> np.ndarray:
    """n x 8 x 8 images with a transparent upper half, whose hidden colours are brighter than all others."""
    x = RANDOM.integers(1000, 20_000, (n, 8, 8, channels))
    x[..., -1] = RANDOM.integers(20_000, 65_536, (n, 8, 8))
    x[:, :4, :, -1], x[:, :4, :, :-1] = 0, 60_000
    return x


def write(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir()
    for i, x in enumerate(images):
        (folder / f"{i}.png").write_bytes(png(x))
    return folder


def written(path: Path) -> np.ndarray:
    """The numbers of a PNG, as pypng reads them."""
    w, h, rows, about = pypng.Reader(bytes=path.read_bytes()).read()
    assert about["bitdepth"] == 16
    return np.array([list(row) for row in rows]).reshape(h, w, -1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "clear", drawings())


def test_all_bits_are_read_and_grey_with_alpha_too(folder: Path, tmp_path: Path) -> None:
    data = load(folder)
    assert (data.source_dtype, data.alpha, data.shape) == ("uint16", True, (4, 8, 8))
    assert np.array_equal(data.x[1].movedim(0, -1).numpy(), written(folder / "1.png"))
    assert "in 4 channels of 8 x 8 pixels (height x width), the fourth alpha, are kept as they are" in data.notes[0]
    low, high = data.x[:, :3, 4:].amin().item(), data.x[:, :3, 4:].amax().item()
    assert data.notes[0].startswith(f"numbers of uint16 from {low:g} to {high:g} in 4")  # of what is seen
    grey = load(write(tmp_path / "grey", drawings(2, 2)))
    assert (grey.alpha, grey.shape) == (True, (4, 8, 8))
    assert torch.equal(grey.x[:, 0], grey.x[:, 2])
    with pytest.raises(UserError, match="alpha=True, which is for deep images of 4 channels"):
        load(Dataset(x=data.x[:, :3], source_dtype="uint16", alpha=True))
    array = from_array(np.full((2, 8, 8, 4), 300, np.uint16) * np.arange(1, 5, dtype=np.uint16))
    assert (array.alpha, array.may_have_alpha) == (False, False)


def test_opaque_alpha_is_dropped_and_4_channels_are_made_on_request(tmp_path: Path) -> None:
    images = drawings(2)
    images[..., 3] = 65_535
    path = write(tmp_path / "opaque", images)
    assert (load(path).shape, load(path).alpha) == ((3, 8, 8), False)
    for made in (
        load(path, DataOptions(channels=4)),
        load(write(tmp_path / "rgb", images[..., :3]), DataOptions(channels=4)),
    ):
        assert (made.alpha, made.source_dtype) == (True, "uint16")
        assert bool((made.x[:, 3] == 65_535).all())


def test_a_background_makes_them_rgb(folder: Path) -> None:
    for colour, level in (("white", 65_535), ("black", 0), ("#808080", 128 * 257)):
        data = load(folder, DataOptions(background=colour))
        assert (data.shape, data.alpha, data.is_deep) == ((3, 8, 8), False, True)
        assert f"from {data.x.min().item():.7g} to {data.x.max().item():.7g} in 3" in data.notes[1]
        assert torch.equal(data.x[:, :, :4], torch.full((6, 3, 4, 8), float(level)))
    assert torch.equal(load(folder, DataOptions(channels=3)).x, load(folder, DataOptions(background="white")).x)


def test_hidden_colours_reach_neither_scale_nor_model_nor_resized_images(folder: Path, tmp_path: Path) -> None:
    data, scaling = load(folder), Scaling.fit_dataset(load(folder))
    assert scaling.high is not None
    assert scaling.high.tolist()[:3] == data.x[:, :3, 4:].amax((0, 2, 3)).tolist()
    assert scaling.high.tolist()[3] == 65_535
    changed = data.x.clone()
    changed[:, :3, :4] = 5
    assert torch.equal(scaling(data.x), scaling(changed))
    assert bool((scaling(data.x)[:, :3, :4] == -1).all())
    assert scaling.clipped_share(data.x) == 0
    for crop in ("center", "pad"):
        options = DataOptions(size="6x4", crop=crop)
        a, b = (crop_images(x, options, alpha=True) for x in (data.x, changed))
        assert torch.equal(a, b)
        assert a[:, :3].max() <= data.x[:, :3, 4:].max() + 1
    padded = load(folder, DataOptions(size="8x16", crop="pad"))
    assert bool((padded.x[..., :4] == 0).all())


def test_numbers_come_back_through_a_models_scale(folder: Path) -> None:
    data = load(folder)
    scaling = Scaling.fit_dataset(data)
    back, seen = scaling.inverse(scaling(data.x)), data.x[:, 3:] > 0
    assert torch.equal(back[:, 3], data.x[:, 3])
    assert ((back - data.x) * seen).abs().max() <= 1
    tensors, header = scaling_state([scaling])
    (again,) = scaling_from_state(tensors, dict(header), VAE)
    assert again.premultiplied
    assert again.holds(data)
    assert not again.holds(Dataset(x=data.x, source_dtype="uint16"))


def test_pictures_and_metrics_see_what_is_seen(folder: Path) -> None:
    data = load(folder)
    scaling = Scaling.fit_dataset(data)
    assert as_measured(data, scaling).shape == (4, 8, 8)
    picture = np.asarray(Examples(data.x, scaling=scaling).render().convert("RGB"))
    assert len(np.unique(picture[:8, :8])) <= 2  # a checkerboard
    looked = np.asarray(preview(scaling(data.x)[None], scaling).convert("RGB"))
    assert len(np.unique(looked[:8, :8])) <= 2
    changed = data.x.clone()
    changed[:, :3, :4] = 5
    both = Dataset(x=torch.cat([data.x, changed]), source_dtype="uint16", alpha=True)
    assert len(find_duplicates(both).exact) == 6


def test_from_a_folder_through_a_model_to_files(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ganvas.train(VAE, str(folder), folder=tmp_path / "run", quiet=True, steps=1, holdout=0, batch_size=3)
    monkeypatch.setattr(ganvas.VAE, "encode", lambda self, x, *labels, **nets: x.flatten(1))
    monkeypatch.setattr(ganvas.VAE, "generate", lambda self, z, *labels, **nets: z.unflatten(1, run.shape))
    assert main(["reconstruct", str(run.folder), str(folder), "--out", str(tmp_path / "out")]) == 0
    made, given = written(tmp_path / "out" / "00002.png"), written(folder / "2.png")
    assert made.shape == (8, 8, 4)
    assert np.array_equal(made[..., 3], given[..., 3])
    assert np.abs(made[4:] - given[4:]).max() <= 1
    assert run.scaling[0].low is not None
    assert made[0, 0].tolist() == run.scaling[0].low.tolist()  # what was hidden is black, the lowest number
    values = ganvas.evaluate(run, str(folder), metrics=["reconstruction"])
    assert values["reconstruction_mse"] < 1e-6
    assert ganvas.load(str(run.folder)).score(str(folder), "reconstruction").max() < 1e-6
    with pytest.raises(UserError, match="images with no alpha, but this model was trained on alpha"):
        check_depth(from_array(RANDOM.integers(0, 9999, (2, 8, 8, 4))), run.scaling[0])


@pytest.mark.parametrize("target", [4, 3])
def test_translations_have_16_bits_and_alpha_where_the_domain_has(target: int, folder: Path, tmp_path: Path) -> None:
    low, high = torch.zeros(target, dtype=torch.float64), torch.full((target,), 65_535.0, dtype=torch.float64)
    own = Scaling(premultiplied=target == 4, low=low, high=high, dtype="uint16")
    shapes = ((target, 8, 8), (target, 8, 8))
    run = Trained(
        small(ganvas.CycleGAN),
        shapes,
        nn.ModuleDict({"G": Negative(target), "F": Negative(target)}),
        scaling=(own, own),
    )
    assert translate_files(run, folder, tmp_path / "out").translated == 6
    made = written(tmp_path / "out" / "0.png")
    assert made.shape == (8, 8, target)
    if target == 3:
        assert bool((made[:4] == 0).all())  # white, which the background is, becomes black
    else:
        assert np.abs(made[..., 3] + written(folder / "0.png")[..., 3] - 65_535).max() <= 1
    assert np.array_equal(run.translate(str(folder)).x[0].movedim(0, -1).numpy().round(), made)
    assert load_domain(run, str(folder), None, 0).shape == shapes[0]
    (tmp_path / "rgb").mkdir()
    (tmp_path / "rgb" / "a.png").write_bytes(png(drawings(1)[0][..., :3]))
    assert translate_files(run, tmp_path / "rgb", tmp_path / "out2").translated == 1
    with Image.open(tmp_path / "out2" / "a.png") as image:
        assert image.mode == ("RGBA" if target == 4 else "RGB")
