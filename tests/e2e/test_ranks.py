"""Runs by two processes from the command line: they go on to the same bits, and end together."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from ganvas.io.safetensors import read_header
from tests.support.cli import said
from tests.support.data import write_folder
from tests.support.folders import check_same_bits
from tests.support.rank_commands import Answer, Fault, Ranks
from tests.support.ranks import ENVIRONMENT, GANVAS, free_port, wait_for
from tests.support.shards import write_shards

SECONDS = 250
"""that a run of some processes takes at most, on a machine that has other things to do"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
POOLED = ["--width", "4", "--blocks", "1", "--pool-size", "6", "--lr-decay", "0", "--batch-size", "2", "--quiet"]
SMALL = ["--width", "4", "--latent", "3", "--batch-size", "2", "--checkpoint-every", "20", "--quiet"]


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def children(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def sentences(answers: list[Answer]) -> list[list[str]]:
    """What each rank says on stderr."""
    return [answer.errors.splitlines() for answer in answers]


def codes(answers: list[Answer]) -> list[int]:
    return [answer.code for answer in answers]


def epochs(answers: list[Answer], size: int) -> list[Counter[int]]:
    """How often each example was seen in so many steps, by both ranks together."""
    steps = [a + b for a, b in zip(*(answer.checksums for answer in answers), strict=True)]
    return [Counter(example for step in steps[i : i + size] for example in step) for i in range(0, len(steps), size)]


def test_ranks_with_pools_go_on_to_the_same_bits_also_by_two_agents(ranks: Ranks, folder: Path) -> None:
    domains = [str(folder), str(write_folder(folder.parent / "b"))]
    train = ["train", "cyclegan", *domains, *POOLED, "--checkpoint-every", "20", "--steps"]
    half = start([*TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "ganvas", *train, "20", "--folder", "half"])
    straight, other = ranks.run(*train, "40", "--folder", "straight")
    assert (straight.code, straight.output, other.code, other.output) == (0, "straight\n", 0, "")
    ended = wait_for([half], SECONDS)
    assert ended[0][0] == 0, ended
    assert read_header(Path("half/state.ckpt"))["world_size"] == 2
    agent = [*TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "1"]
    agent += ["--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--rdzv-conf"]
    resume = ["-m", "ganvas", "resume", "half", "--steps", "40", "--quiet"]
    ended = wait_for([start([*agent, f"is_host={is_host}", *resume]) for is_host in (1, 0)], SECONDS)
    assert [code for code, *_ in ended] == [0, 0], ended  # of both: where one fails, the other has lost its store
    check_same_bits("straight", "half")


def test_a_killed_rank_ends_the_others_and_the_run_goes_on(ranks: Ranks, folder: Path) -> None:
    train = [*GANVAS, "train", "vae", str(folder), *SMALL, "--steps", "100000", "--folder", "run", "--devices", "2"]
    process = start(train)
    wait_until(lambda: Path("run/previews/0000020.png").exists())
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    start_time = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert time.monotonic() - start_time < 30
    assert errors.count("ganvas: ") == 1, errors
    step = read_header(Path("run/state.ckpt"))["step"]
    resumed = start([*GANVAS, "resume", "run", "--quiet", "--devices", "2"])
    wait_until(lambda: read_header(Path("run/state.ckpt"))["step"] > step)
    resumed.terminate()
    resumed.communicate(timeout=60)
    assert resumed.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(("name", "rank"), [("SIGTERM", 1), ("SIGINT", 0)])
def test_a_signal_to_one_rank_stops_all_after_the_same_step(ranks: Ranks, folder: Path, name: str, rank: int) -> None:
    train = ["train", "vae", str(folder), *SMALL, "--steps", "40", "--folder"]
    assert codes(ranks.run(*train, "straight")) == [0, 0]
    stopped = ranks.run(*train, "stopped", fault=Fault(rank, 12, name))
    assert codes(stopped) == [128 + signal.Signals[name]] * 2
    assert sentences(stopped) == [["ganvas: stopped at step 13 of 40; go on with: ganvas resume stopped"], []]
    assert [len(answer.checksums) for answer in stopped] == [13, 13]
    assert read_header(Path("stopped/state.ckpt"))["step"] == 13
    assert codes(ranks.run("resume", "stopped", "--quiet")) == [0, 0]
    check_same_bits("straight", "stopped")


def test_a_loss_that_is_not_finite_on_one_rank_ends_the_run_on_all(ranks: Ranks, folder: Path) -> None:
    train = ["train", "vae", str(folder), *SMALL, "--steps", "40", "--folder", "run"]
    ended = ranks.run(*train, "--on-divergence", "stop", fault=Fault(1, 12, "nan"))
    assert codes(ended) == [1, 1]
    (sentence,), nothing = sentences(ended)
    assert "became nan at step 13: stopped; run keeps the checkpoint of step 0. Start a new run" in sentence
    assert nothing == []
    assert "became nan at step 13" in json.loads(Path("run/log.jsonl").read_text().splitlines()[-1])["diverged"]


def test_a_loss_that_is_not_finite_on_one_rank_moves_no_weight_on_any(ranks: Ranks, folder: Path) -> None:
    train = ["train", "vae", str(folder), *SMALL, "--steps", "16", "--folder", "run"]
    ended = ranks.run(*train, fault=Fault(1, 12, "nan"))
    assert codes(ended) == [0, 0], "with the same weights, as a save checks"
    lines = [json.loads(text) for text in Path("run/log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["skipped"]) for line in lines if "skipped" in line] == [(14, 1)]


def test_ranks_plan_for_a_budget_by_the_clock_of_the_first(ranks: Ranks, folder: Path) -> None:
    train = ["train", "vae", str(folder), *SMALL[:-1], "--budget", "3s", "--folder", "run"]
    first, second = ranks.run(*train)
    assert (first.code, second.code, second.errors) == (0, 0, "")
    steps = json.loads(Path("run/config.json").read_text())["train_config"]["steps"]
    assert f" ms a step, so {steps:,} step" in first.errors
    assert read_header(Path("run/state.ckpt"))["step"] == steps
    assert len(first.checksums) == len(second.checksums) > steps  # those of the trial are among them


def test_what_one_rank_cannot_read_ends_both(ranks: Ranks, folder: Path) -> None:
    train, run = ["train", "vae", "DATA", *SMALL, "--steps", "4", "--folder", "run"], Path("run")
    absent = ranks.run(*train, data=(str(folder), "absent"))
    damaged = shutil.copytree(folder, folder.parent / "damaged")
    for file in damaged.rglob("*.png"):
        file.write_bytes(file.read_bytes()[:60])
    unreadable = ranks.run(*train, data=(str(folder), str(damaged)))
    for answers in (absent, unreadable):
        assert codes(answers) == [2, 2]
        (sentence,), nothing = sentences(answers)
        assert sentence.startswith("ganvas: rank 1: ")
        assert nothing == []
        assert not run.exists()


def test_data_that_differ_between_ranks_are_refused(ranks: Ranks, folder: Path) -> None:
    other = shutil.copytree(folder, folder.parent / "other")
    (other / "cat" / "0.png").write_bytes(b"damaged")
    train = ["train", "vae", "DATA", *SMALL, "--steps", "4", "--folder", "run"]
    answers = ranks.run(*train, data=(str(folder), str(other)))
    assert codes(answers) == [2, 2]
    (sentence,), nothing = sentences(answers)
    assert "rank 1 has read other data than rank 0, 11 examples in place of 12" in sentence
    assert nothing == []


def test_a_run_goes_on_with_another_number_of_ranks(
    ranks: Ranks, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """12 examples: an epoch of two ranks with batches of 2 is 3 steps, of one rank 6."""
    train = ["train", "vae", str(folder), *SMALL, "--steps"]
    first = ranks.run(*train, "4", "--folder", "fewer")
    said(capsys, "resume", "fewer", "--steps", "10", "--quiet")
    assert read_header(Path("fewer/state.ckpt"))["position"] == 8 + 6
    changes = json.loads(Path("fewer/config.json").read_text())["changes"]
    assert changes == [{"step": 4, "steps": [4, 10], "world_size": [2, 1]}]
    said(capsys, *train, "8", "--folder", "more")
    answers = ranks.run("resume", "more", "--steps", "10", "--quiet")
    assert codes(answers) == [0, 0]
    assert read_header(Path("more/state.ckpt"))["position"] == 4 + 2
    assert json.loads(Path("more/config.json").read_text())["changes"][0]["world_size"] == [1, 2]
    second_epoch = epochs(first, 3)[1] + epochs(answers, 2)[0]
    assert len(second_epoch) == 12, "both have the same order, in which `more` goes on where `fewer` stopped"


def test_pools_with_another_number_of_ranks(ranks: Ranks, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    domains = [str(folder), str(write_folder(folder.parent / "b"))]
    assert codes(ranks.run("train", "cyclegan", *domains, *POOLED, "--steps", "2", "--folder", "run")) == [0, 0]
    assert any(name.startswith("ranks/1/") for name in load_file("run/state.ckpt"))
    said(capsys, "resume", "run", "--steps", "3", "--quiet")
    assert not any(name.startswith("ranks/") for name in load_file("run/state.ckpt"))
    assert codes(ranks.run("resume", "run", "--steps", "4", "--quiet")) == [0, 0]
    assert any(name.startswith("ranks/1/") for name in load_file("run/state.ckpt"))


def test_ranks_that_stream_shards_see_each_example_once_an_epoch(ranks: Ranks, tmp_path: Path) -> None:
    """60 examples in 6 shards: an epoch is 15 steps."""
    source = str(write_shards(tmp_path / "x"))
    train = ["train", "vae", source, *SMALL, "--stream", "always"]
    answers = ranks.run(*train, "--steps", "40", "--folder", "straight")
    assert codes(answers) == [0, 0]
    for epoch in epochs(answers, 15)[:2]:
        assert len(epoch) == 60
        assert set(epoch.values()) == {1}
    assert codes(ranks.run(*train, "--steps", "40", "--folder", "half", fault=Fault(0, 21, "SIGTERM"))) == [143, 143]
    resumed = ranks.run("resume", "half", "--quiet")
    assert [a.checksums for a in resumed] == [a.checksums[22:] for a in answers]
    check_same_bits("straight", "half")


def test_a_shard_that_vanishes_on_one_rank_ends_both_and_is_named(tmp_path: Path) -> None:
    sources = [str(write_shards(tmp_path / name)) for name in ("a", "b")]
    two = Ranks()
    vanished = str(tmp_path / "b" / "data-002.tar")
    train = ["train", "vae", "DATA", *SMALL, "--stream", "always", "--steps", "100", "--folder", "run"]
    answers = two.run(*train, data=sources, fault=Fault(1, 3, vanished))
    two.close()
    assert codes(answers) == [1, 2]
    (gone,), (sentence,) = sentences(answers)
    assert gone.startswith(
        "ganvas: another rank has ended, so this one cannot go on; run keeps the checkpoint of step 0"
    )
    assert sentence.startswith(f"ganvas: rank 1: the shard {vanished} cannot be read (no such file or directory)")
