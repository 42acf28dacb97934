"""Runs that were frozen when their version was new are loaded, sampled and resumed by every later one."""

import json
import shutil
from pathlib import Path

import pytest

import ganvas
from ganvas.models import MODELS
from tests.support.frozen import FILES, FROZEN, IMAGES, freeze, main, resumed, values

MAX_BYTES, MAX_TOTAL = 30_000, 300_000
SETS = sorted(path.name for path in FROZEN.iterdir() if path.name != "earlier")


def test_every_model_has_a_frozen_run() -> None:
    """A new model gets one by `PYTHONPATH=src python -m tests.support.frozen`; it stays as it is for ever."""
    assert set(SETS) >= set(MODELS), "run: PYTHONPATH=src python -m tests.support.frozen"
    for name in SETS:
        assert {path.name for path in (FROZEN / name).iterdir()} == {*FILES, "values.json"}
    sizes = {name: sum(p.stat().st_size for p in (FROZEN / name).iterdir()) for name in SETS}
    assert max(sizes.values()) < MAX_BYTES, sizes
    assert sum(sizes.values()) < MAX_TOTAL


@pytest.mark.parametrize("name", SETS)
def test_a_frozen_run_samples_and_goes_on_as_it_did(name: str) -> None:
    """Up to the rounding of other machines, which a step of an optimiser makes larger."""
    run = Path(shutil.copytree(FROZEN / name, "run"))
    expected = json.loads((run / "values.json").read_text())
    rounding = 1 if name in IMAGES else 1e-4  # of pixels, which are whole
    assert values(ganvas.load(run), name) == pytest.approx(expected["samples"], abs=rounding)
    trained = resumed(run, name)
    assert values(trained, name) == pytest.approx(expected["after a step"], abs=max(2e-3, 2 * rounding))
    assert trained.metadata["step"] in (1, 2)


def test_the_script_writes_no_set_anew(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    assert "made nothing" in capsys.readouterr().out
    with pytest.raises(FileExistsError):
        freeze("gan")
