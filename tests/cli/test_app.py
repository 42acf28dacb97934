"""How a process of the command line ends."""

import subprocess
import sys
from pathlib import Path

import pytest

RANK = """
import atexit, sys
from torch import distributed
from ganvas.cli.app import main

if sys.argv.pop(1) == "rank":
    distributed.init_process_group("gloo", init_method="file://" + sys.argv.pop(1), rank=0, world_size=1)
atexit.register(print, "the interpreter's own end")
sys.exit(main())
"""


@pytest.mark.parametrize("is_rank", [True, False])
def test_a_rank_ends_before_the_interpreter_does(is_rank: bool, tmp_path: Path) -> None:
    """Threads of gloo that still hold tensors then would abort it, and torchrun would take the run for a failure."""
    words = ["rank", str(tmp_path / "store")] if is_rank else ["alone"]
    command = [sys.executable, "-c", RANK, *words, "data", "no-such-data"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 2
    assert "no-such-data" in ended.stderr
    assert ("own end" in ended.stdout) != is_rank
