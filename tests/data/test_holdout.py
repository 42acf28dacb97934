"""A test part for sources that have none."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import ganvas
from ganvas import VAE, CycleGAN
from ganvas.data import DataOptions, MissingSplitError, class_counts, from_array, load
from ganvas.data.dataset import split_indices
from ganvas.errors import UserError
from ganvas.evaluation import load_evaluation_data
from ganvas.evaluation.held_out import load_aligned_pairs, load_domain_split
from ganvas.training import run
from tests.support.folders import picture

TEST = DataOptions(split="test")
TINY = VAE(latent=2, net="mlp", width=4, depth=1)


def levels(data: ganvas.data.Dataset) -> set[int]:
    return set(data.x[:, 0, 0, 0].tolist())


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """120 images, each of a colour of its own, in two classes."""
    for i in range(120):
        picture(tmp_path / "many" / "ab"[i % 2] / f"{i:03d}.png", i)
    return tmp_path / "many"


def test_a_tenth_of_a_folder_is_held_out(many: Path) -> None:
    train, test = load(many), load(many, TEST)
    n = len(test)
    assert 4 <= n <= 22
    assert train.notes == (
        f"{n} of 120 examples are held out for tests, chosen by their content: --holdout 0 learns from all",
    )
    assert levels(train) | levels(test) == set(range(120))
    assert not levels(train) & levels(test)
    assert train.classes == test.classes == ("a", "b")
    assert sum(class_counts(train).values()) == 120 - n
    assert levels(load(many, DataOptions(holdout=0))) == set(range(120))
    assert load(many, DataOptions(holdout="0.0")).notes == ()
    assert levels(load(many, DataOptions(holdout=0.5, split="test"))) > levels(test)
    with pytest.raises(MissingSplitError, match='has no split "test", and none is held out with holdout=0 of 120'):
        load(many, DataOptions(holdout=0, split="test"))
    for wrong in (1, -0.1, "half"):
        with pytest.raises(ValueError, match="holdout"):
            DataOptions(holdout=wrong)


def test_doubles_stay_together_and_more_examples_move_none(many: Path, tmp_path: Path) -> None:
    held = levels(load(many, TEST))
    for file in sorted(many.rglob("*.png")):  # under other names, in another order
        double = many / "c" / f"{999 - int(file.stem)}.png"
        double.parent.mkdir(exist_ok=True)
        shutil.copy(file, double)
    for i in range(120, 200):
        picture(many / "d" / f"{i}.png", i)
    train, test = load(many), load(many, TEST)
    assert not levels(train) & levels(test)
    assert {i for i in levels(test) if i < 120} == held
    small = load(many, DataOptions(split="test", size="3x4", channels=1))
    assert len(small) == len(test)
    assert load(tmp_path / "many", DataOptions(split="test", classes=("a",))).classes == ("a",)


def test_of_few_none_are_held_out_unless_that_is_asked_for(folder: Path) -> None:
    assert load(folder).notes == (
        "fewer than 100 examples: none is held out for tests, unless --holdout 0.1 asks for it",
    )
    with pytest.raises(
        MissingSplitError, match='has no split "test", and none is held out with fewer than 100 examples'
    ):
        load(folder, TEST)
    half = DataOptions(holdout=0.5)
    assert len(load(folder, half)) + len(load(folder, DataOptions(holdout=0.5, split="test"))) == 12
    with pytest.raises(MissingSplitError, match="with holdout=1e-09 of 12 examples"):
        load(folder, DataOptions(holdout=1e-9, split="test"))
    with pytest.raises(UserError, match=r"holdout=1 of the 12 examples of .* leaves none to learn from"):
        load(folder, DataOptions(holdout=1 - 1e-12))


def test_examples_that_are_all_alike_are_not_parted(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((200, 3, 3), 7, np.uint8))
    assert len(load(tmp_path / "x.npy")) == 200
    with pytest.raises(MissingSplitError):
        load(tmp_path / "x.npy", TEST)


@pytest.mark.parametrize("kind", ["npy", "npz", "npz:x", "idx"])
def test_files_without_a_test_part_get_one(kind: str, tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).integers(0, 256, (150, 3, 3)).astype(np.uint8), np.arange(150) % 3
    path = tmp_path / f"a.{kind}"
    if kind == "npy":
        np.save(path, x)
    elif kind == "idx":
        path.write_bytes(b"\x00\x00\x08\x03" + np.array(x.shape, ">u4").tobytes() + x.tobytes())
    else:
        np.savez(tmp_path / "a.npz", x=x, y=y)
    train, test = load(path), load(path, TEST)
    assert 5 < len(test) < 30
    assert len(train) + len(test) == 150
    assert "held out" in train.notes[-1]
    assert {t.numpy().tobytes() for t in train.x}.isdisjoint(t.numpy().tobytes() for t in test.x)
    if kind.startswith("npz"):
        assert test.labels is not None
        for row, label in zip(test.x, test.labels, strict=True):
            assert y[(x == row.numpy()).all((1, 2)).argmax()] == label


def test_sources_with_a_test_part_keep_it(tmp_path: Path) -> None:
    x = np.arange(2000, dtype=np.uint8).reshape(500, 2, 2)
    np.savez(tmp_path / "a.npz", x_train=x, x_test=x[:7])
    for source, n, m in ((tmp_path / "a.npz", 500, 7), ("emoji", 1358, 199)):
        assert (len(load(source)), len(load(source, TEST))) == (n, m)
        assert not any("holdout" in note for note in load(source, DataOptions(holdout=0)).notes)
        asked = load(source, DataOptions(holdout=0.5))
        assert len(asked) == n
        assert "has a test part of its own: --holdout 0.5 is not used" in asked.notes[-1]


def test_what_python_gives_is_whole_unless_asked() -> None:
    x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    assert len(load(x)) == len(load(from_array(x), DataOptions(holdout="auto"))) == len(load(torch.tensor(x))) == 300
    with pytest.raises(
        MissingSplitError, match="an array has no split 'test': pass the examples that you mean, or holdout="
    ):
        load(x, TEST)
    parts = [load(x, DataOptions(split=split, holdout=0.25)) for split in ("train", "test")]
    assert sum(map(len, parts)) == 300
    assert 50 < len(parts[1]) < 100


def test_a_run_is_measured_on_what_was_held_out(many: Path) -> None:
    trained = run.train(TINY, many, steps=1, batch_size=8, quiet=True)
    on = load_evaluation_data(trained, None, None, True)
    assert on.split == "test"
    assert on.train is not None
    assert levels(on.held_out) == levels(load(many, TEST))
    assert levels(on.train) == levels(load(many))
    assert len(trained.encode(many)) == 120  # a source that is given is taken whole
    assert len(load_evaluation_data(trained, many, None, False).held_out) == 120
    assert len(trained.encode(many, TEST)) == len(on.held_out)
    assert trained.folder is not None
    run.resume(trained.folder, steps=2, quiet=True)
    held = run.train(TINY, load(many), steps=1, batch_size=8, holdout=0.5, quiet=True)
    assert held.folder is not None
    run.resume(held.folder, steps=2, data=load(many), quiet=True)


def test_a_run_of_before_has_learnt_from_all(many: Path) -> None:
    trained = run.train(TINY, many, steps=1, batch_size=8, holdout=0, quiet=True)
    assert trained.folder is not None
    file = trained.folder / "config.json"
    config = json.loads(file.read_text())
    del config["data"]["options"]["holdout"]
    file.write_text(json.dumps(config))
    run.resume(trained.folder, steps=2, quiet=True)
    assert load_evaluation_data(trained, None, None, False).split == "train"
    assert len(load_evaluation_data(trained, None, None, False).held_out) == 120


def test_each_domain_holds_out_its_own(many: Path, folder: Path, tmp_path: Path) -> None:
    for i in range(110):
        picture(tmp_path / "other" / f"{i}.png", 130 + i)
    model = CycleGAN(width=4, blocks=1)
    trained = run.train(model, (many, tmp_path / "other"), steps=1, batch_size=1, quiet=True)
    pair, split = load_domain_split(trained, None, None)
    assert split == "test"
    assert levels(pair.a) == levels(load(many, TEST))
    assert levels(pair.b) == levels(load(tmp_path / "other", TEST))
    assert [d["examples"] for d in trained.metadata["domains"]] == [120 - len(pair.a), 110 - len(pair.b)]
    assert len(load_domain_split(trained, (many, tmp_path / "other"), None)[0].a) == 120
    assert len(load_aligned_pairs(trained, (many, many), None).a) == 120  # pairs are not torn apart
    np.save(tmp_path / "x.npy", np.zeros((150, 5, 6, 3), np.uint8))
    assert len(trained.translate(tmp_path / "x.npy")) == 150


def test_a_folder_of_idx_files(tmp_path: Path) -> None:
    def idx(name: str, n: int) -> Path:
        x = np.random.default_rng(n).integers(0, 256, (n, 2, 2)).astype(np.uint8)
        (tmp_path / name).write_bytes(b"\x00\x00\x08\x03" + np.array(x.shape, ">u4").tobytes() + x.tobytes())
        return tmp_path / name

    idx("t10k-images-idx3-ubyte", 7)
    assert len(load(tmp_path, TEST)) == 7
    file = idx("train-images-idx3-ubyte", 150)
    for source in (tmp_path, file):
        assert (len(load(source)), len(load(source, TEST))) == (150, 7)
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    for source in (tmp_path, file):
        assert len(load(source)) + len(load(source, TEST)) == 150
        assert len(load(source)) < 150


def test_numbers_below_the_share_of_64_bits_are_held_out() -> None:
    for share in (0.1, 0.3, 1e-30, 0.999):
        limit = share * 2**64  # which Python compares with an integer exactly
        hashes = [0, 1, int(limit) - 1, int(limit), int(limit) + 1, 2**64 - 1] * 2
        hashes = [value for value in hashes if 0 <= value < 2**64]
        expected = [i for i, value in enumerate(hashes) if value < limit]
        options = DataOptions(holdout=share, split="test")
        for values in (hashes, np.array(hashes, np.uint64)):
            index, notes = split_indices(len(hashes), values, options, "x")
            assert index.tolist() == expected
            assert notes == [
                f"{len(expected)} of {len(hashes)} examples are held out for tests, chosen by their content"
            ]


def test_nothing_is_hashed_where_none_is_held_out() -> None:
    index, _ = split_indices(3, (1 // 0 for _ in range(3)), DataOptions(holdout=0), "x")
    assert index.tolist() == [0, 1, 2]
