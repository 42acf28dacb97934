"""Labels in a file beside the images: labels.csv, metadata.csv or .jsonl, or dataset.json, StyleGAN's layout.

A table has a row an image, with its name in one column and its class in another; dataset.json is {"labels": [["path",
class], ...]} (github.com/NVlabs/stylegan3, dataset_tool.py), and may be {"path": class, ...} or a list of rows.
"""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from .layout import Layout, Place, count_folders
from .listing import (
    ARCHIVES,
    HEIC_REMEDY,
    HEIC_SUFFIXES,
    IMAGE_SUFFIXES,
    READ_ERRORS,
    File,
    Listing,
    is_image,
    join_names,
    pluralize,
)

TABLE_PATTERN = re.compile(r"(.*labels?|metadata|annotations?|dataset|train|index)\.(csv|tsv|json|jsonl)$", re.I)
"""how files are called in which labels are looked for"""
OTHER_KINDS = {
    (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg"):
        "it is a video: make images of its frames, e.g. ffmpeg -i {name} frames/%06d.png, and give their folder",
    (".pkl", ".pickle", ".joblib", ".pt", ".pth"):
        "it is a pickle, which Ganvas never loads: save its arrays by numpy.savez",
    (".xlsx", ".xls", ".ods"): "it is a spreadsheet: save its sheet as .csv",
    (".pdf", ".svg"): "it has no pixels: make images of its pages, and give their folder",
}  # fmt: skip
"""what to do with files that others might take for data, by their suffixes"""
STYLEGAN_TABLE = "dataset.json"
OTHER_TABLES = {".csv", ".tsv", ".json", ".jsonl", ".parquet"}  # suffixes of other files that may hold labels
PATH_COLUMNS = (
    "file_name", "filename", "file", "path", "filepath", "image_path", "image", "img", "image_id", "name", "id",
)  # fmt: skip
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target", "y", "species", "breed")
TABLE_SEPARATORS = {".csv": ",", ".tsv": "\t"}
MAX_TABLE_BYTES = 2**26
MAX_CLASS_SHARE, MIN_LABELS = 0.5, 20
"""classes to images from which on labels are texts or numbers of each image's own; images too few to see that"""


@dataclass(frozen=True)
class Labels:
    """What a table says of the images below a source."""

    file: File
    by_file: dict[File, str]  # the class of each image that has one
    classes: tuple[str, ...]  # numbers by size, names by the alphabet
    notes: list[str]

    def encode(self, places: Sequence[Place]) -> tuple[list[int], tuple[str, ...]]:
        """The labels of images, and the classes that they index."""
        index = {name: i for i, name in enumerate(self.classes)}
        return [index[self.by_file[place.file]] for place in places], self.classes


def attach_labels(listing: Listing, part: Layout) -> tuple[Layout, Labels | None]:
    """The images of a split that have a label, unless most have none, and the labels in a file beside them, if any."""
    notes = list(part.notes)
    all_places = part.places if part.has_test_split else part.training or part.places  # the same for what is held out
    labels = find_labels(listing, all_places, notes)
    unlabelled = [place.file for place in part.places if labels and place.file not in labels.by_file]
    names, images = join_names(map(str, unlabelled)), pluralize(len(unlabelled), "image")
    if labels is None or 2 * len(unlabelled) > len(part.places):
        notes += [f"{labels.file} was not used: it has no label of {images}, e.g. {names}"] if labels else []
        return replace(part, notes=notes), None
    if unlabelled:
        notes.append(f"{images} without label in {labels.file} left out: {names}")
    training = find_labels(listing, part.training, []) if part.has_test_split and part.training else None
    classes = tuple(dict.fromkeys((*(training or labels).classes, *labels.classes)))
    places = [place for place in part.places if place.file in labels.by_file]
    return replace(part, places=places, notes=notes + labels.notes), replace(labels, classes=classes)


def find_labels(listing: Listing, places: Sequence[Place], notes: list[str]) -> Labels | None:
    """The labels in the table that is nearest to these images, if one is."""
    # two classes or more of folders are the classes, whatever a table says but dataset.json
    by_folder = len(count_folders(places)) > 1 and all(len(place.parts) > 1 for place in places)
    folders = [place.file.parts[:-1] for place in places]
    first, last = min(folders, default=()), max(folders, default=())  # what both are in, all are in
    nearby = [file for file in listing.others if first[: (n := len(file.parts) - 1)] == last[:n] == file.parts[:-1]]
    tables = [file for file in nearby if TABLE_PATTERN.fullmatch(file.name)]
    tables.sort(key=lambda file: (-len(file.parts), file.name.lower() == STYLEGAN_TABLE))
    for file in tables:
        if by_folder and file.name.lower() != STYLEGAN_TABLE:
            notes.append(f"{file} was not read: the folders are the classes")
            continue
        try:
            labels = match_labels(file, read_rows(file), listing)
        except READ_ERRORS as error:
            notes.append(f"no labels were read from {file}: {error}")
            continue
        if rest := [str(other) for other in tables if other is not file]:
            labels.notes.append(f"{join_names(rest)}: not read, since labels are those of {file}")
        return labels
    others = [str(file) for file in nearby if file.suffix in OTHER_TABLES]
    if others and not tables and not by_folder:
        tables_read = "labels.csv with the columns file and label, from metadata.csv, metadata.jsonl or dataset.json"
        notes.append(f"{join_names(others)}: not read, for labels are read from {tables_read}")
    return None


def match_labels(file: File, rows: Sequence[tuple[str, str]], listing: Listing) -> Labels:
    """Images with the label that a table has for their path, below its own folder or below any, or for their name."""
    exact, by_name = {image.parts: image for image in listing.images}, defaultdict[str, list[File]](list)
    for image in listing.images:
        for name in {image.name, PurePosixPath(image.name).stem}:
            by_name[name].append(image)
    by_file, missing = dict[File, str](), list[str]()
    root = listing.root.resolve().name  # of paths that begin above it, as /home/me/photos/1.png does
    for path, label in rows:
        parts = tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))
        images, folders = by_name[parts[-1]], parts[:-1]
        matches = [image for image in images if image.parts[:-1][-len(folders) or len(image.parts) :] == folders]
        matches = matches or [image for image in images if parts[-len(image.parts) - 1 :] == (root, *image.parts)]
        matches = [exact[full_path]] if (full_path := (*file.parts[:-1], *parts)) in exact else matches
        if len(matches) != 1:
            missing.append(path)
        elif by_file.setdefault(image := matches[0], label) != label:
            raise ValueError(f"it gives {image} two labels, {by_file[image]} and {label}")
    if not by_file:
        raise ValueError(f"none of its {pluralize(len(rows), 'row')} is of an image here, e.g. {rows[0][0]}")
    classes = set(by_file.values())
    if len(classes) > MAX_CLASS_SHARE * len(by_file) and len(by_file) > MIN_LABELS:
        raise ValueError(f"it has {len(classes)} different labels for {len(by_file)} images, which are no classes")
    notes = [f"labels are those of {file}"]
    if missing:
        notes.append(f"{pluralize(len(missing), 'label')} in {file} without image: {join_names(missing)}")
    return Labels(file, by_file, tuple(sort_classes(classes)), notes)


def sort_classes(texts: set[str]) -> list[str]:
    """Numbers by their size, and words by the alphabet."""
    are_numbers = all(text.removeprefix("-").isdecimal() for text in texts)
    return sorted(texts, key=int) if are_numbers else sorted(texts)


def read_rows(file: File) -> list[tuple[str, str]]:
    """The path and the class of each image that a table names with a class; ValueError where it is none."""
    content = file.read(MAX_TABLE_BYTES + 1)
    if len(content) > MAX_TABLE_BYTES:
        raise ValueError(f"it has more than {MAX_TABLE_BYTES:,} bytes")
    text = content.decode("utf-8-sig", "surrogateescape")  # as Python has names of files that are not UTF-8
    try:
        pairs = parse_table(text) if file.suffix in TABLE_SEPARATORS else parse_json(text, file.suffix == ".jsonl")
        labels = [(str(path).strip(), parse_class(label)) for path, label in pairs]
    except (csv.Error, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from error
    rows = [(path, label) for path, label in labels if label is not None and path.strip("/\\.")]
    if not rows:
        raise ValueError("it holds no labels")
    return rows


def parse_table(text: str) -> list[tuple[Any, Any]]:
    """Paths and labels from a table with commas, semicolons or tabs, and a line with the columns' names or without."""
    lines = [line for line in text.splitlines() if line.strip()]
    head = lines[0] if lines else ""
    separator = max(",;\t", key=head.count)
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=separator)]
    if not rows or len(rows[0]) < 2:
        raise ValueError("it has no two columns")
    if len(rows[0]) == 2 and PurePosixPath(rows[0][0]).suffix.lower() in IMAGE_SUFFIXES:  # no names of columns
        return [(row[0], row[1]) for row in rows if len(row) > 1]
    path, label = find_columns([cell.lower() for cell in rows[0]])
    return [(row[path], row[label]) for row in rows[1:] if len(row) > max(path, label)]


def find_columns(names: Sequence[str]) -> tuple[int, int]:
    """Which columns hold paths and labels; ValueError where their names do not say."""
    path = next((names.index(name) for name in PATH_COLUMNS if name in names), None)
    label = next((names.index(name) for name in LABEL_COLUMNS if name in names), None)
    if len(names) == 2 and (path is None) != (label is None):
        path, label = (1 - label, label) if label is not None else (path, 1 - (path or 0))
    if path is None or label is None:
        raise ValueError(f"its columns are {join_names(names)}: call two of them file and label")
    return path, label


def parse_json(text: str, lines: bool) -> list[tuple[Any, Any]]:
    """Paths and labels from JSON: StyleGAN's list of pairs, an object, or rows that are objects."""
    content = [json.loads(line) for line in text.splitlines() if line.strip()] if lines else json.loads(text)
    if isinstance(content, dict) and "labels" in content:
        content = content["labels"] or []
    if isinstance(content, dict):
        return list(content.items())
    if not isinstance(content, list):
        raise ValueError("it holds neither a list nor an object")
    if content and all(isinstance(row, dict) for row in content):
        names = list(content[0])
        path, label = find_columns([name.lower() for name in names])
        return [(row.get(names[path], ""), row.get(names[label])) for row in content]
    if not all(isinstance(row, list) and len(row) == 2 for row in content):
        raise ValueError("its labels are no pairs of a path and a class")
    return [(row[0], row[1]) for row in content]


def parse_class(label: Any) -> str | None:
    """The name of a class; None where there is no label, ValueError where it is no single class."""
    if isinstance(label, list) and label and all(part in (0, 1) for part in label) and sum(label) == 1:
        return str(label.index(1)) if len(label) > 1 else str(label[0])  # one-hot
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace")
    if label is None or label == "":
        return None
    if not isinstance(label, str | int):
        raise ValueError(f"{json.dumps(label, default=str)[:80]} is no single class")
    return str(label)


def lies_beside_images(path: Path) -> bool:
    """Whether a file is called as labels are, and there are images in its folder."""
    siblings = path.parent.iterdir() if TABLE_PATTERN.fullmatch(path.name) else ()
    return any(is_image(File((p.name,), str(p))) for p in siblings if p.is_file())


def suggest_source(path: Path) -> str:
    """What to give in place of a file that is no data source."""
    suffix = path.suffix.lower()
    if suffix in ARCHIVES:
        return "unpack it first, and give the folder, or make a zip of it"
    if suffix in HEIC_SUFFIXES:
        return HEIC_REMEDY
    if advice := next((advice for suffixes, advice in OTHER_KINDS.items() if suffix in suffixes), ""):
        return advice.format(name=path.name)
    if lies_beside_images(path):
        return f"it lies beside images, whose labels it may hold: give the folder, {path.parent}"
    if suffix in (".json", ".jsonl"):
        return f"if it holds labels of images, give the folder that has both, e.g. {path.parent}"
    files = "a .npy, .npz, IDX, HDF5, Zarr, NIfTI or DICOM file, .tar shards, .csv, Parquet, hf:USER/NAME"
    return f"give a folder or a zip of images, an image, {files}, or a name"
