"""Memory that runs out: what a run says then, which batches would fit, and batch_size=auto."""

import json
import re
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.cli.app import main
from ganvas.config import TrainConfig
from ganvas.data import from_array
from ganvas.errors import OutOfMemoryError, UserError
from ganvas.io.safetensors import read_header
from ganvas.training import memory
from ganvas.training.defaults import choose_defaults
from ganvas.training.fit import Run
from ganvas.training.loop import StepPlayer
from ganvas.training.memory import Trial, batch_sizes, held_bytes, largest_batch, try_batch
from tests.support.failures import failing
from tests.support.ranks import ENVIRONMENT

DATA = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
MODEL = ganvas.Autoencoder(width=4, latent=2)
WORDS = ["train", "autoencoder", "data.npy", "--width", "4", "--latent", "2", "--steps", "6", "--checkpoint-every", "2"]
WORDS += ["--folder", "run", "--quiet"]
CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 4 GiB")
CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 3145728 bytes. Error code 12 (Cannot allocate memory)"
)
ON_CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def data() -> None:
    np.save("data.npy", DATA)


@pytest.fixture
def most(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets memory hold the steps of so many examples only; from some step of a run on, where that is given."""
    play = StepPlayer.play

    def limit(most: int, error: BaseException = CUDA, step: int = 0) -> None:
        def limited(self: StepPlayer) -> None:
            if self.config.examples_per_step > most and self.state.step >= step:
                raise error
            play(self)

        monkeypatch.setattr(StepPlayer, "play", limited)

    return limit


def stored(run: str = "run") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run, "config.json").read_text())
    return found


def weights(run: str) -> bytes:
    return Path(run, "weights.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("error", "asked"),
    [(CPU, ", which asked for 3 MiB more"), (CUDA, ", which asked for 2.00 GiB more"), (MemoryError(), "")],
)
def test_a_run_ends_in_a_sentence_and_goes_on_with_what_fits(
    error: BaseException, asked: str, most: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    most(20, error, step=5)
    sentence = (
        rf"^ganvas: out of memory on cpu in step 6 with batches of 48{asked}: batches of 16 fit, as steps with them "
        r"show; run keeps the checkpoint of step 4 of 6; go on with: ganvas resume run --batch-size 16\n$"
    )
    said = failing(capsys, [*WORDS, "--batch-size", "48"], 1, sentence)
    assert read_header(Path("run/state.ckpt"))["step"] == 4
    assert main(said.partition("ganvas resume ")[2].join(["resume ", ""]).split()) == 0
    assert (read_header(Path("run/state.ckpt"))["step"], stored()["train_config"]["batch_size"]) == (6, 16)


def test_where_nothing_fits(most: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    most(0)
    failing(capsys, [*WORDS, "--batch-size", "8"], 1, "and not even 1 fit: run keeps .* step 0 of 6; start a new run")
    failing(
        capsys, [*WORDS[:-3], "--folder", "one", "--batch-size", "1"], 1, "batches of 1, .* the smallest that it can"
    )


def test_between_steps_no_batch_is_to_blame(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any) -> None:
        raise CPU

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log_step", fails)
        failing(capsys, WORDS, 1, "after step 1, which asked .* whatever the batch: free some; run keeps .* of step 0")
    assert main(["resume", "run", "--quiet"]) == 0


def test_other_errors_stay_what_they_are(most: Callable[..., None]) -> None:
    most(0, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        ganvas.train(MODEL, DATA, steps=2, folder="run", quiet=True)


def test_trials_have_the_memory_of_the_run(most: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """What it trained, the optimisers' moments, and what the step that failed had computed are gone by then."""
    held, seen = list[weakref.ref[Any]](), list[bool]()
    play = StepPlayer.play

    def fails(self: StepPlayer) -> None:
        play(self)
        if self.config.examples_per_step > 16:
            activation = torch.zeros(3)
            moments = [m for state in self.state.optimizers["encoder+decoder"].state.values() for m in state.values()]
            held.extend(map(weakref.ref, [activation, *self.state.nets.parameters(), *moments, self]))
            raise CUDA

    def trial(*_: Any) -> None:
        seen.extend(ref() is None for ref in held)

    monkeypatch.setattr(StepPlayer, "play", fails)
    monkeypatch.setattr(memory, "largest_batch", trial)
    with pytest.raises(OutOfMemoryError, match="not even 1 fit"):
        ganvas.train(MODEL, DATA, steps=2, batch_size=32, folder="run", quiet=True)
    assert len(seen) > 10
    assert all(seen)


@pytest.mark.parametrize("reason", ["", "alone"])
def test_a_group_ends_and_goes_on_as_a_group(
    reason: str, monkeypatch: pytest.MonkeyPatch, most: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ganvas.training.many.trial", lambda _: reason)
    if reason:
        most(16, step=3)
    else:

        def fails(self: Any) -> None:
            raise CUDA

        monkeypatch.setattr("ganvas.training.batched.BatchedPlayer.play", fails)
    sentence = r"in step \d with batches of 40, which .* batches of \d+ fit, .* the runs keep their checkpoints; go on "
    failing(
        capsys, [*WORDS, "--batch-size", "40", "--seeds", "2"], 1, sentence + "with: ganvas resume run --batch-size"
    )
    assert [read_header(Path(f"run-seed{i}/state.ckpt"))["step"] for i in (0, 1)] == [2 if reason else 0] * 2
    monkeypatch.undo()


def test_the_trial_of_a_budget(most: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    most(4)
    words = [word for word in WORDS if word not in ("--steps", "6")]
    failing(capsys, [*words, "--budget", "1m", "--batch-size", "8"], 1, "of 8, .* 4 fit, .*; give --batch-size 4\n$")
    assert not Path("run").exists()


def test_ranks_do_not_measure(
    most: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "world_size", lambda: 2)
    most(4)
    sentence = "of 48 on each of 2 ranks, .* several ranks do not measure what fits: try less; .* --batch-size 32\n$"
    failing(capsys, [*WORDS, "--batch-size", "48"], 1, sentence)
    assert main([*WORDS[:-3], "--folder", "auto", "--batch-size", "auto", "--device", "cpu"]) == 1
    assert "note: several ranks do not measure: batch_size=64" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["sample", "run"], "ask for fewer examples, with a smaller -n"),
        (["evaluate", "run"], "ask for fewer examples, with a smaller -n"),
        (["score", "run", "data.npy"], "score fewer examples at once, with --limit"),
        (["resume", "sample"], "ask for fewer or smaller examples, or a smaller model or batch"),
    ],
)
def test_commands_name_their_own_option(
    words: list[str], advice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **options: Any) -> None:
        raise CUDA

    monkeypatch.setattr("ganvas.cli.common.load_trained", fails)
    monkeypatch.setattr("ganvas.training.run.resume", fails)
    Path("run").mkdir()
    Path("sample").mkdir()
    failing(capsys, words, 1, f"^ganvas: there is not enough memory, which asked for 2.00 GiB more: {advice}")


def test_the_largest_that_fits_is_found_and_none_that_might_not_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = list[int]()

    def trial(n: int, *_: Any) -> Trial | None:
        tried.append(n)
        return Trial(n, peak(n), 900) if peak(n) <= most else None

    def peak(n: int) -> int:
        return 1000 + 50 * n

    monkeypatch.setattr(memory, "try_batch", trial)
    sizes, config, dataset = [2**i for i in range(9)], TrainConfig(), from_array(DATA)
    for usable in (900, 1100, 2000, 5000, 10**6):
        for most in (usable, 1_050, 4_000):
            tried.clear()
            found = largest_batch(MODEL, dataset, (), config, sizes, usable)
            fitting = max((n for n in sizes if peak(n) <= min(usable, most)), default=0)
            assert fitting / 2 <= (found.batch_size if found else 0) <= fitting
            assert len(tried[1:]) == len(set(tried)) <= 7
            assert all(peak(n) <= usable for n in tried[2:])


def test_sizes_are_those_that_model_and_data_allow() -> None:
    data = from_array(DATA)
    assert batch_sizes(MODEL, data, 40) == [1, 2, 4, 5, 8, 10, 16, 20, 32, 40]
    assert batch_sizes(MODEL, data, 1000) == [1, 2, 4, 5, 8, 10, 16, 20, 32, 40, 64, 80]
    assert batch_sizes(ganvas.GAN(pack=3, norm_d="batch", norm="batch"), data, 48) == [6, 12, 24, 48]
    assert batch_sizes(MODEL, data, 0) == []


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux says what a process held")
def test_the_peak_of_a_process_is_measured() -> None:
    size = 64 * 2**20

    def play() -> int:
        torch.ones(size // 4).sum()
        return 7

    for _ in range(2):  # a second time as well
        trial = try_batch(3, play, ON_CPU)
        assert trial is not None
        assert (trial.batch_size, trial.fixed) == (3, 7)
        assert size <= trial.peak + 2**20 <= 1.5 * size
    (data,) = (from_array(np.random.default_rng(0).integers(0, 256, (512, 16, 16, 1), np.uint8)),)
    found = largest_batch(ganvas.VAE(width=8, latent=2), data, (), TrainConfig(), [8, 512], 2**30)
    assert found is not None
    assert found.batch_size == 512
    assert found.peak > found.fixed > 0


def test_what_the_system_does_not_say_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "Path", lambda _: Path("nowhere"))
    assert held_bytes(ON_CPU, "VmHWM") == 0
    assert try_batch(3, lambda: 7, ON_CPU) == Trial(3, 0, 7)
    ganvas.train(MODEL, DATA, steps=2, batch_size="auto", folder="run", quiet=True)
    assert stored()["train_config"]["batch_size"] == 64


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="has what Linux says of a process")
def test_a_peak_that_cannot_begin_anew_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it were that of all the process's life, and the batch be 1 where a few GB are free."""
    monkeypatch.setattr(memory, "Path", lambda path: Path("nowhere/x" if path.endswith("clear_refs") else path))
    assert try_batch(3, lambda: 7, ON_CPU) == Trial(3, 0, 7)


def test_auto_is_the_default_where_that_fits(capsys: pytest.CaptureFixture[str]) -> None:
    """That of the model, by the data or for so few: and the run is that of the number."""
    assert main([*WORDS[:-1], "--batch-size", "auto"]) == 0
    assert re.search(r"^batch_size 64: steps .*, as by default$", capsys.readouterr().err, re.MULTILINE)
    assert stored()["train_config"]["batch_size"] == 64
    assert stored()["trials"]["batch_size"]["requested"] == "auto"
    assert "batch_size" in stored()["given"]
    assert main([*WORDS[:-3], "--folder", "number", "--quiet", "--batch-size", "64"]) == 0
    assert weights("run") == weights("number")
    ganvas.train(MODEL, DATA[:20], steps=1, batch_size="auto", folder="few", quiet=True)
    assert stored("few")["train_config"]["batch_size"] == 20
    images = from_array(np.random.default_rng(0).integers(0, 256, (200, 12, 12, 1), np.uint8))
    of_auto, of_none = (choose_defaults(ganvas.DCGAN(), images, options)[1] for options in ({"batch_size": "auto"}, {}))
    assert of_auto.training["batch_size"] == of_none.training["batch_size"] != 64


def test_auto_is_less_where_the_default_does_not_fit(
    most: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    most(24)
    Path("options.yaml").write_text("batch_size: auto\nepochs: 3\n")
    words = [word for word in WORDS[:-1] if word not in ("--steps", "6")]
    assert main([*words, "--config", "options.yaml"]) == 0
    said = capsys.readouterr().err
    assert re.search(r"^batch_size 16: steps .*; 64, the default, does not fit in 80% of that$", said, re.MULTILINE)
    assert "has 16 examples" not in said
    assert (stored()["train_config"]["batch_size"], stored()["train_config"]["steps"]) == (16, 15)
    assert main(["resume", "run", "--steps", "20", "--quiet"]) == 0
    assert (stored()["train_config"]["batch_size"], "batch_size" in stored()["changes"][0]) == (16, False)


def test_auto_where_nothing_fits(most: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    most(0)
    failing(capsys, [*WORDS, "--batch-size", "auto"], 1, "^ganvas: --batch-size auto: not even .* batches of 1 fit")
    assert not Path("run").exists()


def test_a_run_goes_on_with_auto(most: Callable[..., None]) -> None:
    ganvas.train(MODEL, DATA, steps=2, batch_size=48, folder="run", quiet=True)
    ganvas.resume("run", DATA, steps=3, batch_size="auto", quiet=True)
    assert stored()["train_config"]["batch_size"] == 48
    most(10)
    ganvas.resume("run", DATA, steps=4, batch_size="auto", quiet=True)
    assert stored()["train_config"]["batch_size"] == 8
    assert stored()["changes"][-1]["batch_size"] == [48, 8]


def test_groups_have_one_trial_for_all_seeds(
    most: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    most(16)
    assert main([*WORDS[:-1], "--sweep", "batch-size=auto,8", "--seeds", "2"]) == 0
    names = [f"run-batch_size{size}-seed{seed}" for size in ("auto", 8) for seed in (0, 1)]
    assert [stored(name)["train_config"]["batch_size"] for name in names] == [16, 16, 8, 8]
    assert capsys.readouterr().err.count("for 4 runs") == 1
    with pytest.raises(UserError, match="batch_size=auto begins with a trial of one run"):
        ganvas.resume_many("run", batch_size="auto")


def test_a_default_of_a_model_of_ones_own(most: Callable[..., None]) -> None:
    class Own(ganvas.Autoencoder):
        default_training = TrainConfig(batch_size="auto", steps=2)

    most(40)
    ganvas.train(Own(width=4, latent=2), DATA, folder="run", quiet=True)
    assert stored()["train_config"]["batch_size"] == 32


def test_bench_is_told_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    failing(capsys, ["bench", "vae", "--batch-size", "auto"], 2, "--batch-size auto is decided where a run begins")


SCRIPT = """
import resource, sys
import torch._dynamo  # which the first step would load
from pathlib import Path
from ganvas.cli.app import main
from ganvas.training.loop import StepPlayer
play = StepPlayer.play
def limited(self):
    if self.config.examples_per_step == 2048:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + 50 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    return play(self)
StepPlayer.play = limited
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits the memory of a process as Linux does")
def test_memory_that_truly_ends() -> None:
    np.save("wide.npy", np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32))
    words = [*WORDS, "--holdout", "0", "--batch-size", "2048", "--device", "cpu"]
    words[2] = "wide.npy"
    command = [sys.executable, "-c", SCRIPT, *words]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=100)
    sentence = (
        r"ganvas: out of memory on cpu in step 1 with batches of 2048, which asked for [\d.]+ MiB more: batches of"
    )
    found = re.fullmatch(rf"{sentence} (\d+) fit, .*; go on with: ganvas resume run --batch-size (\d+)\n", done.stderr)
    assert (done.returncode, bool(found)) == (1, True), done.stderr
