"""Many single images, written in threads: names and pixels are right, and whatever stops it leaves whole files."""

import _thread
import errno
import os
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ganvas
from ganvas.inference import translation
from ganvas.io import atomic
from ganvas.io.parallel import in_parallel
from ganvas.viz.images import Examples
from tests.support.failures import failing
from tests.support.models import small
from tests.support.translators import negatives

N, AT = 60, 20
"""images that each command writes, and which of them meets an obstacle"""
COMMANDS = {
    "sample": f"sample vae.safetensors -n {N} --out out",
    "reconstruct": f"reconstruct vae.safetensors images.npy -n {N} --out out",
    "translate": "translate cyclegan.safetensors images out",
}


@pytest.fixture(autouse=True)
def inputs(elsewhere: None) -> None:
    """Images, as an array and in a folder, and models that are not trained."""
    images = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), np.uint8)
    np.save("images.npy", images)
    Path("images").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(f"images/{i}.png")
    for cls, shape in ((ganvas.VAE, (3, 8, 8)), (ganvas.CycleGAN, ((3, 8, 8), (3, 8, 8)))):
        model = small(cls)
        nets = {name: net for name, net in model.networks(shape).items() if name not in model.training_only}
        ganvas.Trained(model, shape, nn.ModuleDict(nets)).save(Path(f"{cls.__name__.lower()}.safetensors"))


@pytest.fixture(params=list(COMMANDS))
def words(request: pytest.FixtureRequest) -> list[str]:
    return COMMANDS[request.param].split()


def at_some_image(patch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Act when one of the images is on the disk, but has not taken its name yet."""
    rename, calls = atomic.replace_file, count()

    def replace_file(temporary: Path, path: Path) -> None:
        if path.suffix == ".png" and next(calls) == AT:
            act()
        rename(temporary, path)

    patch.setattr(atomic, "replace_file", replace_file)


def whole_images() -> int:
    """How many images are in `out`, which holds nothing else; an error where one is damaged."""
    files = [path for path in Path("out").iterdir() if path.is_file() and path.name != ".ganvas.json"]
    for path in files:
        assert path.suffix == ".png"
        with Image.open(path) as image:
            image.load()
    return len(files)


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def first_waits_for_second() -> Callable[[], None]:
    """A function whose first call ends when another one has begun: at the same time, or else there is an error."""
    calls, second = count(), Event()

    def call() -> None:
        if next(calls):
            second.set()
        assert second.wait(timeout=30)

    return call


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_names_and_pixels_are_those_of_the_examples(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = first_waits_for_second()
    monkeypatch.setattr(atomic.os, "fsync", lambda descriptor: wait())
    x = torch.randint(0, 256, (N, channels, 8, 10), dtype=torch.uint8)
    labels = torch.arange(N) % 2
    Examples(x, labels=labels, classes=("cat", "dog")).save("out")
    assert whole_images() == N
    for i, image in enumerate(x):
        actual = pixels_of(Path("out", f"{i:05d}-{('cat', 'dog')[i % 2]}.png"))
        np.testing.assert_array_equal(actual.reshape(8, 10, channels), image.movedim(0, -1).numpy())


def test_a_translation_has_the_name_and_the_pixels_of_its_image(monkeypatch: pytest.MonkeyPatch) -> None:
    wait, write = first_waits_for_second(), translation.write_image
    monkeypatch.setattr(translation, "write_image", lambda *words: (wait(), write(*words))[1])
    summary = translation.translate_files(negatives(), Path("images"), Path("out"))
    assert summary.translated == whole_images() == N
    for i in range(N):
        np.testing.assert_array_equal(pixels_of(Path(f"out/{i}.png")), 255 - pixels_of(Path(f"images/{i}.png")))


def test_a_full_disk_is_said_in_one_sentence(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    at_some_image(monkeypatch, full)
    failing(capsys, words, 1, r"^ganvas: cannot write out.\d+\.png: no space left on device: make room, then try again")
    assert AT <= whole_images() < N - 1


def test_a_folder_in_the_way_is_the_users(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{AT}.png" if words[0] == "translate" else f"{AT:05d}.png"
    Path("out", name).mkdir(parents=True)
    message = rf"^ganvas: cannot write out.{name}: is a directory: give another name"
    failing(capsys, [*words, "--force"], 2, message)
    assert 0 < whole_images() < N - 1


def test_ctrl_c_leaves_whole_images_only(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_some_image(monkeypatch, _thread.interrupt_main)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests themselves may run under nohup
    try:
        failing(capsys, words, 130, "^ganvas: stopped$")
    finally:
        signal.signal(signal.SIGINT, handler)
    assert AT <= whole_images() < N


def test_few_items_are_made_ahead_and_an_error_in_making_them_is_raised() -> None:
    made = []

    def items() -> Iterator[int]:
        for i in range(50):
            made.append(i)
            yield i
        raise ValueError("no more")

    assert list(in_parallel(lambda i: -i, range(50), 3, group=8)) == list(range(0, -50, -1))
    results = in_parallel(lambda i: -i, items(), 3)
    assert next(results) == 0
    assert len(made) <= 7
    with pytest.raises(ValueError, match="no more"):
        list(results)
    assert made == list(range(50))
