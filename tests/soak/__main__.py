"""Ganvas under faults: `python3 dev.py soak --minutes 10`.

Runs of every model are killed, at writes and at any moment, and go on; disks are full at each write; damaged files are
read.  With --growth, long runs are looked at instead.  All happens in a temporary folder, which is kept only where
something was found.  Ctrl-C ends the part under way.  Exit code 0: nothing was found.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}  # before torch is imported: forks can have no GPU

COLUMNS = ("part", "seconds", "counts", "findings", "readers")
SHARES = {"kills": 0.45, "full disks": 0.25, "damaged files": 0.3}
"""shares of the minutes"""


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 dev.py soak", description=__doc__.split("\n\n")[1])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long it takes, unless by number (10)")
    parser.add_argument("--kills", type=int, help="so many kills, in place of minutes")
    parser.add_argument("--disks", type=int, help="so many full disks, in place of minutes")
    parser.add_argument("--inputs", type=int, help="so many damaged files, in place of minutes")
    parser.add_argument("--input", type=int, help="read this one damaged file again, with its traceback")
    parser.add_argument("--growth", action="store_true", help="train each model for 20,000 steps, and look at memory")
    parser.add_argument("--models", default="", help="of these models only, e.g. vae,gan")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn at random (0)")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    return parser.parse_args(words)


def run_part(name: str, reports: Iterable[Any], seconds: float, count: tuple[str, int] | None) -> dict[str, Any]:
    """A row of the table: the last report by the end of the time, once it counts so many, or at Ctrl-C."""
    start_time, report = time.monotonic(), None
    with suppress(KeyboardInterrupt):
        for report in reports:
            if count is not None and report.counts[count[0]] >= count[1]:
                break
            if count is None and time.monotonic() - start_time > seconds:
                break
    counts = dict(report.counts) if report else {}
    findings = report.findings if report else []
    readers = {kind: [n, round(report.seconds[kind], 1)] for kind, n in report.readers.items()} if report else {}
    seconds = round(time.monotonic() - start_time)
    return dict(zip(COLUMNS, (name, seconds, counts, findings, readers), strict=True))


def soak(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The rows of the table."""
    import torch

    from ganvas.models import MODELS

    from .fuzz import fuzz
    from .growth import grow
    from .runs import fill_disk, kill_runs

    torch.set_num_threads(1)
    names = options.models.split(",") if options.models else list(MODELS)
    if unknown := set(names) - MODELS.keys():
        sys.exit(f"no model {', '.join(sorted(unknown))}: there are {', '.join(MODELS)}")
    by_count = options.growth or any(n is not None for n in (options.kills, options.disks, options.inputs))
    rows = []
    parts = {
        "kills": (lambda: kill_runs(names, folder, options.seed), options.kills, "kills"),
        "full disks": (lambda: fill_disk(names, folder, options.seed), options.disks, "runs"),
        "damaged files": (lambda: fuzz(folder, options.seed, options.inputs), options.inputs, "inputs"),
    }
    for name, (make, count, key) in parts.items():
        if by_count and not count:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows.append(
            run_part(name, make(), 60 * options.minutes * SHARES[name], None if count is None else (key, count))
        )
    if options.growth:
        print("growth ...", file=sys.stderr, flush=True)
        rows.append(run_part("growth", grow(names, folder), inf, None))
    return rows


def main(words: list[str]) -> int:
    options = parse(words)
    if not hasattr(os, "fork"):
        print("soak needs fork, as Linux and macOS have it", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):  # a part that is stopped says what it has done
        signal.signal(number, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="ganvas-soak-"))
    os.environ |= {"GANVAS_CACHE": str(folder / "cache")}
    os.chdir(folder)
    if options.input is not None:
        from .fuzz import read_again

        return read_again(options.seed, options.input, folder)
    rows = soak(options, folder)
    found = [finding for row in rows for finding in row["findings"]]
    if not found:
        os.chdir(folder.parent)
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps({"rows": rows, "folder": str(folder) if found else None}, indent=2))
        return int(bool(found))
    for row in rows:
        counts = ", ".join(f"{n:,} {name}" for name, n in row["counts"].items())
        print(f"{row['part']:<14}{row['seconds']:>6} s  {counts}; {len(row['findings'])} findings")
        for kind, (n, seconds) in row["readers"].items():
            print(f"  {kind:<12}{n:>12,} files, {n / max(seconds, 0.1):,.0f} a second of processor time")
    print("\n".join([*found, f"kept in {folder}"]) if found else "nothing found")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
