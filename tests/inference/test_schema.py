"""Headers and configurations that say what cannot be: a sentence that names file and field, never anything else."""

import json
import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ganvas
from ganvas.cli.app import main
from ganvas.errors import UserError
from ganvas.inference.schema import check_networks
from ganvas.inference.trained import Trained, load_trained
from ganvas.models import MODELS
from ganvas.training import run_records
from tests.support.data import as_pair, image_collection
from tests.support.models import IMAGE_MODELS, small

FILES = ("weights.safetensors", "state.ckpt", "config.json")
WRONG: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 1.5, -0.5, 1e300, "", "x", "nan", "1", "a\x00b", [], [0], [[]],
    [1, 2], {}, {"a": 1}, {"": []}, [[1, 2], [3]], [3, 100_000, 100_000], [None], "y" * 300,
)  # fmt: skip
ROUNDS = 15
"""mutations of each file; 120 of each were tried once with six models"""


def header_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and what follows it."""
    (n,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + n]), content[8 + n :]


def said(file: Path) -> Any:
    """What a file of a run says of itself."""
    if file.suffix == ".json":
        return json.loads(file.read_text())
    return json.loads(header_of(file.read_bytes())[0]["__metadata__"]["ganvas"])


def say(file: Path, value: Any) -> None:
    """Have a file of a run say something else of itself."""
    if file.suffix == ".json":
        file.write_text(json.dumps(value))
        return
    header, rest = header_of(file.read_bytes())
    header["__metadata__"]["ganvas"] = json.dumps(value)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(struct.pack("<Q", len(text)) + text + rest)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in nested values."""
    if path:
        yield path
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(part, (*path, key))


def mutated(value: Any, chance: random.Random) -> Any:
    """The same with something else, nothing, or another value of its own in one place."""
    value = json.loads(json.dumps(value))
    *way, last = chance.choice(list(places(value)))
    inner = value
    for key in way:
        inner = inner[key]
    kind = chance.random()
    if kind < 0.7:
        inner[last] = chance.choice(WRONG)
    elif kind < 0.85:
        del inner[last]
    elif isinstance(inner, dict):
        inner[chance.choice(["new", "", *inner])] = inner[last]
    return value


def begun(name: str, folder: str = "run") -> tuple[Path, Any]:
    """A run of a model and its data."""
    data: Any = image_collection(12, (6, 5, 3))
    data = as_pair(data).datasets if name == "cyclegan" else data
    ganvas.train(small(MODELS[name]), data, steps=2, batch_size=4, checkpoint_every=1, quiet=True, folder=folder)
    return Path(folder), data


def use(run: Path, data: Any) -> None:
    """All that reads a run."""
    trained = load_trained(run)
    assert len(trained.sample(2) if trained.model.n_domains == 1 else trained.translate(data[0])) > 1
    run_records.weights_notes(trained)
    run_records.summarize_run(run)
    assert main(["doctor", str(run)]) in (0, 1, 2)
    ganvas.resume(run, data, steps=3, quiet=True)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", ["cgan"])
def test_wrong_headers_are_refused_or_harmless(name: str, file: str) -> None:
    run, data = begun(name)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    chance, refused = random.Random(f"{name} {file}"), 0
    for _ in range(ROUNDS):
        say(run / file, mutated(said(run / file), chance))
        try:
            use(run, data)
        except UserError:
            refused += 1
        for path in [path for path in run.rglob("*") if path.is_file() and path not in before]:
            path.unlink()
        for path, content in before.items():
            path.write_bytes(content)
    assert refused > ROUNDS / 4


def failing(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main([*words]) == 2
    return capsys.readouterr().err


def test_files_of_a_newer_version_name_it(capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = begun("vae")
    weights, config = run / "weights.safetensors", run / "config.json"
    header, own = said(weights), said(config)
    say(weights, header | {"ganvas": "0.3.0", "fields": header["fields"] | {"newknob": 1}})
    text = failing(capsys, "sample", "run", "-n", "2", "--out", "a.png")
    assert "run/weights.safetensors has fields.newknob, which this version does not know: it was written by " in text
    assert "Ganvas 0.3.0, and this is" in text
    newer = own | {"versions": own["versions"] | {"ganvas": "0.3.0"}}
    for part, name in (("fields", "fields.newknob"), ("train_config", "train_config.newknob")):
        say(config, newer | {part: own[part] | {"newknob": 1}})
        text = failing(capsys, "resume", "run", "--steps", "6")
        assert f"run/config.json has {name}, which this version does not know: it was written by Ganvas 0.3.0" in text
        assert "0.3.0" in failing(capsys, "doctor", "run")
    say(config, newer | {"data": own["data"] | {"options": own["data"]["options"] | {"newknob": 1}}})
    text = failing(capsys, "resume", "run", "--steps", "6")
    assert "newknob" in text
    assert "0.3.0" in text


def test_wrong_values_are_fields_of_the_file_and_no_options(capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = begun("vae")
    own = said(run / "config.json")
    for part, field, value in (
        ("fields", "latent", -3),
        ("fields", "betas", [0.9]),
        ("train_config", "batch_size", "many"),
    ):
        say(run / "config.json", own | {part: own[part] | {field: value}})
        text = failing(capsys, "resume", "run", "--steps", "6")
        assert f"run/config.json: {part}.{field} " in text
        assert "--" not in text
    say(run / "config.json", own | {"data": own["data"] | {"options": own["data"]["options"] | {"size": "big"}}})
    assert "run/config.json: data.options.size must be a size" in failing(capsys, "resume", "run", "--steps", "6")


@pytest.mark.parametrize("shape", [[3, 10**5, 10**5], [10**9], [3, 6]])
def test_no_network_is_made_that_the_weights_do_not_fill(shape: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    """A shape of 256 GiB; the widest layers."""
    run, _ = begun("vae")
    header = said(run / "weights.safetensors")
    (run / "config.json").unlink()
    say(run / "weights.safetensors", header | {"shape": shape})
    assert "the weights do not fit its own header" in failing(capsys, "sample", "run", "--out", "a.png")
    wide = header["fields"] | {"width": 65536, "latent": 65536, "net": "mlp", "depth": 100}
    say(run / "weights.safetensors", header | {"fields": wide})
    assert "the weights do not fit its own header" in failing(capsys, "sample", "run", "--out", "a.png")


@pytest.mark.parametrize("name", list(IMAGE_MODELS))
def test_what_is_thought_of_networks_is_what_they_are(name: str) -> None:
    """Of every model: on no device its networks have the tensors that they have on one."""
    model: Any = MODELS[name]()
    shape: Any = ((3, 32, 32), (1, 32, 32)) if model.n_domains == 2 else (3, 32, 32)
    check_networks(model, shape, 5, nn.ModuleDict(model.networks(shape, 5)).state_dict(), True, "")
    flat: Any = ((4,), (6,)) if model.n_domains == 2 else (4,)
    if name not in ("dcgan", "cut"):
        check_networks(model, flat, 5, nn.ModuleDict(model.networks(flat, 5)).state_dict(), True, "")


DAMAGED = (
    "{", "[]", "3", "", '{"step": "x", "seconds": 1}', '{"step": 2, "seconds": 1, "adversarial": 3}', "\x00\x00",
    "[" * 9999, '{"step": 2, "seconds": 1, "loss": 1%s}' % ("0" * 400),
)  # fmt: skip


def test_damaged_lines_of_a_log_are_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    run, data = begun("cgan")
    whole = run_records.read_log(run)
    for bad in DAMAGED:
        lines = [json.dumps(line) for line in whole]
        (run / "log.jsonl").write_text("\n".join([lines[0], bad, *lines[1:]]) + "\n" + '{"step": 9, "sec')
        assert run_records.read_log(run) == whole
        for command in (["doctor", "run"], ["runs", "--runs-dir", "."]):
            capsys.readouterr()
            assert main(command) == (command[0] == "doctor")
            assert "note: run/log.jsonl: line 2 is damaged, and left out\n" in capsys.readouterr().err
    (run / "log.jsonl").write_bytes(b"\xff\xfe\n" + (run / "log.jsonl").read_bytes())
    ganvas.resume(run, data, steps=3)
    assert "run/log.jsonl: lines 1, 3 are damaged, and left out" in capsys.readouterr().err
    assert [line["step"] for line in run_records.read_log(run, lambda notes: pytest.fail(str(notes)))] == [1, 2, 3]


def test_one_run_that_cannot_be_read_does_not_hide_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    begun("vae", "runs/good")
    content = Path("runs/good/config.json").read_text()
    for i, bad in enumerate(
        (b"", b"{", b"\xff\xfe", b"[" * 9999, b'{"model": 3, "fields": 1, "train_config": 2, "data": 3}')
    ):
        Path(f"runs/bad{i}").mkdir()
        Path(f"runs/bad{i}/config.json").write_bytes(bad)
    Path("runs/folder/config.json").mkdir(parents=True)
    Path("runs/other").mkdir()
    Path("runs/other/config.json").write_text(content)
    Path("runs/other/log.jsonl").mkdir()
    capsys.readouterr()
    assert main(["runs", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed) == 8
    assert [line["run"] for line in listed if "error" not in line] == ["runs/good"]
    assert all(line["run"] in line["error"] for line in listed if "error" in line)
    assert main(["runs"]) == 0
    assert main(["sample", "last", "--out", "a.png"]) in (0, 2)


def test_priors_that_draw_no_codes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    run, data = begun("vae")
    trained = ganvas.load(run).fit_prior(data, kinds=("gaussian",))
    assert trained.priors is not None
    prior = trained.priors.priors["gaussian"]
    for name in prior._fields:
        wrong = prior._replace(**{name: getattr(prior, name)[..., :1].contiguous()[None]})
        replace(trained, priors=replace(trained.priors, priors={"gaussian": wrong})).save(run / "weights.safetensors")
        assert "its priors do not fit" in failing(capsys, "sample", "run", "--out", "a.png")
    trained.save(run / "weights.safetensors")
    assert main(["sample", "run", "--fitted-prior", "gaussian", "--out", "a.png"]) == 0


@pytest.mark.parametrize("name", [*IMAGE_MODELS, "iaf"])
def test_networks_are_loaded_with_all_that_no_file_holds(name: str) -> None:
    """Of every model, also masks, and how weights lie in memory."""
    model: Any = ganvas.VAE(posterior="iaf", flow_width=8) if name == "iaf" else small(MODELS[name])
    shape: Any = ((3, 32, 32), (1, 32, 32)) if model.n_domains == 2 else (3, 32, 32)
    networks = model.networks(shape, 5)
    nets = nn.ModuleDict({name: net for name, net in networks.items() if name not in model.training_only})
    Trained(model, shape, nets, {"classes": list("abcde")}).save(Path("file.safetensors"))
    loaded = load_trained("file.safetensors").nets
    for own, others in ((nets.named_parameters(), loaded.parameters()), (nets.named_buffers(), loaded.buffers())):
        for (key, a), b in zip(own, others, strict=True):
            assert torch.equal(a, b), key
            assert a.stride() == b.stride(), key


@pytest.mark.parametrize("name", FILES)
def test_files_of_a_newer_format_say_what_to_do(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With a version of Ganvas or without one."""
    run, data = begun("vae")
    own = said(run / name)
    assert own["format"] in (1, 2)
    key = "versions" if name == "config.json" else "ganvas"
    for value in (own[key], {"ganvas": "7.0.1"} if key == "versions" else "7.0.1"):
        say(run / name, own | {"format": 99, key: value})
        with pytest.raises(UserError, match=f"run/{name} has format 99, .*update with pip install -U ganvas") as error:
            ganvas.load(run / name) if name == "weights.safetensors" else ganvas.resume(run, data, steps=3, quiet=True)
        assert ("Ganvas 7.0.1" in str(error.value)) == ("7.0.1" in str(value))


def test_a_checkpoint_may_say_more_of_its_optimisers() -> None:
    run, data = begun("vae")
    header = said(run / "state.ckpt")
    for state in header["optimizers"].values():
        state["groups"] = [{"lr": 0.1, "betas": [0.9, 0.999], "fused": True}]  # as checkpoints once had it
    say(run / "state.ckpt", header)
    ganvas.resume(run, data=data, steps=3, quiet=True)
    assert said(run / "state.ckpt")["step"] == 3
