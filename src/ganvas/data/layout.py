"""Which of the images are meant: splits, domains and classes, by the names of folders."""

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from .listing import TAR, File, is_archive, is_ignored, join_names, pluralize

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "t10k"),
}
"""what folders and arrays of splits are called, in any case"""
NAME_SUFFIX = re.compile(r"[-_ ]?(set|data|images?|imgs?|split|[12]\d{3})", re.IGNORECASE)
"""what may stand behind a split's name: training_set, train2017, test_images"""
DOMAIN_PATTERN = re.compile(r"(?P<role>[a-z]+)[-_ ]?(?P<domain>[ab])", re.IGNORECASE)


class Place(NamedTuple):
    """An image, and the folders and the name that tell its class."""

    parts: tuple[str, ...]
    file: File


@dataclass(frozen=True)
class Layout:
    """The images of one split."""

    places: list[Place]
    base: tuple[str, ...] = ()  # folders below the source in which all of them lie
    training: tuple[Place, ...] = ()  # of a test part the training images, whose classes it has
    has_test_split: bool = False  # whether the source has a test part of its own
    notes: list[str] = field(default_factory=list)


def parse_split_name(name: str) -> tuple[str, str] | None:
    """The split that a folder's name is of, and its domain or "": train and "" of Training, test and A of testA."""
    extra = NAME_SUFFIX.search(name)
    plain = name[: extra.start()] if extra and extra.end() == len(name) else name
    for role, names in SPLIT_NAMES.items():
        if plain.lower() in names:
            return role, ""
    match = DOMAIN_PATTERN.fullmatch(name)
    if match and (inner_role := parse_split_name(match["role"])) and not inner_role[1]:
        return inner_role[0], match["domain"].upper()
    return None


def dataset_name(path: Path) -> str:
    """What data are called: as their folder or file; where that is called like a split, as the folder around it."""
    path = path.resolve()
    name = path.name if path.is_dir() else path.stem.removesuffix(TAR)
    role = parse_split_name(name)
    return path.parent.name or name if role and not role[1] else name


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; none where it cannot be read."""
    with suppress(OSError, ValueError):  # a NUL in its name
        return sorted(path for path in folder.iterdir() if not is_ignored(path.name) and path.is_dir())
    return []


def find_domains(folder: Path, depth: int = 3) -> tuple[Path, Path] | None:
    """The folders trainA and trainB, CycleGAN's own layout, if that is what a folder holds, or its only sub-folder."""
    folders = subfolders(folder)
    by_role = {role: path for path in folders if (role := parse_split_name(path.name))}
    if ("train", "A") in by_role and ("train", "B") in by_role:
        return by_role["train", "A"], by_role["train", "B"]
    return find_domains(folders[0], depth - 1) if len(folders) == 1 and depth else None


def find_test_sibling(folder: Path) -> Path | None:
    """The test part beside a folder that is called like a training part: testA beside trainA, test beside train."""
    folder = folder.resolve()
    role, domain = parse_split_name(folder.name) or ("", "")
    siblings = {parse_split_name(path.name): path for path in subfolders(folder.parent)} if role == "train" else {}
    return siblings.get(("test", domain)) or siblings.get(("validation", domain))


def find_layout(files: Sequence[File], split: str, name: str) -> Layout:
    """The images of a split of a source; UserError for CycleGAN's two domains, and where there is a test part only."""
    all_images = strip_common_folders([Place(file.parts, file) for file in files])
    tops = count_folders(all_images.places)
    roles = {top: role for top in tops if (role := parse_split_name(top))}
    trains = {domain: top for top, (role, domain) in roles.items() if role == "train"}
    if "A" in trains and "B" in trains:
        a, b, place = trains["A"], trains["B"], "/".join((name, *all_images.base))
        both = f"train a translator on both, as ganvas train cyclegan {name}"
        how = f"give one of them, {place}/{a} or {place}/{b}, or {both}"
        how = "unpack it first, then give one of them, or both" if is_archive(Path(name)) else how
        raise UserError(f"{name} holds two domains, {a} and {b}: {how}")
    splits = {top: role for top, (role, domain) in roles.items() if not domain or domain in trains}
    with_classes = any(place.parts[0] in trains.values() and len(place.parts) > 2 for place in all_images.places)
    if splits and (splits.keys() == tops.keys() or (trains and (len(set(splits.values())) > 1 or with_classes))):
        return select_split(all_images, splits, split, name)
    split_first = [Place((p.parts[1], p.parts[0], *p.parts[2:]), p.file) for p in all_images.places if len(p.parts) > 2]
    if len(split_first) == len(all_images.places):  # the classes' folders hold the splits
        tops = count_folders(split_first)
        splits = {top: role[0] for top in tops if (role := parse_split_name(top)) and not role[1]}
        if splits.keys() == tops.keys() and len(set(splits.values())) > 1 and "train" in splits.values():
            return select_split(replace(all_images, places=split_first), splits, split, name)
    return all_images


def select_split(all_images: Layout, splits: dict[str, str], split: str, name: str) -> Layout:
    """The images of a split, where `splits` says of which each folder is."""
    folders = {role: [top for top in sorted(splits) if splits[top] == role] for role in SPLIT_NAMES}
    parts: dict[str, list[Place]] = {role: [] for role in SPLIT_NAMES}
    for place in all_images.places:
        if len(place.parts) > 1 and (role := splits.get(place.parts[0])):
            parts[role].append(Place(place.parts[1:], place.file))
    notes = list(all_images.notes)
    if rest := len(all_images.places) - sum(map(len, parts.values())):
        notes.append(f"{pluralize(rest, 'image')} beside {join_names(sorted(splits))} left out")
    if folders["validation"]:
        use = "used neither for training nor for tests" if folders["test"] else "the test part, since there is no other"
        images = pluralize(len(parts["validation"]), "image")
        notes.append(f"{join_names(folders['validation'])}: {images}, {use}")
        if not folders["test"]:
            folders["test"], parts["test"] = folders["validation"], parts["validation"]
    for role in ("train", "test"):
        if len(folders[role]) > 1:
            several = " and ".join(folders[role])
            raise UserError(f"{name} holds {several}: which of them is the {role} split?  Rename one")
    if split == "train" and not folders["train"]:
        only = folders["test"][0]
        raise UserError(f"{name} has a test part only, {only}: ask for split=test, or give {name}/{only}")
    split_name = split if folders[split] else "train"
    inner = strip_common_folders(parts[split_name], (*all_images.base, *folders[split_name]))
    training = tuple(strip_common_folders(parts["train"]).places) if split_name == "test" else ()
    return replace(inner, training=training, has_test_split=bool(folders["test"]), notes=notes + inner.notes)


def strip_common_folders(places: list[Place], base: tuple[str, ...] = ()) -> Layout:
    """The images, without the folders in which all of them lie; not without a last one, which may be a class."""
    into: tuple[str, ...] = ()
    while len(tops := count_folders(places)) == 1 and all(len(place.parts) > 1 for place in places):
        (top,) = tops
        if parse_split_name(top) or not any(len(place.parts) > 2 for place in places):
            break
        places, into = [Place(place.parts[1:], place.file) for place in places], (*into, top)
    notes = [f"looked into {'/'.join((*base, *into))}, the only folder"] if into else []
    return Layout(places, (*base, *into), notes=notes)


def count_folders(places: Sequence[Place]) -> Counter[str]:
    return Counter(place.parts[0] for place in places if len(place.parts) > 1)


def folder_labels(
    places: Sequence[Place], training: Sequence[Place], notes: list[str]
) -> tuple[list[int] | None, tuple[str, ...]]:
    """Labels from the first folders, if every image lies in one; classes of the training part are first."""
    files = {place.file: place.parts for place in (*training, *places)}
    n_loose = sum(len(parts) == 1 for parts in files.values())
    if n_loose and n_loose < len(files):
        lie = "lies" if n_loose == 1 else "lie"
        notes.append(f"no labels: {pluralize(n_loose, 'image')} {lie} beside the class folders")
    if n_loose:
        return None, ()
    folders, training_folders = count_folders(places), count_folders(training)
    classes = (*sorted(training_folders), *sorted(folders.keys() - training_folders.keys()))
    if like_splits := [name for name in classes if any(map(parse_split_name, (name, *re.split(r"[-_. ]", name))))]:
        are = "a class is called like a split" if len(like_splits) == 1 else "classes are called like splits"
        notes.append(f"{are}: {join_names(like_splits)}")
    index = {name: i for i, name in enumerate(classes)}
    return [index[place.parts[0]] for place in places], classes
