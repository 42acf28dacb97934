"""A run's files have their names in one module."""

import re
from pathlib import Path

import pytest

import ganvas
from ganvas.errors import UserError
from ganvas.io.run_folder import FILES, PREVIEWS_FOLDER, RunFolder

SOURCE = Path(ganvas.__file__).parent


def test_no_other_module_spells_the_name_of_a_file_of_a_run() -> None:
    """In a path, that is: sentences for people may name a file."""
    quoted = re.compile("|".join(f"[\"'/]{re.escape(name)}[\"']" for name in (*FILES, PREVIEWS_FOLDER)))
    spelt = {str(p.relative_to(SOURCE)) for p in SOURCE.rglob("*.py") if quoted.search(p.read_text(encoding="utf-8"))}
    assert spelt == {str(Path("io", "run_folder.py"))}


def test_previews_are_in_the_order_of_their_steps(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    paths = [run.preview(step) for step in (0, 9_999_999, 10_000_000)]
    paths[0].parent.mkdir()
    for path in (*paths, paths[0].with_name("mine.png")):
        path.touch()
    assert run.previews() == paths


def test_a_folder_that_holds_anything_is_not_free(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.check_new()
    run.path.mkdir()
    run.check_new()
    assert run.is_free
    for name in (".state.ckpt.17.tmp", ".model.py.txt.17.tmp", "model.py.txt"):  # of runs killed as they began
        (run.path / name).touch()
    run.check_new()
    with run.lock(lambda notes: None):
        run.check_new()
        assert not run.temporaries()
    run.write_config({})
    assert run.is_run
    with pytest.raises(UserError, match="exists: choose another folder, or go on with its run: ganvas resume"):
        run.check_new()
