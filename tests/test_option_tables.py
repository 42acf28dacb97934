"""The tables of options in docs are those of `--help`."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from ganvas.models import MODELS

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def options() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("options", DOCS / "options.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_up_to_date(options: ModuleType) -> None:
    assert [file.name for file, _ in options.outdated()] == [], "run: python3 dev.py docs"


def test_a_page_out_of_date_is_written_anew(options: ModuleType) -> None:
    page = "# GAN\n\n<!-- options: train gan, Model -->\nold\n<!-- end -->\n\nmore\n"
    updated = options.with_tables(page)
    assert "old" not in updated
    assert updated.endswith("<!-- end -->\n\nmore\n")
    assert "| `--latent INT` | `64` | dimensions of the noise z [more than 0" in updated
    assert options.with_tables(updated) == updated


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_page(name: str) -> None:
    assert f"<!-- options: train {name}, Model -->" in (DOCS / "models" / f"{name}.md").read_text(encoding="utf-8")
