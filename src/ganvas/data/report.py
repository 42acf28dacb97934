"""What is in a dataset, and what that means for training: facts, duplicates, and advice with its reasons."""

from typing import Any

import torch

from ..io.text import format_number
from .dataset import Dataset, chunks, class_counts
from .duplicates import Duplicates, Pairs
from .folder import MixedSizesError
from .listing import pluralize
from .scaling import premultiply
from .shards import StreamedDataset

FEW_IMAGES, LARGE_SIDE, FIRST_SIZE, LARGE_RATIO, DUPLICATE_SHARE = 1000, 128, 64, 10, 0.01
"""images below which a GAN learns them by heart; pixels of a shorter side from which on `FIRST_SIZE` is advised for a
first run; examples of the largest class for each of the smallest, and share of duplicates, that are worth advice"""
MODEL_PAGES = "docs/models/vae.md, docs/models/dcgan.md"
SHOWN = 10
"""pairs and images that are named"""
AXES = {"vector": "", "signal": " (c x length)", "image": " (c x h x w)", "volume": " (c x d x h x w)"}
Report = dict[str, Any]


def describe_dataset(dataset: Dataset, found: Duplicates, test: Dataset | None = None) -> Report:
    """The facts of a dataset, with the duplicates that were found in it and in its test part, and advice."""
    x, is_images, kind = dataset.x, dataset.has_images, dataset.kind
    dtype = "float32" if kind == "vector" else dataset.source_dtype or "bytes"
    mean = torch.zeros(x.shape[1], dtype=torch.float64)
    for part in chunks(x):
        mean += part.sum((0, *range(2, x.ndim)), dtype=torch.float64) / (x.numel() / x.shape[1])
    report = {
        "name": dataset.name, "examples": len(dataset), "kind": f"{kind}s, {dtype}",
        "shape": " x ".join(map(str, dataset.shape)) + AXES[kind],
        "range": f"{x.min().item():g} to {x.max().item():g}",
        "mean": ", ".join(format_number(value, 4) for value in mean[:8].tolist()),
        "classes": class_counts(dataset), "class ratio": class_ratio(class_counts(dataset)),
        "exact duplicates": count_pairs(found.exact, dataset, dataset),
    }  # fmt: skip
    if is_images:
        report["near duplicates"] = count_pairs(found.near, dataset, dataset)
        report["blank images"] = {
            "count": len(found.blank),
            "first": [dataset.example_name(i) for i in found.blank[:SHOWN]],
        }
    if test is not None:
        report["test examples"] = found.n_test
        report["exact leakage"] = count_pairs(found.leaked_exact, test, dataset)
        report |= {"near leakage": count_pairs(found.leaked_near, test, dataset)} if is_images else {}
    advice = advise(dataset, found)
    return report | {"notes": list(dataset.notes), "advice": advice, "fingerprint": dataset.fingerprint()}


def describe_stream(dataset: StreamedDataset) -> Report:
    """The facts of a streamed dataset that are those of all its examples; others are of the sample in memory."""
    return {
        "examples": len(dataset), "shards": len(dataset.shards.counts), "sample": len(dataset.in_memory),
        "classes": class_counts(dataset), "class ratio": class_ratio(class_counts(dataset)),
        "notes": list(dataset.notes), "fingerprint": dataset.fingerprint(),
    }  # fmt: skip


def describe_sizes(mixed: MixedSizesError) -> Report:
    """The sizes and channels of images that have several, with advice on the size to ask for."""
    sizes = dict(list(mixed.sizes.items())[:SHOWN])
    if n_other_sizes := len(mixed.sizes) - len(sizes):
        sizes[f"of {n_other_sizes} other sizes"] = sum(mixed.sizes.values()) - sum(sizes.values())
    sides = sorted(min(map(int, size.split(" x "))) for size, n in mixed.sizes.items() for _ in range(n))
    common = sides[len(sides) // 10]  # nine of ten images are as large
    size = 1 << max(3, min(FIRST_SIZE, common).bit_length() - 1)
    why = f"nine of ten have sides of {common} pixels or more, and what is enlarged gets blurred"
    advice = f"images of {len(mixed.sizes)} sizes, where a model needs one: --size {size} ({why})"
    return {"sizes": sizes, "channels": mixed.channels, "advice": [advice]}


def count_pairs(pairs: Pairs, later: Dataset, first: Dataset) -> Report:
    """How many pairs there are, and the names of the first few."""
    shown = [[later.example_name(i), first.example_name(j)] for i, j in pairs[:SHOWN]]
    return {"count": len(pairs), "first": shown}


def class_ratio(counts: dict[str, int]) -> float | None:
    """Examples of the largest class for one of the smallest that has any, or None with fewer than two such classes."""
    present = [n for n in counts.values() if n]
    return round(max(present) / min(present), 2) if len(present) > 1 else None


def advise(dataset: Dataset, found: Duplicates) -> list[str]:
    """What a dataset means for training, a sentence or two each, with the reason."""
    n, advice = len(dataset), image_advice(dataset) if dataset.has_images else []
    ratio = class_ratio(counts := class_counts(dataset))
    if ratio and ratio > LARGE_RATIO:
        least, most = (f(filter(counts.get, counts), key=counts.__getitem__) for f in (min, max))
        many = f"class {most} has {ratio:g} times the examples of {least} ({counts[most]} and {counts[least]})"
        advice.append(f"{many}: --balanced draws all classes equally often, else a model hardly sees the rare ones")
    n_duplicates = len(found.exact) + len(found.near)
    if n_duplicates and n_duplicates >= DUPLICATE_SHARE * n:
        many = f"{n_duplicates} of {n} examples ({n_duplicates / n:.0%}) repeat an earlier one"
        why = "models see these more often, and a GAN may learn them by heart; remove what is not meant"
        advice.append(f"{many}: {why}")
    labels = [] if dataset.labels is None else dataset.labels.tolist()
    if torn := [pair for pair in found.exact if labels and labels[pair[0]] != labels[pair[1]]]:
        shown = " and ".join(str(dataset.example_name(i)) for i in torn[0])
        where = f"exact duplicates in different classes, {len(torn)} in all, the first {shown}"
        advice.append(f"{where}: a model with classes learns both; remove the wrong one")
    if found.blank:
        advice.append(f"{pluralize(len(found.blank), 'image')} of one colour: remove them, or models generate such too")
    if n_leaked := len(found.leaked_exact) + len(found.leaked_near):
        many = f"test examples with a duplicate in the train part, {n_leaked} of {found.n_test}"
        advice.append(f"{many}: models have seen these, so scores on the test part are too good; remove one of each")
    return advice


def image_advice(dataset: Dataset) -> list[str]:
    """The same, of the number of images, their size and their channels."""
    n, (c, h, w), advice = dataset.sampled_from or len(dataset), dataset.shape, []
    if n < FEW_IMAGES:
        why = "a GAN's discriminator learns so few by heart"
        how = "take vae, or dcgan, which change images at random (--augment) unless told otherwise"
        advice.append(f"only {pluralize(n, 'image')}: {why}; {how} ({MODEL_PAGES})")
    if min(h, w) > LARGE_SIDE:
        times = h * w / FIRST_SIZE**2
        why = f"a step then takes about {times:.0f} times less time and memory"
        advice.append(f"images of {w} x {h} pixels are large: begin with --size {FIRST_SIZE} ({why})")
    if dataset.is_deep:
        why = "models return numbers in their units, but --likelihood bernoulli and --binarize need 256"
        advice.append(f"images of more than 256 levels ({dataset.source_dtype}): {why}; --bits 8 rounds to these")
    elif c == 4 and bool((dataset.x[:, 3] == 255).all()):
        advice.append("alpha is opaque everywhere: --channels 3 leaves out a channel with nothing to learn")
    elif c == 4:
        advice.append("images with alpha: models learn it as a fourth channel; --channels 3 lays them on white")
    if c in (3, 4) and not dataset.is_deep and is_grey(dataset):
        advice.append("all images are grey, stored as colours: --channels 1 has a third of the numbers to learn")
    return advice


def is_grey(dataset: Dataset) -> bool:
    """Whether red, green and blue are equal in all that is seen; JPEG's rounding aside, a level."""
    for part in chunks(dataset.x):
        colours = premultiply(part)[:, :3]
        if int((colours.amax(1) - colours.amin(1)).max()) > 1:
            return False
    return True
