"""Runs on shards that are not in memory: from the command line to the weights, stopped, resumed, changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from ganvas.cli.app import main
from ganvas.data import DataOptions, memory, shards
from ganvas.errors import UserError
from ganvas.inference.trained import load_trained
from ganvas.io.safetensors import open_safetensors
from ganvas.training.fit import Run
from tests.support.cli import said, told
from tests.support.shards import encode, examples, random_images, write_shards, write_tar

TINY = ["--batch-size", "4", "--width", "4", "--latent", "3", "--checkpoint-every", "3", "--lr-decay", "0"]
STREAM = ["--stream", "always"]


def weights(folder: str) -> dict[str, list[float]]:
    with open_safetensors(Path(folder) / "state.ckpt") as file:
        return {name: file.get_tensor(name).flatten().tolist() for name in file.keys() if "nets" in name}  # noqa: SIM118


def train(
    capsys: pytest.CaptureFixture[str], name: str, model: str, source: Path | str, *options: str, steps: int = 6
) -> str:
    how = ["--steps", str(steps), "--folder", name, "--quiet"]
    return said(capsys, "train", model, str(source), *TINY, *how, *options)


def test_a_streamed_run_equals_one_in_memory_and_one_that_was_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_shards(tmp_path / "x")
    for model in ("vae", "dcgan"):
        whole = train(capsys, f"{model}-memory", model, source)
        streamed = train(capsys, f"{model}-stream", model, source, *STREAM)
        assert weights(streamed) == weights(whole)
        stopped = train(capsys, f"{model}-stopped", model, source, *STREAM, steps=4)
        said(capsys, "resume", stopped, "--steps", "6", "--quiet")
        assert weights(stopped) == weights(whole)
    stream = [
        json.loads((Path(run) / "config.json").read_text())["data"]["options"]["stream"] for run in (whole, streamed)
    ]
    assert stream == ["never", "always"]


def test_several_windows_and_a_sample_resume_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.data.webdataset.WINDOW", 9)
    monkeypatch.setattr(shards, "SAMPLE_EXAMPLES", 20)
    source = write_shards(tmp_path / "x")
    whole = train(capsys, "whole", "vae", f"{source}/data-{{000..005}}.tar", *STREAM, steps=20)
    stopped = train(capsys, "stopped", "vae", f"{source}/data-{{000..005}}.tar", *STREAM, steps=7)
    said(capsys, "resume", stopped, "--steps", "20", "--quiet")
    assert weights(stopped) == weights(whole)


def test_a_run_goes_on_as_it_began_whatever_memory_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_shards(tmp_path / "x")
    with monkeypatch.context() as patch:
        patch.setattr(shards, "available_memory", lambda: 1000)
        streamed = train(capsys, "run", "vae", source)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["options"]["stream"] == "always"
    said(capsys, "resume", streamed, "--steps", "8", "--quiet")
    assert weights(streamed) == weights(train(capsys, "memory", "vae", source, steps=8))


def test_ranks_stream_where_one_of_them_has_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_shards(tmp_path / "x")
    monkeypatch.setattr("ganvas.training.run.gather_texts", lambda text: [text, "always"])
    train(capsys, "run", "vae", source)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["options"]["stream"] == "always"


def test_ranks_of_a_machine_share_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.os, "sysconf", lambda name: {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}[name])
    monkeypatch.setattr(memory, "Path", lambda *parts: tmp_path / "nowhere")
    alone = memory.available_memory()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert memory.available_memory() == alone // 4 == 1000 * 1024


def test_changed_shards_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_shards(tmp_path / "x")
    run = train(capsys, "run", "vae", source, *STREAM)
    write_tar(source / "data-005.tar", examples(random_images(12), 3, 50))
    assert main(["resume", run, "--steps", "8"]) == 2
    assert "x has changed since run was begun: 60 examples then, 62 now: bring back the same" in capsys.readouterr().err
    (source / "data-005.tar").unlink()
    said(capsys, "resume", run, "--steps", "8", "--allow-changed-data", "--quiet")


def test_a_shard_that_vanishes_ends_the_run_which_goes_on_when_it_is_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_shards(tmp_path / "x")
    whole = train(capsys, "whole", "vae", source, *STREAM, steps=40)
    shard, hidden = source / "data-002.tar", tmp_path / "hidden"
    log = Run.log_step

    def hide_shard(run: Run, *how: Any) -> Any:
        if run.state.step == 6:
            shard.rename(hidden)
        return log(run, *how)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log_step", hide_shard)
        assert main(["train", "vae", str(source), *TINY, *STREAM, "--steps", "40", "--folder", "run"]) == 2
    assert (
        "data-002.tar cannot be read (no such file or directory): bring it back; a run can" in capsys.readouterr().err
    )
    hidden.rename(shard)
    said(capsys, "resume", "run", "--quiet")
    assert weights("run") == weights(whole)


def test_damaged_images_are_said_while_it_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SAMPLE_EXAMPLES", 10)
    images = [encode(image) for image in random_images(40)]
    members = [(f"{i}.png", image[:50] if i % 3 == 1 else image) for i, image in enumerate(images)]
    source = write_tar(tmp_path / "x.tar", members)
    assert main(["train", "vae", str(source), *TINY, *STREAM, "--steps", "6", "--folder", "run"]) == 0
    said_lines = capsys.readouterr().err
    assert "files skipped (x.tar, " in said_lines
    assert "warning: damaged images of x, at least 8: each is replaced by the next; " in said_lines


def test_commands_on_a_streamed_run_use_a_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SAMPLE_EXAMPLES", 25)
    source = write_shards(tmp_path / "x", 120)
    run = train(capsys, "run", "vae", source, *STREAM, "--holdout", "0.4")
    report = told(capsys, "evaluate", run, "--metrics", "elbo")
    assert report["split"] == "test"
    assert len(load_trained(Path(run)).encode(source / "data-000.tar")) == 10
    with pytest.raises(
        UserError, match=r"x has 120 examples, which are not in memory at once: give some of its shards"
    ):
        load_trained(Path(run)).encode(source, DataOptions(stream="always"))
    priors = told(capsys, "fit-prior", run, "--kinds", "gaussian", "--quiet")
    assert (priors["codes"], priors["codes_held_out"]) == (4 * 23, 2)  # shifted, four times each
    facts = told(capsys, "data", str(source), *STREAM, "--holdout", "0")
    assert facts["examples"] == 120
    assert facts["classes"] == {"0": 40, "1": 40, "2": 40}
    assert facts["sample"] == 25
    assert facts["shards"] == 12
    assert any("12 shards are streamed, as asked for" in note for note in facts["notes"])
    assert (tmp_path / facts["contact sheet"]).stat().st_size > 0
    assert report["sampled_from"] > 25
    assert f"(from a sample of its {report['sampled_from']})" in said(capsys, "evaluate", run, "--metrics", "elbo")


def test_what_needs_all_data_in_memory_is_refused_before_a_run_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(write_shards(tmp_path / "x"))
    for words, sentence in (
        (["--balanced"], "x is streamed, and --balanced needs it in memory: leave one of them out"),
        (
            ["--likelihood", "bernoulli", "--binarize", "static"],
            "x is streamed, but this vae changes all examples once before it learns, as with --binarize static",
        ),
        (["--batch-size", "61"], "--batch-size 61 is larger than the data: x has 60; give 60 or less"),
    ):
        assert main(["train", "vae", source, *STREAM, "--folder", "run", *words]) == 2
        assert sentence in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
