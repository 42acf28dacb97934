"""Labels in a file beside the images."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganvas import CGAN
from ganvas.data import DataOptions, Dataset, class_counts, load
from ganvas.data.label_tables import parse_table
from ganvas.errors import UserError
from ganvas.training import run
from tests.support.folders import picture

ALL, TEST = DataOptions(holdout=0), DataOptions(split="test")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """12 images, whose level is their number."""
    for i in range(12):
        picture(tmp_path / "photos" / f"{i:06d}.png", i)
    return tmp_path / "photos"


def told(data: Dataset) -> dict[int, str]:
    """The class of each image, by its level."""
    assert data.labels is not None
    levels = data.x[:, 0, 0, 0].tolist()
    return {level: data.classes[i] for level, i in zip(levels, data.labels.tolist(), strict=True)}


def table(label: object = "label", path: str = "{:06d}.png", comma: str = ",") -> str:
    rows = [f"{path.format(i)}{comma}{('cat', 'dog', 'ant')[i % 3]}" for i in range(12)]
    return "\n".join([f"file{comma}{label}", *rows])


ANIMALS = {i: ("cat", "dog", "ant")[i % 3] for i in range(12)}
ROWS = [(f"{i:06d}.png", ANIMALS[i]) for i in range(12)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.csv", table()),
        ("Labels.CSV", "\ufeff" + table("Class")),
        ("labels.csv", "\r\n\r\n".join(table().split("\n")) + "\r\n"),
        ("labels.csv", "\n".join(table().split("\n")[1:])),
        ("train_labels.csv", table(path="{:06d}")),
        ("labels.csv", table(path="./photos/{:06d}.png").replace("./photos/", ".\\")),
        ("metadata.csv", "caption,file_name,label\n" + "\n".join(f'"a, b",{p},{y}' for p, y in ROWS)),
        ("labels.tsv", table(comma="\t")),
        ("annotations.csv", table(comma=";")),
        ("metadata.jsonl", "\n".join(json.dumps({"file_name": p, "label": y}) for p, y in ROWS)),
        ("labels.json", json.dumps(dict(ROWS))),
        ("labels.json", json.dumps([{"image": p, "category": y, "width": 3} for p, y in ROWS])),
        ("dataset.json", json.dumps({"labels": ROWS})),
    ],
)
def test_labels_are_read(name: str, content: str, photos: Path) -> None:
    (photos / name).write_text(content, encoding="utf-8")
    data = load(photos, ALL)
    assert told(data) == ANIMALS
    assert data.classes == ("ant", "cat", "dog")
    assert data.notes == (f"labels are those of {name}",)


@pytest.mark.parametrize("start", [0, 1])
def test_numbers_are_classes_by_size_and_one_hot_codes_are_numbers(start: int, photos: Path) -> None:
    numbers = [[f"{i:06d}.png", i + start] for i in range(12)]
    (photos / "dataset.json").write_text(json.dumps({"labels": numbers}))
    data = load(photos, ALL)
    assert told(data) == {i: str(i + start) for i in range(12)}
    assert data.classes == tuple(str(i + start) for i in range(12))
    hot = [[f"{i:06d}.png", [float(k == i % 3) for k in range(3)]] for i in range(12)]
    (photos / "dataset.json").write_text(json.dumps({"labels": hot}))
    assert told(load(photos, ALL)) == {i: str(i % 3) for i in range(12)}


def test_images_without_label_and_labels_without_image_are_said(photos: Path) -> None:
    lines = table().split("\n")
    (photos / "labels.csv").write_text("\n".join([*lines[:11], "000010.png,", "gone.png,cat", "lost.png,dog"]))
    data = load(photos, ALL)
    assert told(data) == {i: name for i, name in ANIMALS.items() if i < 10}
    assert data.notes == (
        "2 images without label in labels.csv left out: 000010.png, 000011.png",
        "labels are those of labels.csv", "2 labels in labels.csv without image: gone.png, lost.png",
    )  # fmt: skip
    (photos / "labels.csv").write_text("\n".join(lines[:5]))
    few = load(photos, ALL)
    assert few.labels is None
    assert len(few) == 12
    assert few.notes[0].startswith("labels.csv was not used: it has no label of 8 images, e.g. 000004.png")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "it has no two columns"),
        ("a,b,c\n1,2,3", "its columns are a, b, c: call two of them file and label"),
        ("file,label\n", "it holds no labels"),
        ("file,label\nx.png,cat", "none of its 1 row is of an image here, e.g. x.png"),
        ("file,label\n000001.png,a\n000001.png,b", "it gives 000001.png two labels, a and b"),
        ('file,label\n000001.png,"' + "x" * 200_000, "field larger than field limit"),
        ("\0\x89PNG\r\n", "it has no two columns"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(content: str, why: str, photos: Path) -> None:
    (photos / "labels.csv").write_text(content)
    data = load(photos, ALL)
    assert (len(data), data.labels) == (12, None)
    assert data.notes[0].startswith(f"no labels were read from labels.csv: {why}")
    with pytest.raises(UserError, match="photos has no labels, and cgan .*Seen: no labels were read from labels.csv"):
        run.train(CGAN(), photos, steps=1, quiet=True)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000, "maximum recursion depth"),
        ('{"labels": null}', "it holds no labels"),
        ('{"labels": [1, 2]}', "its labels are no pairs"),
        ('{"labels": [["000001.png", [0.5, 1.5]]]}', "[0.5, 1.5] is no single class"),
        ('{"labels": [["000001.png", {"a": 1}]]}', '{"a": 1} is no single class'),
        ("3", "it holds neither a list nor an object"),
    ],
)
def test_json_that_cannot_be_read_is_named(content: str, why: str, photos: Path) -> None:
    (photos / "dataset.json").write_text(content)
    assert load(photos, ALL).notes[0].startswith(f"no labels were read from dataset.json: {why}")


def test_texts_of_each_image_are_no_classes(tmp_path: Path) -> None:
    for i in range(30):
        picture(tmp_path / f"{i}.png", i)
    (tmp_path / "metadata.csv").write_text("file_name,label\n" + "\n".join(f"{i}.png,number {i}" for i in range(30)))
    data = load(tmp_path, ALL)
    assert data.labels is None
    assert "it has 30 different labels for 30 images, which are no classes" in data.notes[0]


def test_folders_are_the_classes_but_for_dataset_json(tmp_path: Path) -> None:
    for i in range(4):
        picture(tmp_path / f"0000{i % 2}" / f"img{i}.png", i)
    (tmp_path / "labels.csv").write_text("file,label\n00000/img0.png,x\n00001/img1.png,y")
    data = load(tmp_path, ALL)
    assert data.classes == ("00000", "00001")
    assert data.notes[0] == "labels.csv was not read: the folders are the classes"
    rows = [[f"0000{i % 2}/img{i}.png", "xy"[i // 2]] for i in range(4)]
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": rows}))
    assert told(load(tmp_path, ALL)) == {0: "x", 1: "x", 2: "y", 3: "y"}


def test_a_table_above_the_images_or_one_a_split(tmp_path: Path) -> None:
    for i in range(4):
        picture(tmp_path / "kaggle" / "images" / f"{i}.png", i)
    (tmp_path / "kaggle" / "train.csv").write_text("id,species\n" + "\n".join(f"{i},{'ab'[i % 2]}" for i in range(4)))
    assert told(load(tmp_path / "kaggle", ALL)) == {0: "a", 1: "b", 2: "a", 3: "b"}
    for split, names in (("train", "bca"), ("test", "cd")):
        for i, name in enumerate(names):
            picture(tmp_path / "hub" / split / f"{name}.png", i)
        rows = [json.dumps({"file_name": f"{name}.png", "label": name}) for name in names]
        (tmp_path / "hub" / split / "metadata.jsonl").write_text("\n".join(rows))
    assert load(tmp_path / "hub").classes == ("a", "b", "c")
    test = load(tmp_path / "hub", TEST)
    assert test.classes == ("a", "b", "c", "d")
    assert told(test) == {0: "c", 1: "d"}


def test_what_is_held_out_has_the_same_classes(photos: Path) -> None:
    (photos / "labels.csv").write_text(table())
    parts = [load(photos, DataOptions(holdout=0.4, split=split)) for split in ("train", "test")]
    assert parts[0].classes == parts[1].classes
    assert told(parts[0]) | told(parts[1]) == ANIMALS
    assert sum(sum(class_counts(part).values()) for part in parts) == 12
    trained = run.train(CGAN(width=4, latent=2), photos, steps=1, batch_size=4, quiet=True)
    assert trained.metadata["classes"] == ["ant", "cat", "dog"]


def test_other_tables_are_named_with_what_to_do(photos: Path) -> None:
    (photos / "list.csv").write_text(table())
    assert load(photos, ALL).notes[0].startswith("list.csv: not read, for labels are read from labels.csv with the col")


def test_full_paths_are_those_of_any_machine(tmp_path: Path) -> None:
    rows = ["file,label"]
    for i in range(4):
        picture(tmp_path / "pets" / "images" / f"{i}.png", i)
        rows.append(f"/home/me/pets/images/{i}.png,{'cat' if i else 'dog'}")
    (tmp_path / "pets" / "labels.csv").write_text("\n".join(rows))
    assert class_counts(load(tmp_path / "pets")) == {"cat": 3, "dog": 1}
    (tmp_path / "pets" / "labels.csv").write_text("\n".join(rows).replace("pets/images", "pets/others"))
    assert class_counts(load(tmp_path / "pets")) == {"images": 4}


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), st.sampled_from(",;\t"))
def test_any_table_comes_back(rows: list[tuple[str, str]], separator: str) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=separator).writerows([("file", "label"), *rows])
    assert parse_table(file.getvalue()) == rows
