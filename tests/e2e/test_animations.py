"""Pictures that move: the previews of a run, and walks through the latent space."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.cli.app import main
from ganvas.io.run_folder import RunFolder
from ganvas.model import Batch
from ganvas.models import VAE
from ganvas.viz.images import Examples, add_captions, encode_previews, grid
from tests.support.cli import TINY, said
from tests.support.failures import failing


def frames(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """The pixels of each frame, and the milliseconds that it is shown."""
    pixels, durations = [], []
    with Image.open(path) as image:
        assert image.info["loop"] == 0  # it loops for ever
        for i in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(i)
            pixels.append(np.asarray(image.convert("RGB")).astype(float))
            durations.append(image.info["duration"])
    return pixels, durations


def check_shows_previews(run: str) -> None:
    """Its animation shows its previews in order, each with its step, the last for longer."""
    folder, pictures = RunFolder(run), []
    for path in folder.previews():
        with Image.open(path) as preview:
            picture = add_captions(preview, f"step {int(path.stem)}").convert("RGB")
            pictures.append(np.asarray(picture).astype(float))
    shown, durations = frames(folder.animation)
    assert len(shown) == len(pictures) > 2
    assert all(map(np.array_equal, shown, pictures))
    assert len(set(durations[:-1])) == 1
    assert durations[-1] > 3 * durations[0]


@pytest.mark.draws
@pytest.mark.parametrize("model", ["vae", "gan"])
def test_a_run_ends_with_an_animation_of_its_previews(
    model: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "train", model, str(folder), *TINY, "--lr", "0.05", "--ema-decay", "0", "--folder", "run")
    check_shows_previews("run")
    before = len(RunFolder("run").previews())
    said(capsys, "resume", "run", "--steps", "12")
    assert len(RunFolder("run").previews()) > before
    check_shows_previews("run")


def test_previews_too_many_or_too_large_are_chosen_and_made_smaller(tmp_path: Path) -> None:
    assert encode_previews([]) == b""
    paths = [tmp_path / f"{step:07d}.png" for step in range(250)]
    for step, path in enumerate(paths):
        Image.new("RGB", (1200, 120) if step > 40 else (60, 60), (step, 0, 0)).save(path)
    assert encode_previews(paths[:1]) == b""
    paths[121].write_bytes(b"damaged")
    (tmp_path / "a.webp").write_bytes(encode_previews(paths))
    shown, _ = frames(tmp_path / "a.webp")
    assert len(shown) == 99  # without the damaged one
    assert {picture.shape[1] for picture in shown} == {1000}
    reds = [picture[-50:, :, 0].mean() for picture in shown]
    assert (reds[0], reds[-1]) == (0, 249)
    assert (np.diff(reds) > 0).all()


def test_the_same_examples_and_noise_are_in_every_preview(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first step and later, and after a resume; those of another seed are others."""

    def noise(model: VAE, batch: Batch, **networks: torch.nn.Module) -> torch.Tensor:
        return torch.stack([batch.x, torch.randn_like(batch.x).clamp(-1, 1)])

    monkeypatch.setattr(VAE, "preview", noise)
    for seed in ("0", "1"):
        assert main(["train", "vae", str(folder), *TINY, "--seed", seed, "--folder", seed, "--quiet"]) == 0
        assert main(["resume", seed, "--steps", "9", "--quiet"]) == 0
    contents = [path.read_bytes() for path in RunFolder("0").previews()]
    assert len(contents) == 4
    assert len(set(contents)) == 1
    assert {path.read_bytes() for path in RunFolder("1").previews()}.isdisjoint(contents)


def test_a_walk_goes_there_and_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--net conv --steps 60 --width 8 --lr 0.02 --ema-decay 0.5 --quiet"
    run = said(capsys, "train", "vae", str(folder), *words.split())
    walk = ["interpolate", run, "--rows", "3"]
    said(capsys, *walk, "--columns", "7", "--out", "walk.npz")
    with np.load("walk.npz") as archive:
        steps = torch.from_numpy(archive["x"]).movedim(-1, 1).unflatten(0, (3, 7)).unbind(1)
    there = [np.asarray(grid(x).convert("RGB")).astype(float) for x in steps]
    for file, error in (("walk.webp", 1e-9), ("walk.gif", 8)):  # of 255
        shown, durations = frames(Path(said(capsys, *walk, "--columns", "7", "--out", file)))
        assert len(shown) == 12
        for picture, expected in zip(shown, there + there[-2:0:-1], strict=True):
            assert np.abs(picture - expected).mean() < error
        differences = [np.abs(shown[i] - there[-1]).mean() for i in range(7)]
        assert differences == sorted(differences, reverse=True)
        assert durations == [1000, *[40] * 5, 1000, *[40] * 5]
    smooth, _ = frames(Path(said(capsys, *walk, "--out", "smooth.webp")))
    assert len(smooth) == 2 * 60 - 2
    failing(capsys, [*walk, "--out", "walk.bmp"], 2, r"cannot write walk\.bmp: .* in \.gif or \.webp for an animation")
    advice = "a video: write a b.webp or a b.gif; ffmpeg -i 'a b.gif' 'a b.mp4' then makes a video\n"
    failing(capsys, [*walk, "--out", "a b.mp4"], 2, re.escape(f"cannot write a b.mp4, {advice}"))


def test_images_with_alpha_move_too(tmp_path: Path) -> None:
    x = torch.randint(0, 256, (6, 4, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for suffix in (".gif", ".webp"):
        Examples(x, 3, is_walk=True).save(tmp_path / f"a{suffix}")
        assert len(frames(tmp_path / f"a{suffix}")[0]) == 4
    Examples(x, 3).save(tmp_path / "still.webp")
    with Image.open(tmp_path / "still.webp") as image:
        assert image.n_frames == 1  # type: ignore[attr-defined]


def test_a_walk_of_vectors_is_no_animation(capsys: pytest.CaptureFixture[str]) -> None:
    run = said(capsys, "train", "vae", "ring", *TINY, "--limit", "400", "--quiet")
    failing(
        capsys, ["interpolate", run, "--out", "walk.gif"], 2, r"cannot write walk\.gif: end its name in \.png, \.jpg"
    )
