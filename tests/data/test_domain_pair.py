"""Two unpaired collections: their batches, what is said of them, and networks for domains of different shapes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas.config import TrainConfig
from ganvas.data import DataOptions, Dataset, DomainPair, PairStream, from_array, load, load_all
from ganvas.errors import UserError
from ganvas.inference.trained import Trained
from ganvas.models import CycleGAN, DiscoGAN
from ganvas.training.loop import initialize_state, lr_factor, train
from tests.support.data import image_collection, write_folder
from tests.support.models import every_translator, small

CPU = torch.device("cpu")


def numbered(n: int, first: int = 0) -> Dataset:
    """n vectors that say their own number."""
    return from_array(np.arange(first, first + n, dtype=np.float32)[:, None])


def test_batches_follow_from_seed_and_position_alone() -> None:
    pair = DomainPair(numbered(23), numbered(10, 100))
    straight = PairStream(pair, batch=4, seed=3)
    whole = [next(straight) for _ in range(15)]
    for stop in (1, 2, 5, 9):
        rest = PairStream(pair, batch=4, seed=3, position=stop)
        for expected in whole[stop:]:
            got = next(rest)
            assert torch.equal(got.a.x, expected.a.x)
            assert torch.equal(got.b.x, expected.b.x)
        assert rest.position == straight.position == 15


def test_each_domain_has_epochs_of_its_own() -> None:
    stream = PairStream(DomainPair(numbered(20), numbered(8, 100)), batch=4, seed=0)
    drawn = [next(stream) for _ in range(10)]
    a, b = (torch.cat([getattr(batch, name).x[:, 0] for batch in drawn]).tolist() for name in "ab")
    assert sorted(a[:20]) == sorted(a[20:]) == list(range(20))
    assert a[:20] != a[20:]
    assert [sorted(b[i : i + 8]) for i in range(0, 40, 8)] == [list(range(100, 108))] * 5


@pytest.mark.parametrize("seed", range(3))
def test_aligned_collections_are_not_shown_in_pairs(seed: int) -> None:
    """Two drawings of the same things in one order: with one seed for both, training would be supervised."""
    stream = PairStream(DomainPair(numbered(1000), numbered(1000)), batch=100, seed=seed)
    meetings = sum(int((batch.a.x == batch.b.x).sum()) for batch in (next(stream) for _ in range(10)))
    assert meetings < 10  # of 1000; one is what chance has


def test_labels_do_not_come_along_in_the_same_order() -> None:
    a = image_collection(40)
    batch = next(PairStream(DomainPair(a, a), batch=20, seed=0))
    assert batch.a.y is not None
    assert not torch.equal(batch.a.x, batch.b.x)


def test_a_pair_says_what_it_is() -> None:
    a, b = image_collection(12), from_array(np.zeros((5, 8, 8), np.uint8), name="grey")
    pair = DomainPair(a, b)
    assert (pair.shape, len(pair), pair.name) == (((3, 12, 10), (1, 8, 8)), 12, "images-grey")
    assert pair.fingerprint() != DomainPair(b, a).fingerprint()
    assert pair.fingerprint() == DomainPair(a, b).fingerprint()


def test_images_and_vectors_are_no_pair() -> None:
    with pytest.raises(UserError, match="images holds images, but ring vectors"):
        load_all((image_collection(), "ring"))
    with pytest.raises(UserError, match="from two sources, A and B, not from 3"):
        load_all(("ring", "ring", "ring"))


def test_what_makes_translation_fail_is_said() -> None:
    a, white = image_collection(600), from_array(np.full((40, 16, 16, 3), 255, np.uint8), name="white")
    said = " ".join(DomainPair(a, white).notes)
    for words in (
        "white has only 40 examples", "images has 15 times as many", "10 x 12 and white 16 x 16 pixels",
        "100% of white are nearly empty",
    ):  # fmt: skip
        assert words in said, words
    assert "same data" in " ".join(DomainPair(a, a).notes)
    assert load_all(("ring", "ring")).notes[-1] == "ring and ring are the same data: there is nothing to translate"
    assert DomainPair(a, image_collection(600, seed=1)).notes == ()
    good = load_all(("emoji", "emoji-flat"))
    assert good.notes == ()


def test_notes_say_which_domain_they_are_of(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pets")
    (folder / "dog" / "broken.png").write_bytes(b"no image")
    notes = load_all((str(folder), str(folder)), DataOptions(holdout=0)).notes
    assert notes[0].startswith("A, pets: 1 file skipped")
    assert notes[1].startswith("B, pets: 1 file skipped")


@every_translator
def test_domains_may_differ_in_number_size_channels(cls: type[ganvas.CycleGAN], tmp_path: Path) -> None:
    a, b = image_collection(30, (16, 12, 3)), image_collection(9, (20, 24, 1), 1)
    run = ganvas.train(small(cls), (a, b), steps=3, batch_size=4, checkpoint_every=3, quiet=True)
    assert run.shape == ((3, 16, 12), (1, 20, 24))
    assert run.metadata["domains"][1] == {
        "domain": "B",
        "name": "images",
        "shape": [1, 20, 24],
        "examples": 9,
        "has_images": True,
    }
    nets = dict(run.nets.items())
    made = run.model.translate(torch.zeros(2, 3, 16, 12), "B", **nets)
    assert made.shape == (2, 1, 20, 24)
    if "A" in run.directions:
        assert run.model.translate(made, "A", **nets).shape == (2, 3, 16, 12)
    with Image.open(next((run.folder or tmp_path).glob("previews/*3.png"))) as preview:
        assert preview.mode == "RGB"


@pytest.mark.parametrize("cls", [CycleGAN, ganvas.DiscoGAN])
def test_vectors_are_learnt_in_units_of_their_own_domain(cls: type[ganvas.CycleGAN]) -> None:
    """One in metres, the other in millimetres and far from 0: no error drowns the other."""
    g = np.random.default_rng(0)
    a = from_array(g.normal(size=(300, 2)).astype(np.float32) * [1, 0.1])
    b = from_array(g.normal(size=(200, 3)).astype(np.float32) * 1000 + 5000)
    model, pair = cls(width=16), DomainPair(a, b)
    state = initialize_state(model, pair.shape, 0, CPU)
    for _ in train(model, pair, TrainConfig(steps=20, batch_size=50), state):
        pass
    terms = state.meter.pop_means()
    assert all(value < 30 for value in terms.values()), terms
    run = Trained(model, pair.shape, state.ema_nets, scaling=state.scaling)
    made = run.translate(a).x
    assert 3000 < made.mean() < 7000
    assert run.translate(made, "A").x.abs().max() < 10
    for scaling, part in zip(state.scaling, pair.datasets, strict=True):
        torch.testing.assert_close(scaling.mean, part.x.double().mean(0))


def test_a_translator_needs_two_sources_and_others_one(images: Dataset) -> None:
    with pytest.raises(UserError, match="cyclegan translates between two datasets: give both"):
        ganvas.train(CycleGAN(), images, steps=1)
    with pytest.raises(UserError, match="vae learns from one dataset, not from 2"):
        ganvas.train(ganvas.VAE(), (images, images), steps=1)
    with pytest.raises(UserError, match="identity_weight=1 asks .* other shapes, 3x12x10 and 1x8x8"):
        ganvas.train(CycleGAN(identity_weight=1), (images, np.zeros((9, 8, 8), np.uint8)), steps=1)
    with pytest.raises(UserError, match="net=conv needs images"):
        ganvas.train(DiscoGAN(net="conv"), ("ring", "grid"), steps=1)
    with pytest.raises(UserError, match="batch_size=32 is larger than the data: images has 9"):
        ganvas.train(DiscoGAN(), (images, image_collection(9)), steps=1, batch_size=32)


def test_a_run_on_a_pair_goes_on_with_the_same_pair(images: Dataset, tmp_path: Path) -> None:
    other = image_collection(20, seed=5)
    run = ganvas.train(small(DiscoGAN), (images, other), steps=2, batch_size=4, quiet=True, folder=tmp_path / "run")
    with pytest.raises(UserError, match="was trained on an array"):
        ganvas.resume(tmp_path / "run", steps=4, quiet=True)
    with pytest.raises(UserError, match="has changed"):
        ganvas.resume(tmp_path / "run", steps=4, data=(other, images), quiet=True)
    resumed = ganvas.resume(tmp_path / "run", steps=4, data=(images, other), quiet=True)
    assert resumed.metadata["step"] == 4
    assert run.metadata["domains"] == resumed.metadata["domains"]


def test_epochs_are_those_of_the_larger_domain(images: Dataset) -> None:
    run = ganvas.train(small(DiscoGAN), (images.select(slice(16)), images), epochs=2, batch_size=8, quiet=True)
    assert run.metadata["step"] == 10


def test_options_that_are_usual_for_a_model(images: Dataset, tmp_path: Path) -> None:
    """CycleGAN's own, unless the user says otherwise."""
    ganvas.train(small(CycleGAN), (images, images), steps=2, quiet=True, folder=tmp_path / "a")
    ganvas.train(
        small(CycleGAN), (images, images), steps=2, batch_size=3, lr_decay=0.1, quiet=True, folder=tmp_path / "b"
    )
    plans = [ganvas.training.run_records.read_config(tmp_path / name)["train_config"] for name in "ab"]
    assert [(p["batch_size"], p["lr_decay"]) for p in plans] == [(1, 0.5), (3, 0.1)]
    assert [lr_factor(TrainConfig(steps=200, lr_decay=0.5), step) for step in (0, 99, 100, 150, 199)] == [
        1,
        1,
        1,
        0.5,
        0.01,
    ]
    assert load("ring").datasets[0].name == "ring"
