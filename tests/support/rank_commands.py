"""Two processes that stay joined and run one command of `ganvas` after another: torch is imported once, not each time.

`python -m tests.support.rank_commands`, as a rank, reads an `Order` a line from stdin, and answers with an `Answer`.
"""

import io
import json
import os
import signal
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.ranks import start_ranks


class Fault(NamedTuple):
    """What happens to one rank in one step: "nan", "SIGTERM", "SIGINT", or the path of a file that vanishes."""

    rank: int
    step: int
    what: str


class Answer(NamedTuple):
    """What came of a command on a rank."""

    code: int
    output: str
    errors: str
    checksums: list[list[int]]
    """for each step, a number for each of the examples of its batch"""


class Ranks:
    """Two ranks on the loopback, for the tests of a module."""

    def __init__(self) -> None:
        self.processes = start_ranks(["-m", "tests.support.rank_commands"], stdin=-1)

    def run(self, *words: str, data: Sequence[str] = ("", ""), fault: Fault | None = None) -> list[Answer]:
        """Run `ganvas WORDS` on both, in this folder; DATA stands for the rank's own data."""
        for process, source in zip(self.processes, data, strict=True):
            own = [source if word == "DATA" else word for word in words]
            assert process.stdin is not None
            process.stdin.write(json.dumps([str(Path.cwd()), own, fault]) + "\n")
            process.stdin.flush()
        return [self.read(process) for process in self.processes]

    def read(self, process: Any) -> Answer:
        line = process.stdout.readline()
        if not line:
            pytest.fail(process.stderr.read())
        return Answer(*json.loads(line))

    def close(self) -> None:
        """End both: they have nothing more to do."""
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    """Two ranks, which are joined once for all tests."""
    two = Ranks()
    yield two
    two.close()


def main() -> None:
    from ganvas.cli.app import main as ganvas

    for line in sys.stdin:
        folder, words, fault = json.loads(line)
        os.chdir(folder)
        checksums: list[list[int]] = []
        watch = watch_batches(checksums, Fault(*fault) if fault else None)
        with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors, watch:
            code = ganvas(words)
        print(json.dumps(Answer(code, output.getvalue(), errors.getvalue(), checksums)), flush=True)
        if code and fault and Path(fault[2]).is_absolute():
            break  # as its own process would: the other one waits for it


@contextmanager
def watch_batches(checksums: list[list[int]], fault: Fault | None) -> Iterator[None]:
    """A context in which steps note which examples they see, and in which the fault happens."""
    from ganvas.ranks import rank
    from ganvas.training.loop import StepPlayer

    moves: Callable[..., Any] = StepPlayer.moves

    def watched(player: StepPlayer, batches: Iterator[Any], step: int, *how: Any) -> Iterator[Any]:
        has_fault = fault is not None and (fault.rank, fault.step) == (rank(), step)

        def draw() -> Iterator[Any]:
            for batch in batches:
                if hasattr(batch, "x"):
                    checksums.append([zlib.crc32(x.contiguous().numpy().tobytes()) for x in batch.x])
                yield batch._replace(x=batch.x * float("nan")) if has_fault and fault.what == "nan" else batch

        if has_fault and fault.what.startswith("SIG"):
            os.kill(os.getpid(), signal.Signals[fault.what])
        elif has_fault and fault.what != "nan":
            Path(fault.what).unlink()
        yield from moves(player, draw(), step, *how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepPlayer, "moves", watched)
        yield


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    main()
