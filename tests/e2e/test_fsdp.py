"""Networks that are sharded over two processes: their run stops, goes on to the same bits, and is used anywhere."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import ganvas
from ganvas.errors import UserError
from ganvas.io.safetensors import read_header, read_safetensors
from tests.support.cli import said
from tests.support.data import write_folder
from tests.support.rank_commands import Ranks
from tests.support.ranks import GANVAS, run

TRAIN = ["train", "dcgan", "--net", "conv", "--width", "4", "--latent", "3", "--r1", "1", "--batch-size", "2"]
TRAIN += ["--checkpoint-every", "4", "--quiet", "--fsdp"]


def by_both(ranks: Ranks, *words: str) -> None:
    for answer in ranks.run(*words):
        assert answer.code == 0, answer.errors


@pytest.fixture(scope="module")
def sharded(ranks: Ranks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs: straight, of 8 steps by two ranks, and half, which a command's own ranks stopped after 4."""
    root = tmp_path_factory.mktemp("sharded")
    train = [*TRAIN, str(write_folder(root / "images")), "--steps"]
    done = run([*GANVAS, *train, "4", "--folder", str(root / "half"), "--devices", "2"])
    assert done.returncode == 0, done.stderr
    by_both(ranks, *train, "8", "--folder", str(root / "straight"))
    return root


@pytest.fixture
def copy(sharded: Path, tmp_path: Path) -> Path:
    """A copy of the run of 8 steps, to go on with."""
    return shutil.copytree(sharded / "straight", tmp_path / "copy")


def shards(folder: Path) -> Path:
    """The folder of shards that its checkpoint names, and no other is there."""
    (path,) = folder.glob("shards-*")
    assert path.name == read_header(folder / "state.ckpt")["shards"]
    return path


def test_a_sharded_run_goes_on_to_the_same_bits(ranks: Ranks, sharded: Path) -> None:
    half, straight = sharded / "half", sharded / "straight"
    (half / "shards-0000008").mkdir()  # what a rank that was killed while it saved has left
    (half / "shards-0000008" / "shard-00001-model-00001-of-00001.safetensors").write_bytes(b"half of it")
    by_both(ranks, "resume", str(half), "--steps", "8", "--quiet")
    for name in ("weights.safetensors", "last.safetensors", "previews/0000008.png"):
        assert (half / name).read_bytes() == (straight / name).read_bytes(), name
    (header, tensors), (old_header, old_tensors) = (read_safetensors(r / "state.ckpt") for r in (half, straight))
    assert header == old_header | {"shards": "shards-0000008-2"}
    assert tensors.keys() == old_tensors.keys()
    assert all(tensor.equal(old_tensors[name]) for name, tensor in tensors.items())
    files = sorted(shards(straight).iterdir())
    for file in files:
        part, other = load_file(file), load_file(shards(half) / file.name)
        assert part.keys() == other.keys()
        assert all(tensor.equal(other[name]) for name, tensor in part.items())
    sizes = [sum(t.numel() for t in load_file(file).values()) for file in files]
    assert max(sizes) < 0.55 * sum(sizes)


def test_the_weights_of_a_sharded_run_sample_anywhere(sharded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "sample", str(sharded / "straight"), "--n", "4", "--out", "samples.png")
    assert Path("samples.png").exists()


def test_one_process_goes_on_with_a_sharded_run_and_two_after_it(ranks: Ranks, copy: Path) -> None:
    before = load_file(copy / "weights.safetensors")
    ganvas.resume(copy, steps=9, batch_size=4, quiet=True)
    assert not list(copy.glob("shards-*"))
    header, tensors = read_safetensors(copy / "state.ckpt")
    assert header["step"] == 9
    assert {f"ema/{name}" for name in before if not name.startswith(("prior/", "scaling"))} <= tensors.keys()
    (copy / "weights.safetensors").unlink()
    by_both(ranks, "resume", str(copy), "--steps", "10", "--quiet")
    assert (copy / "weights.safetensors").exists()
    assert shards(copy).name == "shards-0000010"
    assert not any(name.startswith("optimizer") and name.endswith("exp_avg") for name in load_file(copy / "state.ckpt"))


def test_a_run_begins_with_the_networks_of_a_sharded_one(sharded: Path) -> None:
    model = ganvas.DCGAN(width=4, latent=3, lr=1e-12)
    old, data = sharded / "straight", str(sharded / "images")
    ganvas.train(model, data, folder="new", init_from=old, steps=1, batch_size=2, ema_decay=0.0, quiet=True)
    weights = load_file("new/state.ckpt")
    for file in shards(old).iterdir():
        with safe_open(file, "pt") as part:
            offsets = json.loads(part.metadata()["DCP_SHARDING_INFO"])
            for name in (name for name in part.keys() if name.startswith("nets/")):  # noqa: SIM118
                start, rows = offsets[name]["saved_offsets"][0], part.get_tensor(name)
                torch.testing.assert_close(weights[name][start : start + len(rows)], rows, atol=1e-6, rtol=0)


def test_shards_that_are_missing_or_damaged_are_told(copy: Path) -> None:
    folder = shards(copy)
    files = sorted(folder.iterdir())
    content = files[0].read_bytes()
    files[0].write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="shards-0000008 is damaged"):
        ganvas.resume(copy, steps=9, batch_size=4, quiet=True)
    files[0].unlink()
    with pytest.raises(UserError, match="lacks parts of .*: put the files of all ranks back"):
        ganvas.resume(copy, steps=9, batch_size=4, quiet=True)
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="shards-0000008 is missing, though the checkpoint beside it needs it"):
        ganvas.resume(copy, steps=9, batch_size=4, quiet=True)
