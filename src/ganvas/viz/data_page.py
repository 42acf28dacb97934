"""The page on a dataset: its facts, and pictures of examples, of duplicates, and of how values and classes spread."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..data import Dataset, chunks, class_counts
from ..data.duplicates import Duplicates, Pairs
from ..data.report import Report
from ..data.scaling import picture_scaling
from ..data.tables.table import Table
from .html import write_page
from .images import Examples
from .plots import bars, histograms
from .table_html import column_parts

SHEET_EXAMPLES, PLOT_EXAMPLES = 100, 5000
"""images of a contact sheet, and vectors of a scatter plot"""
MAX_PICTURES, MAX_CLASSES, BINS = 12, 40, 64
"""pairs of each kind and blank images that a page shows, classes of its chart, bars of a histogram of deep images"""


@dataclass(frozen=True, eq=False)
class DataPart:
    """A dataset as a page shows it: what was found in it, its test part if there is one, and its facts as texts."""

    dataset: Dataset
    found: Duplicates
    facts: list[tuple[str, str]]
    advice: list[str]
    notes: list[str]
    test: Dataset | None = None


def contact_sheet(dataset: Dataset) -> Examples:
    """Examples at equal distances; of vectors a scatter plot."""
    n = min(PLOT_EXAMPLES if dataset.kind == "vector" else SHEET_EXAMPLES, len(dataset))
    return to_examples(dataset, [i * len(dataset) // n for i in range(n)])


def to_examples(dataset: Dataset, indices: list[int]) -> Examples:
    return Examples(dataset.x[indices], scaling=picture_scaling(dataset))


def write_data_page(path: Path, title: str, parts: list[DataPart]) -> None:
    """Write the page on one dataset, or on the two of a translator."""
    write_page(path, "data.html", title=title, parts=[part_values(part) for part in parts])


def write_table_page(path: Path, table: Table, report: Report, facts: list[tuple[str, str]]) -> None:
    """Write the page on a table that `describe_table` has described: its columns in place of examples."""
    part = {"name": table.name, "facts": facts, "advice": report["advice"], "notes": report["notes"], "groups": []}
    write_page(path, "data.html", title=f"Data: {table.name}", parts=[part | {"columns": column_parts(table)}])


def part_values(part: DataPart) -> dict[str, Any]:
    """What the template shows of a dataset."""
    data, test, found = part.dataset, part.test, part.found
    title = "Pixel values" if data.has_images else "Values"
    charts = [] if data.kind == "vector" else [{"title": title, "image": value_histogram(data)}]
    if counts := class_counts(data):
        largest = dict(sorted(counts.items(), key=lambda item: -item[1])[:MAX_CLASSES])
        more = f", the largest {MAX_CLASSES} of {len(counts)}" if len(counts) > MAX_CLASSES else ""
        charts.append({"title": f"Examples of each class{more}", "image": bars(largest)})
    groups = [
        ("Exact duplicates", pair_figures(found.exact, data, data)),
        ("Near duplicates", pair_figures(found.near, data, data)),
        ("Exact duplicates of test examples in the train part", pair_figures(found.leaked_exact, test, data)),
        ("Near duplicates of test examples in the train part", pair_figures(found.leaked_near, test, data)),
        ("Images of one colour", [figure(data, i) for i in found.blank[:MAX_PICTURES]]),
    ]
    totals = [len(pairs) for pairs in (found.exact, found.near, found.leaked_exact, found.leaked_near, found.blank)]
    return {
        "name": data.name, "facts": part.facts, "advice": part.advice, "notes": part.notes, "charts": charts,
        "columns": None,
        "sheet": contact_sheet(data).render(),
        "groups": [
            {"title": title, "total": total, "figures": figures}
            for (title, figures), total in zip(groups, totals, strict=True) if figures
        ],
    }  # fmt: skip


def pair_figures(pairs: Pairs, later: Dataset | None, first: Dataset) -> list[dict[str, Any]]:
    """The first pairs of images, the two of each side by side; none of vectors."""
    if later is None or not first.has_images:
        return []
    scaling = picture_scaling(first)
    return [
        {
            "image": Examples(torch.stack([later.x[i], first.x[j]]), 2, scaling=scaling).render(),
            "name": f"{later.example_name(i)} and {first.example_name(j)}",
        }
        for i, j in pairs[:MAX_PICTURES]
    ]  # fmt: skip


def figure(dataset: Dataset, i: int) -> dict[str, Any]:
    """An image and its name."""
    return {"image": to_examples(dataset, [i]).render(), "name": str(dataset.example_name(i))}


def value_histogram(dataset: Dataset) -> Image.Image:
    """How often each value occurs in each channel: of bytes all 256, of deep images in equal steps of their range."""
    x, c = dataset.x, dataset.shape[0]
    low, high = (x.min().item(), x.max().item()) if dataset.is_deep else (0.0, 255.0)
    counts = torch.zeros(c, BINS if dataset.is_deep else 256, dtype=torch.int64)
    for part in chunks(x):
        for channel, values in enumerate(part.unbind(1)):
            counts[channel] += count_values(values, low, high, counts.shape[1])
    names = {1: ("grey",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}
    is_colour = c in names and (dataset.alpha or not dataset.is_deep)
    return histograms(counts, low, high, names[c] if is_colour else [f"channel {i}" for i in range(c)])


def count_values(values: Tensor, low: float, high: float, bins: int) -> Tensor:
    """How many values are in each of so many equal steps from low to high."""
    if values.dtype == torch.uint8:
        return values.flatten().long().bincount(minlength=bins)
    place = (values.double() - low) * (bins / ((high - low) or 1))
    return place.long().clamp(0, bins - 1).flatten().bincount(minlength=bins)
