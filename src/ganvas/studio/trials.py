"""What the page finds out by running commands: a report on data, and what a run would cost here."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from time import monotonic, sleep, time_ns
from typing import Any

from ..data.tables.read import is_table
from ..errors import UserError
from ..io.run_folder import RunFolder
from ..training.run_records import read_log

REPORT_SECONDS, TRIAL_SECONDS, TRIAL_STEPS = 120.0, 60.0, 40
"""for how long a report and a trial may take, and steps of a trial"""
MAX_SHEETS = 50
"""contact sheets that are kept, the newest"""
IsEnding = Callable[[], bool]
"""whether the server is about to end, and does not wait for a command"""


def run_command(words: list[str], seconds: float, is_ending: IsEnding) -> tuple[str, int]:
    """What a command of Ganvas prints, and the most bytes that it took (0 where the system does not say).

    UserError with what it says where it fails, or takes too long.
    """
    with TemporaryFile("w+") as errors, TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ganvas", *words], stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
            start_new_session=True, env=os.environ | {"COLUMNS": "200"},
        )  # fmt: skip
        try:
            code, peak = wait(process, seconds, is_ending)
        except TimeoutError:
            raise UserError(f"`ganvas {words[0]}` takes longer than {seconds:.0f} s here") from None
        errors.seek(0)
        output.seek(0)
        if code:
            raise UserError(last_sentence(errors.read()))
        return output.read(), peak


def wait(process: subprocess.Popen[bytes], seconds: float, is_ending: IsEnding) -> tuple[int, int]:
    """A process's exit code, and the most bytes that it took.

    TimeoutError, and no process any more, after so many seconds, or where the server ends.
    """
    end = monotonic() + seconds
    try:
        while monotonic() < end and not is_ending():
            if not hasattr(os, "wait4"):
                if process.poll() is not None:
                    return process.returncode, 0
            elif (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                process.returncode = os.waitstatus_to_exitcode(ended[1])
                return process.returncode, ended[2].ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            sleep(0.05)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
    raise TimeoutError


def last_sentence(text: str) -> str:
    """The last line that a command said, without the name that it begins with."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("ganvas: ") if lines else "it failed without a word"


def report_on(sources: list[str], options: list[str], folder: Path, is_ending: IsEnding) -> dict[str, Any]:
    """The data report of sources, and the name of its contact sheet in the folder, which keeps the newest ones."""
    folder.mkdir(parents=True, exist_ok=True)
    sheet = folder / f"{time_ns()}-{os.urandom(8).hex()}.png"
    out = [] if any(is_table(Path(source)) for source in sources) else ["--out", str(sheet)]  # a table has none
    words = ["data", *sources, *options, "--json", *out]
    report: dict[str, Any] = json.loads(run_command(words, REPORT_SECONDS, is_ending)[0])
    for old in sorted(folder.glob("*.png"))[:-MAX_SHEETS]:
        old.unlink(missing_ok=True)
    return report | {"sheet": sheet.name if sheet.exists() else None}


def measure_cost(words: list[str], is_ending: IsEnding) -> dict[str, float]:
    """Seconds that a step takes here and the most megabytes that training takes, by a short run that is thrown away.

    The words are those of a whole `train` command; its own length is left aside.
    """
    others = [word for word in words if not word.startswith(("--steps", "--epochs", "--budget", "--checkpoint-every"))]
    with TemporaryDirectory(prefix="ganvas-") as place:
        folder, start = Path(place) / "trial", monotonic()
        more = [f"--steps={TRIAL_STEPS}", f"--checkpoint-every={TRIAL_STEPS}", "--folder", str(folder), "--quiet"]
        _, memory = run_command([*others, *more], TRIAL_SECONDS, is_ending)
        lines, seconds = read_log(RunFolder(folder).path), monotonic() - start
    times = [line["seconds"] for line in lines]
    steps = lines[-2]["step"] - lines[0]["step"] if len(lines) > 2 else 0
    per_step = (times[-2] - times[0]) / steps if steps else seconds / TRIAL_STEPS
    return {"seconds_per_step": per_step, "megabytes": memory / 2**20, "start_seconds": max(0.0, seconds - times[-1])}
