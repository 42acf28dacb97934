"""Any options of training and of data: a run trains, or is refused in one sentence before it begins."""

from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_type_hints

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import ganvas
from ganvas.config import TrainConfig
from ganvas.data import DataOptions
from ganvas.errors import UserError
from ganvas.models import MODELS
from ganvas.training.run_records import read_log
from tests.support.data import write_folder
from tests.support.models import IMAGE_MODELS, small
from tests.support.option_values import candidates

SET = {"steps", "epochs", "budget", "compile", "fsdp", "device", "data_dir", "seed"}
"""options that the test gives itself, or that take longer than a test may"""
EDGES = (0, 1, -1, 0.0, 1.0, float("nan"), float("inf"), None, "", "none", (), 10**30)
HINTS = {
    field.name: get_type_hints(cls, include_extras=True)[field.name]
    for cls in (TrainConfig, DataOptions)
    for field in fields(cls)
    if field.name not in SET
}


@st.composite
def configurations(draw: st.DrawFn) -> tuple[str, str, dict[str, Any]]:
    """A model, a kind of data, and up to four options."""
    names = draw(st.lists(st.sampled_from(sorted(HINTS)), max_size=4, unique=True))
    chosen = {name: draw(st.sampled_from([*candidates(HINTS[name])] * 3 + [*EDGES])) for name in names}
    return draw(st.sampled_from(sorted(IMAGE_MODELS))), draw(st.sampled_from(["array", "folder"])), chosen


def test_classes_that_are_no_texts() -> None:
    assert DataOptions(classes=3).classes == ("3",)  # type: ignore[arg-type]
    assert DataOptions(classes=("3", "7,8")).classes == ("3", "7", "8")


@settings(max_examples=20, derandomize=True)
@given(configurations())
def test_any_configuration_trains_or_is_refused(drawn: tuple[str, str, dict[str, Any]]) -> None:
    name, kind, options = drawn
    options = {"batch_size": 4, "checkpoint_every": 2} | options
    said = ""
    with TemporaryDirectory() as place:
        run = Path(place) / "run"
        x = np.arange(24 * 3).reshape(24, 3).astype(np.float32) if kind == "array" else None
        data = str(write_folder(Path(place) / "pets")) if x is None else x
        sources, model = (data, data) if MODELS[name].n_domains == 2 else data, small(MODELS[name], width=4)
        try:
            ganvas.train(model, sources, folder=run, steps=2, quiet=True, device="cpu", **options)
        except UserError as error:
            said = str(error)
        if said:
            assert not run.exists(), said
            assert "\n" not in said
            assert 20 < len(said) < 400
        else:
            assert read_log(run)[-1]["step"] == 2
