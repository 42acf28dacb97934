"""Which of the images are meant: splits, domains and classes, by the names of folders."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from .listing import ZIP, File, counted, ignored, some

ROLES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""what folders of splits are called, in any case"""
EXTRA = re.compile(r"[-_ ]?(set|data|images?|imgs?|split|[12]\d{3})", re.IGNORECASE)
"""what may stand behind a split's name: training_set, train2017, test_images"""
DOMAIN = re.compile(r"(?P<role>[a-z]+)[-_ ]?(?P<domain>[ab])", re.IGNORECASE)


class Place(NamedTuple):
    """An image, and the folders and the name by which its class is told."""

    parts: tuple[str, ...]
    file: File


@dataclass(frozen=True)
class Layout:
    """The images of one split."""

    places: list[Place]
    base: tuple[str, ...] = ()
    """folders below the source in which all of them lie"""
    training: tuple[Place, ...] = ()
    """of a test part the training images, whose classes it has"""
    split: bool = False
    """whether the source has a test part of its own"""
    notes: list[str] = field(default_factory=list)


def role_of(name: str) -> tuple[str, str] | None:
    """The split that a folder's name is of, and its domain or "": train and "" of Training, test and A of testA."""
    extra = EXTRA.search(name)
    plain = name[: extra.start()] if extra and extra.end() == len(name) else name
    for role, names in ROLES.items():
        if plain.lower() in names:
            return role, ""
    match = DOMAIN.fullmatch(name)
    if match and (found := role_of(match["role"])) and not found[1]:
        return found[0], match["domain"].upper()
    return None


def named_after(path: Path) -> str:
    """What data are called: as their folder or file; where that is called like a split, as the folder around it."""
    path = path.resolve()
    name = path.name if path.is_dir() else path.stem
    role = role_of(name)
    return path.parent.name or name if role and not role[1] else name


def domains_in(folder: Path, depth: int = 3) -> tuple[Path, Path] | None:
    """The folders trainA and trainB, CycleGAN's own layout, if that is what a folder holds, or its only sub-folder."""
    try:
        below = sorted(p for p in folder.iterdir() if not ignored(p.name) and p.is_dir()) if folder.is_dir() else []
    except OSError:
        return None
    found = {role: p for p in below if (role := role_of(p.name))}
    if ("train", "A") in found and ("train", "B") in found:
        return found["train", "A"], found["train", "B"]
    return domains_in(below[0], depth - 1) if len(below) == 1 and depth else None


def sibling(folder: Path) -> Path | None:
    """The test part beside a folder that is called like a training part: testA beside trainA, test beside train."""
    folder = folder.resolve()
    role = role_of(folder.name)
    if role is None or role[0] != "train":
        return None
    try:
        beside = {role_of(p.name): p for p in sorted(folder.parent.iterdir()) if p.is_dir()}
    except OSError:
        return None
    return beside.get(("test", role[1])) or beside.get(("validation", role[1]))


def layout(files: Sequence[File], split: str, name: str) -> Layout:
    """The images of a split, of a source called `name`.

    A folder that is the only one is looked into, if it holds folders itself.  Where the folders are called like splits,
    those of the split are taken; validation images are the test part where there is no other.  Raises UserError for
    CycleGAN's two domains, and for a source with nothing but a test part unless that is asked for.
    """
    found = descended([Place(file.parts, file) for file in files])
    tops = folders_of(found.places)
    roles = {top: role for top in tops if (role := role_of(top))}
    trains = {domain: top for top, (role, domain) in roles.items() if role == "train"}
    if "A" in trains and "B" in trains:
        a, b, place = trains["A"], trains["B"], "/".join((name, *found.base))
        if name.endswith(ZIP):
            raise UserError(f"{name} holds two domains, {a} and {b}: unzip it first, then give one of them, or both")
        raise UserError(
            f"{name} holds two domains, {a} and {b}: give one of them, {place}/{a} or {place}/{b}, or train a "
            f"translator on both, as ganvas train cyclegan {name}"
        )
    splits = {top: role for top, (role, domain) in roles.items() if not domain or domain in trains}
    several = len(set(splits.values())) > 1
    alone = splits.keys() == tops.keys()
    with_classes = any(place.parts[0] in trains.values() and len(place.parts) > 2 for place in found.places)
    if splits and (alone or (trains and (several or with_classes))):
        return of_splits(found, splits, split, name)
    turned = [Place((p.parts[1], p.parts[0], *p.parts[2:]), p.file) for p in found.places if len(p.parts) > 2]
    if len(turned) == len(found.places):  # the classes' folders hold the splits
        splits = {top: role[0] for top in folders_of(turned) if (role := role_of(top)) and not role[1]}
        if splits.keys() == folders_of(turned).keys() and len(set(splits.values())) > 1 and "train" in splits.values():
            return of_splits(replace(found, places=turned), splits, split, name)
    return found


def of_splits(found: Layout, splits: dict[str, str], split: str, name: str) -> Layout:
    """The images of a split, where `splits` says of which each folder is."""
    folders = {role: [top for top in sorted(splits) if splits[top] == role] for role in ROLES}
    parts = {
        role: [Place(p.parts[1:], p.file) for p in found.places if len(p.parts) > 1 and splits.get(p.parts[0]) == role]
        for role in ROLES
    }
    notes = list(found.notes)
    if rest := len(found.places) - sum(map(len, parts.values())):
        notes.append(f"{counted(rest, 'image')} beside {some(sorted(splits))} left out")
    if folders["validation"]:
        n = counted(len(parts["validation"]), "image")
        if folders["test"]:
            notes.append(f"{some(folders['validation'])}: {n}, used neither for training nor for tests")
        else:
            notes.append(f"{some(folders['validation'])}: {n}, the test part, since there is no other")
            folders["test"], parts["test"] = folders["validation"], parts["validation"]
    for role in ("train", "test"):
        if len(folders[role]) > 1:
            raise UserError(
                f"{name} holds {' and '.join(folders[role])}: which of them is the {role} split?  Rename one"
            )
    if split == "train" and not folders["train"]:
        only = folders["test"][0]
        raise UserError(f"{name} has a test part only, {only}: ask for split=test, or give {name}/{only}")
    chosen = split if folders[split] else "train"
    inner = descended(parts[chosen], (*found.base, *folders[chosen]))
    training = tuple(descended(parts["train"]).places) if chosen == "test" else ()
    return replace(inner, training=training, split=bool(folders["test"]), notes=notes + inner.notes)


def descended(places: list[Place], base: tuple[str, ...] = ()) -> Layout:
    """The images, without the folders in which all of them lie; not without a last one, which may be a class."""
    into: tuple[str, ...] = ()
    while len(tops := folders_of(places)) == 1 and all(len(place.parts) > 1 for place in places):
        (top,) = tops
        if role_of(top) or not any(len(place.parts) > 2 for place in places):
            break
        places, into = [Place(place.parts[1:], place.file) for place in places], (*into, top)
    notes = [f"looked into {'/'.join((*base, *into))}, the only folder"] if into else []
    return Layout(places, (*base, *into), notes=notes)


def folders_of(places: Sequence[Place]) -> Counter[str]:
    """Images in each folder of the first level."""
    return Counter(place.parts[0] for place in places if len(place.parts) > 1)


def classes_of(found: Layout, notes: list[str]) -> tuple[list[int] | None, tuple[str, ...]]:
    """Labels from the first level of folders, when every image lies in one.

    Of a test part the classes are in the order of those of the training part.
    """
    files = {place.file: place.parts for place in (*found.training, *found.places)}
    loose = sum(len(parts) == 1 for parts in files.values())
    if loose == len(files):
        return None, ()
    if loose:
        notes.append(f"no labels: {counted(loose, 'image')} {'lies' if loose == 1 else 'lie'} beside the class folders")
        return None, ()
    mine, known = folders_of(found.places), folders_of(found.training)
    classes = tuple(sorted(known or mine)) + tuple(sorted(mine.keys() - known.keys() if known else ()))
    if len(classes) == 1:
        notes.append(f"there is one class only, {classes[0]}")
    if called := [name for name in classes if role_of(name) or any(map(role_of, re.split(r"[-_. ]", name)))]:
        are = "a class is called like a split" if len(called) == 1 else "classes are called like splits"
        notes.append(f"{are}: {some(called)}")
    index = {name: i for i, name in enumerate(classes)}
    return [index[place.parts[0]] for place in found.places], classes
