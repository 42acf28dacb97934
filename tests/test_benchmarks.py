"""Benchmarks still run: each is imported and says its options, and the quick ones do the least that they can do."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import ganvas

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
PARSED = [name for name in NAMES if "ArgumentParser" in (FOLDER / f"{name}.py").read_text(encoding="utf-8")]


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Benchmarks import each other by name, and may change how many threads there are."""
    monkeypatch.syspath_prepend(str(FOLDER))
    threads, before = torch.get_num_threads(), set(sys.modules)
    yield
    torch.set_num_threads(threads)
    for name in set(sys.modules) - before:
        if name in NAMES:
            del sys.modules[name]


@pytest.fixture
def mnist() -> str:
    """Noise in place of MNIST."""
    random = np.random.default_rng(0)
    parts = {f"x_{part}": random.integers(0, 256, (n, 28, 28), np.uint8) for part, n in (("train", 160), ("test", 80))}
    np.savez("mnist.npz", **parts, **{f"y_{name[2:]}": np.arange(len(x)) % 10 for name, x in parts.items()})  # type: ignore[arg-type]
    return "mnist.npz"


@pytest.fixture
def bits() -> str:
    """The same as bits."""
    random = np.random.default_rng(0)
    packed = {f"bits_{part}": random.integers(0, 256, (n, 98), np.uint8) for part, n in (("train", 120), ("test", 50))}
    np.savez("bits.npz", **packed)  # type: ignore[arg-type]
    return "bits.npz"


def called(name: str, monkeypatch: pytest.MonkeyPatch, *words: str, **values: Any) -> ModuleType:
    """The benchmark after its `main` with these words, and these values in place of its own."""
    module = importlib.import_module(name)
    for key, value in values.items():
        monkeypatch.setattr(module, key, value)
    monkeypatch.setattr(sys, "argv", [name, *words])
    module.main()
    return module


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_says_its_options(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name not in PARSED:
        importlib.import_module(name)
        return
    with pytest.raises(SystemExit) as left:
        called(name, monkeypatch, "--help")
    assert left.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_a_step(mnist: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    called("step", monkeypatch, mnist, "--steps", "1", "--rounds", "1", "--threads", "1", matmul_rate=lambda: 1e9)
    assert capsys.readouterr().out.count("step with data, ms") == 2


def test_a_step_of_translation(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--size", "16", "--width", "4", "--blocks", "1", "--steps", "1", "--rounds", "1", "--threads", "1"]
    called("translation_step", monkeypatch, *words)
    assert "step with data, ms" in capsys.readouterr().out


def test_modes() -> None:
    found = importlib.import_module("mixtures").run("ring", "ours", 0, 2, Path("mixtures"))
    assert found["captured"] >= 0
    found = importlib.import_module("disco_toy").run(5, "both", 0, 2, Path("disco"))
    assert len(found["made"]) > 0


def test_distances_of_a_critic(mnist: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("wasserstein")
    monkeypatch.setattr(module, "N", 64)
    monkeypatch.setattr(module, "EPOCHS", 1)
    monkeypatch.setitem(module.MODELS, "WGAN", ganvas.WGAN(net="mlp", width=8))
    assert module.run(mnist, "WGAN", 0, 2, 1, Path())["step"] == [1, 2]


def test_architectures(mnist: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("architectures")
    monkeypatch.setattr(module, "N", 64)
    monkeypatch.setattr(module, "EPOCHS", 1)
    for i in (0, 1):
        assert module.run(mnist, i, "WGAN-GP", 1, Path())["distance"] > 0


@pytest.mark.parametrize("model", [ganvas.GAN(width=8), ganvas.VAE(width=8, latent=2)], ids=["GAN", "VAE"])
def test_runs_of_the_doctor(model: Any) -> None:
    module = importlib.import_module("doctor")
    found = module.run(model, "digits", {"steps": 10}, 0, Path("doctor"))
    assert found["lines"]


def test_bounds(bits: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    elbo, ladder = (importlib.import_module(name) for name in ("elbo", "ladder"))
    for module in (elbo, ladder):
        monkeypatch.setattr(module, "EPOCHS", 1)
        module.main(bits)
    assert capsys.readouterr().out.count("test ELBO") == 5


def test_evaluation(mnist: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    called("evaluation", monkeypatch, mnist, "200")
    assert "kid" in capsys.readouterr().out
