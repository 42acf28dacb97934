"""Splits, domains and classes, by the names of folders."""

from pathlib import Path

import pytest

from ganvas import CGAN, VAE, CycleGAN
from ganvas.cli.inspect import data as report
from ganvas.data import DataOptions, MissingSplitError, class_counts, load
from ganvas.errors import UserError
from ganvas.evaluation.held_out import load_domain_split
from ganvas.training import run
from tests.support.folders import picture
from tests.support.layouts import tree

TEST = DataOptions(split="test")


def test_every_image_has_the_class_of_its_folder(tmp_path: Path) -> None:
    data = load(tree(tmp_path / "x", zoo=3, ant=2, cat=4, deep__er=1))
    assert data.classes == ("ant", "cat", "deep", "zoo")
    assert data.labels is not None
    found = zip(data.x[:, 0, 0, 0].tolist(), data.labels.tolist(), strict=True)
    folders = ["zoo"] * 3 + ["ant"] * 2 + ["cat"] * 4 + ["deep"]
    assert {level: data.classes[label] for level, label in found} == dict(enumerate(folders, 1))


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("Train", "Test"), ("TRAINING", "testing"), ("training", "val"), ("train", "validation"),
     ("train", "dev"), ("train", "Valid")],
)  # fmt: skip
def test_splits_of_any_name(train: str, test: str, tmp_path: Path) -> None:
    data = tree(tmp_path / "x", **{f"{train}__cat": 2, f"{train}__dog": 1, f"{test}__cat": 1, f"{test}__dog": 3})
    assert class_counts(load(data)) == {"cat": 2, "dog": 1}
    assert class_counts(load(data, TEST)) == {"cat": 1, "dog": 3}
    assert sorted(load(data).x[:, 0, 0, 0].tolist()) == [1, 2, 3]
    said = f"{test}: 4 images, the test part, since there is no other"
    assert (said in load(data).notes) == (test not in ("test", "Test", "testing"))


def test_validation_images_are_neither_trained_on_nor_tested_in_silence(tmp_path: Path) -> None:
    data = tree(tmp_path / "x", training__cat=2, training__dog=1, validation__cat=5, testing__cat=1, extra=2)
    picture(data / "loose.png")
    assert class_counts(load(data)) == {"cat": 2, "dog": 1}
    assert "validation: 5 images, used neither for training nor for tests" in load(data).notes
    assert "3 images beside testing, training, validation left out" in load(data).notes
    assert class_counts(load(data, TEST)) == {"cat": 1, "dog": 0}  # the classes of the training part


def test_a_test_part_has_the_classes_of_the_training_part_in_their_order(tmp_path: Path) -> None:
    data = tree(tmp_path / "x", train__b=1, train__c=1, test__a=1, test__c=2)
    assert class_counts(load(data, TEST)) == {"b": 0, "c": 2, "a": 1}


def test_which_folders_are_splits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train and training: which of them is the train split"):
        load(tree(tmp_path / "two", train=1, training=1, test=1))
    vehicles = load(tree(tmp_path / "vehicles", train=2, car=1, bus=1))
    assert class_counts(vehicles) == {"bus": 1, "car": 1, "train": 2}
    assert "a class is called like a split: train" in vehicles.notes
    assert class_counts(load(tree(tmp_path / "more", train__a=1, train__b=1, extra__a=1))) == {"a": 1, "b": 1}
    only = tree(tmp_path / "only", test__cat=1, test__dog=1)
    with pytest.raises(UserError, match=r"has a test part only, test: ask for split=test, or give .*only/test"):
        load(only)
    assert len(load(only, TEST)) == 2
    alone = tree(tmp_path / "alone", train__cat=1, train__dog=1)
    assert class_counts(load(alone)) == {"cat": 1, "dog": 1}
    with pytest.raises(MissingSplitError):
        load(alone, TEST)


def test_splits_within_the_classes(tmp_path: Path) -> None:
    data = tree(tmp_path / "x", cat__train=2, cat__test=1, dog__train=3, dog__test=4)
    assert class_counts(load(data)) == {"cat": 2, "dog": 3}
    assert class_counts(load(data, TEST)) == {"cat": 1, "dog": 4}


def test_one_level_too_many(tmp_path: Path) -> None:
    data = load(tree(tmp_path / "x", archive__images__cat=2, archive__images__dog=1))
    assert class_counts(data) == {"cat": 2, "dog": 1}
    assert data.notes[0] == "looked into archive/images, the only folder"
    yolo = tree(tmp_path / "y", images__train=2, images__val=1, labels=0)
    (yolo / "labels").mkdir()
    (yolo / "labels" / "a.txt").write_text("0 1 2 3 4")
    assert len(load(yolo)) == 2
    assert len(load(yolo, TEST)) == 1
    inner = tree(tmp_path / "z", train__images__cat=2, train__images__dog=1, test__images__cat=1, test__images__dog=1)
    assert class_counts(load(inner)) == {"cat": 2, "dog": 1}
    assert class_counts(load(inner, TEST)) == {"cat": 1, "dog": 1}


def test_one_class_is_said(tmp_path: Path) -> None:
    data = load(tree(tmp_path / "x", cat=2))
    assert data.classes == ("cat",)
    assert "there is one class only, cat" in data.notes


def test_two_domains_are_no_classes(tmp_path: Path) -> None:
    data = tree(tmp_path / "horse2zebra", trainA=2, trainB=3, testA=1, testB=1, valA=1)
    with pytest.raises(
        UserError, match=r"holds two domains, trainA and trainB: give one of them, .*horse2zebra/trainA"
    ):
        load(data)
    a, b = load(data / "trainA"), load(data / "trainB", TEST)
    assert (len(a), len(b), b.name) == (2, 1, "trainB")
    assert "the test part is testA, beside it" in a.notes
    with pytest.raises(UserError, match="holds two domains"):
        load(tree(tmp_path / "deeper", maps__trainA=1, maps__trainB=1))
    half = tree(tmp_path / "half", trainA=2, testA=1)
    assert len(load(half)) == 2
    assert len(load(half, TEST)) == 1


def test_the_test_part_beside_a_training_part(tmp_path: Path) -> None:
    data = tree(tmp_path / "x", Train__cat=2, Train__dog=1, Test__cat=1)
    assert class_counts(load(data / "Train", TEST)) == {"cat": 1, "dog": 0}


def test_a_translator_takes_both_domains_of_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tree(tmp_path / "outer" / "horse2zebra", trainA=3, trainB=4, testA=1, testB=2)
    model = CycleGAN(width=4, blocks=1)
    for source in (data, str(tmp_path / "outer")):
        trained = run.train(model, source, steps=1, batch_size=1, quiet=True)
        assert trained.metadata["domains"][1]["examples"] == 4
        pair, split = load_domain_split(trained, None, None)
        assert (len(pair.a), len(pair.b), split) == (1, 2, "test")
        assert len(load_domain_split(trained, data, None)[0].a) == 3
    assert trained.folder is not None
    run.resume(trained.folder, steps=2, data=data, quiet=True)
    report(str(data), out=tmp_path / "sheet.png")
    assert "trainA" in capsys.readouterr().out
    with pytest.raises(UserError, match="holds two domains, trainA and trainB"):
        run.train(VAE(), data, quiet=True)


def test_models_of_classes_say_what_was_seen(tmp_path: Path) -> None:
    one, mixed = tree(tmp_path / "one", archive=3), tree(tmp_path / "mixed", cat=2, dog=2)
    picture(mixed / "loose.png")
    for model, who in ((CGAN(), "cgan draws the class"), (VAE(conditional=True), "conditional=true tells")):
        with pytest.raises(UserError, match=f"one has one class only, archive, and {who} .*with a labels.csv"):
            run.train(model, one, steps=1, quiet=True)
        with pytest.raises(UserError, match=f"mixed has no labels, and {who} .*Seen: no labels: 1 image lies beside"):
            run.train(model, mixed, steps=1, quiet=True)


@pytest.mark.parametrize(
    ("train", "test"), [("training_set", "test_set"), ("train2017", "val2017"), ("Train-Images", "testdata")]
)
def test_names_of_splits_with_another_word(train: str, test: str, tmp_path: Path) -> None:
    folder = tree(tmp_path, **{f"{train}__cat": 2, f"{train}__dog": 1, f"{test}__cat": 1, f"{test}__dog": 3})
    assert class_counts(load(folder)) == {"cat": 2, "dog": 1}
    assert class_counts(load(folder, TEST)) == {"cat": 1, "dog": 3}


def test_classes_called_nearly_like_splits_are_said(tmp_path: Path) -> None:
    notes = load(tree(tmp_path, seg_train=2, seg_test=1)).notes
    assert "classes are called like splits: seg_test, seg_train" in notes
    assert not any("split" in note for note in load(tree(tmp_path / "x", latest=2, trainer=1)).notes)
