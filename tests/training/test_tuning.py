"""Switches that are measured: what they decide, what they say and store, and that a trial does not move the run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganvas.cli.app import main
from ganvas.config import TrainConfig
from ganvas.io.download import cache_dir
from ganvas.models import VAE
from ganvas.training import measurements, tuning
from ganvas.training.loop import initialize_state
from ganvas.training.measurements import StepTimes, measurement_file, read_measurement, write_measurement
from ganvas.training.tuning import product_seconds, time_steps
from tests.support.data import image_collection

TINY = [
    "--steps", "4", "--batch-size", "8", "--width", "4", "--latent", "3", "--checkpoint-every", "2", "--holdout", "0"
]  # fmt: skip
FAST, SLOW = {"float32": 2e-3, "bfloat16": 1e-3}, {"float32": 1e-3, "bfloat16": 5e-2}


@pytest.fixture
def data() -> str:
    np.savez("data.npz", x=np.random.default_rng(0).integers(0, 256, (24, 12, 12, 1), np.uint8))
    return "data.npz"


def config(run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run, "config.json").read_text())
    return found


def weights(run: str) -> bytes:
    return Path(run, "weights.safetensors").read_bytes()


def patched(monkeypatch: pytest.MonkeyPatch, name: str, figures: dict[str, float]) -> list[int]:
    """`product_seconds` or `time_steps` measures these; returns a list as long as it was called often."""
    calls: list[int] = []

    def measure(*_: Any, **__: Any) -> Any:
        calls.append(1)
        return figures if name == "product_seconds" else StepTimes(figures, 1.0)

    monkeypatch.setattr(tuning, name, measure)
    return calls


def test_the_faster_precision_is_used_said_stored_and_kept(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    patched(monkeypatch, "product_seconds", FAST)
    calls = patched(monkeypatch, "time_steps", FAST)
    for run in ("first", "second"):
        assert main(["train", "vae", data, *TINY, "--precision", "auto", "--folder", run]) == 0
        assert "precision bfloat16: bfloat16 is 2 times as fast as float32 here" in (err := capsys.readouterr().err)
        assert ("here (measured in an earlier run)" in err) == (run == "second")
    assert len(calls) == 1  # the second run found it in the cache
    assert config("first")["train_config"]["precision"] == "bfloat16"
    assert config("first")["trials"]["precision"] == {"requested": "auto", "seconds": FAST}
    assert main(["train", "vae", data, *TINY, "--precision", "bfloat16", "--folder", "explicit", "--quiet"]) == 0
    assert weights("first") == weights("explicit")
    assert main(["resume", "first", "--steps", "6", "--quiet"]) == 0
    assert main(["resume", "explicit", "--steps", "6", "--quiet"]) == 0
    assert weights("first") == weights("explicit")
    assert config("first")["train_config"]["precision"] == "bfloat16"


def test_where_a_product_is_much_slower_no_step_is_tried(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    patched(monkeypatch, "product_seconds", SLOW)
    calls = patched(monkeypatch, "time_steps", FAST)
    assert main(["train", "vae", data, *TINY, "--precision", "auto", "--folder", "run"]) == 0
    assert "precision float32: bfloat16 is 50 times as slow as float32 here" in capsys.readouterr().err
    assert calls == []
    assert config("run")["train_config"]["precision"] == "float32"


def test_what_was_measured_otherwise_is_measured_again(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With another version of torch, another batch, other threads, or a file of the cache that is damaged."""
    patched(monkeypatch, "product_seconds", FAST)
    calls, n = patched(monkeypatch, "time_steps", FAST), 0

    def train(words: Sequence[str] = TINY) -> int:
        nonlocal n
        n += 1
        assert main(["train", "vae", data, *words, "--precision", "auto", "--folder", f"run{n}"]) == 0
        assert config(f"run{n}")["train_config"]["precision"] == "bfloat16"
        return len(calls)

    assert [train(), train()] == [1, 1]
    batch_of_6 = ["6" if word == "8" else word for word in TINY]
    assert [train(batch_of_6), train(batch_of_6)] == [2, 2]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "99.0.0")
        assert [train(), train()] == [3, 3]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 77)
        assert train() == 4
    assert train() == 4
    capsys.readouterr()
    for file in (cache_dir() / "speed").iterdir():
        file.write_text("{")
    assert train() == 5
    assert "is damaged or cannot be read, so speed is measured anew" in capsys.readouterr().err
    assert train() == 5  # the file is whole again


def test_a_run_goes_on_where_nothing_can_be_kept(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    patched(monkeypatch, "product_seconds", FAST)
    calls = patched(monkeypatch, "time_steps", FAST)
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "file"))
    for run in ("first", "second"):
        assert main(["train", "vae", data, *TINY, "--precision", "auto", "--folder", run]) == 0
        assert "the next run measures speed again: " in capsys.readouterr().err
        assert config(run)["train_config"]["precision"] == "bfloat16"
    assert len(calls) == 2


def test_a_trial_does_not_move_the_run(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patched(monkeypatch, "product_seconds", {"float32": 1.0, "bfloat16": 1.0})  # so steps are tried
    monkeypatch.setattr(measurements, "TRIAL_SECONDS", 0.05)
    monkeypatch.setattr(tuning, "MIN_SPEEDUP", float("inf"))
    assert main(["train", "vae", data, *TINY, "--folder", "plain", "--quiet"]) == 0
    assert main(["train", "vae", data, *TINY, "--precision", "auto", "--folder", "run", "--quiet"]) == 0
    assert config("run")["trials"]["precision"]["seconds"].keys() == FAST.keys()
    assert weights("run") == weights("plain")
    assert Path("run/state.ckpt").read_bytes() == Path("plain/state.ckpt").read_bytes()


def test_products_and_steps_take_time() -> None:
    model, images = VAE(latent=3, width=4), image_collection(n=16, shape=(8, 8, 1))
    state = initialize_state(model, images.shape, 0, torch.device("cpu"))
    configs = {name: TrainConfig(batch_size=8, precision=name) for name in ("float32", "bfloat16")}  # type: ignore[arg-type]
    tuning.ensure_scaling(state, model, images)
    before = {name: t.clone() for name, t in state.nets.state_dict().items()}
    for times in (
        time_steps(model, images, configs, state).seconds,
        product_seconds(torch.device("cpu"), has_images=True),
    ):
        assert times.keys() == configs.keys()
        assert min(times.values()) > 0
    assert state.step == state.position == 0
    assert not state.optimizers
    assert all(torch.equal(t, before[name]) for name, t in state.nets.state_dict().items())


def test_bfloat16_without_units_for_it_is_said(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for reason in (None, "this processor has no units for bfloat16"):
        monkeypatch.setattr(tuning, "missing_bfloat16", lambda device, reason=reason: reason)
        assert main(["train", "vae", data, *TINY, "--precision", "bfloat16", "--folder", str(reason)]) == 0
        assert ("no units for bfloat16, so steps" in capsys.readouterr().err) == bool(reason)


def test_a_damaged_or_unwritable_cache_is_only_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, notes = {"model": "vae"}, list[str]()
    assert read_measurement(key, ["float32"], notes.extend) is None
    write_measurement(key, {"float32": 0.5}, notes.extend)
    assert read_measurement(key, ["float32"], notes.extend) == {"float32": 0.5}
    assert read_measurement({"model": "gan"}, ["float32"], notes.extend) is None
    assert notes == []
    for content in ("", "[]", '{"figures": {"float32": -1}}', '{"figures": {"float32": "x"}}', '{"figures": {}}'):
        measurement_file(key).write_text(content)
        assert read_measurement(key, ["float32"], notes.extend) is None
    assert len(notes) == 5
    assert all("is damaged or cannot be read, so speed is measured anew" in note for note in notes)
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "file"))
    write_measurement(key, {"float32": 0.5}, notes.extend)
    assert "the next run measures speed again: " in notes[-1]


@pytest.mark.parametrize(
    ("eager", "compiled", "expected", "message"),
    [
        (1e-3, 1e-4, "off", "of steps are left, too few to try it"),
        (1e3, 1e2, "on", "so the run ends 60 min 00 s earlier"),
        (1e3, 2e3, "off", "compile off: a step takes 2000 s compiled, 1000 s as it is"),
    ],
)
def test_compiling_is_decided_by_what_it_saves(
    data: str, eager: float, compiled: float, expected: str, message: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    patched(monkeypatch, "time_steps", {"eager": eager, "compiled": compiled})
    monkeypatch.setattr(tuning, "missing_compiler", lambda device: None)
    monkeypatch.setattr("ganvas.training.loop.compile_networks", dict)
    assert main(["train", "vae", data, *TINY, "--compile", "auto", "--folder", "run"]) == 0
    assert message in capsys.readouterr().err
    assert config("run")["train_config"]["compile"] == expected
    assert config("run")["trials"]["compile"]["seconds"]["eager"] == eager


def test_a_machine_without_a_compiler_gets_one_sentence(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tuning, "missing_compiler", lambda device: "there is no compiler of C++ such as g++")
    assert main(["train", "vae", data, *TINY, "--compile", "auto", "--folder", "auto"]) == 0
    assert "compile off: there is no compiler of C++ such as g++" in capsys.readouterr().err
    assert config("auto")["train_config"]["compile"] == "off"
    assert main(["train", "vae", data, *TINY, "--compile", "on", "--folder", "on"]) == 2
    assert "the networks cannot be compiled here: there is no compiler" in capsys.readouterr().err
    assert not Path("on").exists()


def test_a_torch_without_onednn_has_no_say_on_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such are those of Macs, which do not have the function that is asked."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops, "mkldnn", None)
    assert tuning.missing_bfloat16(torch.device("cpu")) is None


def test_a_compiled_run_counts_the_time_of_compiling_once_it_is_known(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The trial's code is the run's; a later run, which finds the times in the cache, has to compile by itself."""
    patched(monkeypatch, "time_steps", {"eager": 101.0, "compiled": 100.9})  # of which compiling takes 1 s
    monkeypatch.setattr(tuning, "missing_compiler", lambda device: None)
    monkeypatch.setattr("ganvas.training.loop.compile_networks", dict)
    for run, decision in (("first", "compile on"), ("second", "compile off")):
        assert main(["train", "vae", data, *TINY, "--compile", "auto", "--folder", run]) == 0
        assert f"{decision}: a step takes" in (err := capsys.readouterr().err)
        assert ("and compiling 1 s" in err) == (run == "second")


def test_code_that_fails_gets_one_sentence(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is compiled checks the order of memory of what it gets."""

    def fail(*_: Any) -> None:
        raise AssertionError("expected size 3==3, stride 1==120 at dim=1")

    monkeypatch.setattr(tuning, "missing_compiler", lambda device: None)
    monkeypatch.setattr(tuning, "time_steps", fail)
    assert main(["train", "vae", data, *TINY, "--compile", "auto", "--folder", "auto"]) == 0
    assert "compile off: expected size 3==3, stride 1==120 at dim=1" in capsys.readouterr().err
    assert main(["train", "vae", data, *TINY, "--compile", "on", "--folder", "on"]) == 2
    assert "the networks cannot be compiled here: expected size 3==3" in capsys.readouterr().err
