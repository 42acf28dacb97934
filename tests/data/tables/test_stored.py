"""What a model's file says of its table: damaged or strange values are one sentence as it is read, not errors later."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

import ganvas
from ganvas.data import fit_scaling
from ganvas.data.tables.scaling import table_from_state, table_state
from ganvas.errors import InvalidFileError
from ganvas.io.safetensors import read_safetensors, write_safetensors
from ganvas.models import MODELS
from ganvas.training.run_files import DAMAGED, check_files
from tests.support.models import small
from tests.support.tables import table_collection

pytest.importorskip("pandas")
COLUMN, ENTRY, ITEM = ("columns", 0), ("entries", 0), ("constraints", "items", 0)
CONSTRAINTS = {"items": [{"text": "a > b", "operator": ">", "places": [0, 1], "signs": [1, -1]}], "kept": []}


@pytest.fixture(scope="module")
def stored() -> Any:
    """Tensors and header of a table's scaling."""
    (scaling,) = fit_scaling(table_collection(), small(MODELS["ctgan"]))
    tensors, header = table_state(scaling)  # type: ignore[arg-type]
    header["table"]["constraints"] = CONSTRAINTS
    return tensors, header


def test_what_is_stored_is_read(stored: Any) -> None:
    tensors, header = stored
    scaling = table_from_state(dict(tensors), deepcopy(header), (0.0, 1.0))
    assert scaling is not None
    again, header_again = table_state(scaling)
    assert {name: t.tolist() for name, t in again.items()} == {name: t.tolist() for name, t in tensors.items()}
    assert header_again["table"].keys() == header["table"].keys()
    assert header_again["table"]["entries"] == header["table"]["entries"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("columns",), []), (("columns",), None), ((*COLUMN, "name"), 3), ((*COLUMN, "kind"), "x"),
        ((*COLUMN, "details"), None), ((*COLUMN, "details"), {"step": "x"}), ((*COLUMN, "low"), float("nan")),
        ((*COLUMN, "high"), -1e300), ((*COLUMN, "decimals"), 10**9),
        ((*COLUMN, "dtype"), "nothing"), ((*COLUMN, "details"), {"label": []}), (("entries",), {}), (ENTRY, None),
        ((*ENTRY, "sizes"), [1]), ((*ENTRY, "intervals"), {}), ((*ENTRY, "is_category"), True),
        ((*ENTRY, "decimals"), "x"), (("constraints",), []), ((*ITEM, "places"), [0, 99]), ((*ITEM, "places"), [-1, 0]),
        ((*ITEM, "signs"), [1]), ((*ITEM, "operator"), "x"), (("constraints", "kept"), [7]),
        (("columns", "category", "categories"), []), (("columns", "category", "categories"), ["a"]),
        (("columns", "category", "details"), {"words": ["a"]}),
        (("file_format",), [";"]), (("file_format",), ["x", "utf-8"]), (("file_format",), [",", "nothing"]),
    ],
)  # fmt: skip
def test_damage_is_a_sentence(place: tuple[Any, ...], value: Any, stored: Any) -> None:
    tensors, header = dict(stored[0]), deepcopy(stored[1])
    holder = header["table"]
    kinds = [column["kind"] for column in holder["columns"]]
    for key in place[:-1]:
        holder = holder[kinds.index(key) if key == "category" else key]
    holder[place[-1]] = value
    with pytest.raises(ValueError, match="what it says of the columns of its table is damaged: ."):
        table_from_state(tensors, header, (0.0, 1.0))


@pytest.mark.parametrize("name", ["atoms", "knots", "ranks", "shares"])
def test_damaged_entries_are_a_sentence(name: str, stored: Any) -> None:
    tensors, header = dict(stored[0]), deepcopy(stored[1])
    for damaged in (torch.full_like(tensors[f"scaling/0/{name}"], torch.inf), tensors[f"scaling/0/{name}"][1:]):
        if name == "shares" and len(damaged) == len(tensors[f"scaling/0/{name}"]):
            continue
        with pytest.raises(ValueError, match="what it says of the columns of its table is damaged: ."):
            table_from_state({**tensors, f"scaling/0/{name}": damaged}, deepcopy(header), (0.0, 1.0))


def test_a_damaged_file_of_weights_names_itself(tmp_path: Path) -> None:
    ganvas.train(small(MODELS["ctgan"]), table_collection(), folder=tmp_path / "run", steps=1, batch_size=4, quiet=True)
    header, tensors = read_safetensors(tmp_path / "run/weights.safetensors")
    header["table"]["entries"][0]["intervals"] = {}
    write_safetensors(tmp_path / "run/weights.safetensors", header, tensors)
    with pytest.raises(InvalidFileError, match=r"weights.safetensors: what it says of the columns of its table is dam"):
        ganvas.load(tmp_path / "run")
    found = {file.file: file.why for file in check_files(tmp_path / "run") if file.state == DAMAGED}
    assert found.keys() == {"weights.safetensors"}
    assert "the columns of its table" in found["weights.safetensors"]
