"""What does not fit into memory is refused before it is tried, with what it takes and what there is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import ganvas
from ganvas.cli.app import main
from ganvas.data import Dataset, memory
from ganvas.errors import UserError
from ganvas.inference.trained import Trained

HUGE = 10**11
CALLS: list[Callable[[Trained, Dataset], Any]] = [
    lambda run, data: run.sample(HUGE),
    lambda run, data: run.sample(10**40),
    lambda run, data: run.sample(per_class=HUGE),
    lambda run, data: ganvas.interpolate(run, rows=HUGE),
    lambda run, data: ganvas.interpolate(run, columns=HUGE),
    lambda run, data: ganvas.interpolate(run, data, columns=HUGE),
    lambda run, data: ganvas.traverse(run, data, columns=HUGE),
    lambda run, data: ganvas.manifold(run, data, side=10**6),
    lambda run, data: ganvas.arithmetic(run, data, "0", "1", columns=HUGE),
]


@pytest.fixture(scope="module")
def run() -> Trained:
    """A VAE with random weights, given the labels of five classes."""
    model = ganvas.VAE(latent=2, width=4, conditional=True)
    nets = torch.nn.ModuleDict(model.networks((3, 12, 10), 5)).eval()
    return Trained(model, (3, 12, 10), nets, {"classes": list("01234"), "data": "images"})


@pytest.mark.parametrize("call", CALLS)
def test_too_many_are_refused(call: Callable[[Trained, Dataset], Any], run: Trained, images: Dataset) -> None:
    with pytest.raises(
        UserError, match=r"^(n|per_class|rows|columns|side)=.* would take [\d,]+ GiB of memory, .* free"
    ):
        call(run, images)


def test_what_fits_is_made(run: Trained) -> None:
    assert len(run.sample(7)) == 7


def test_what_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 5_000_000)
    memory.check_examples_fit(1000, (3, 8, 8), "n=1000")
    with pytest.raises(UserError, match=r"^n=4000: 4,000 examples would take 5.37 MiB of memory, and 4.77 MiB are"):
        memory.check_examples_fit(4000, (3, 8, 8), "n=4000")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you")])
def test_when_it_runs_out_nevertheless(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr("ganvas.training.fit.Run.fit", fails)
    assert main(["train", "vae", "digits", "--width", "4"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("ganvas: there is not enough memory: ask for fewer")
    assert json.loads(next(Path("runs").glob("*/config.json")).read_text())["model"] == "vae"


def test_more_samples_than_make_sense(run: Trained, images: Dataset) -> None:
    with pytest.raises(UserError, match="importance_samples=100000000000: 1,000,000 samples an example are the most"):
        ganvas.evaluate(run, images, importance_samples=HUGE)
