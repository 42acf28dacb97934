"""What open pages of the studio cost: errors, memory of the server, and speed of the runs that they follow.

Runs train for as long as the benchmark takes, a thread each.  The server is a process of its own; pages are clients of
its events, which first ask for what a browser asks for.  Phases with and without pages take turns, so that what else
the machine does weighs on both; a run's speed in a phase is that of its own log.  Memory and CPU time of the server
are those of Linux's /proc.
"""

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

from _support import parser, print_table

import ganvas

import numpy as np
from PIL import Image

TRAIN: tuple[str, ...] = ("-m", "ganvas", "train", "vae", "DATA", "--steps", "100000000", "--folder")
"""arguments of Python, before the folder, that begin a run"""
STUDIO = ("-m", "ganvas", "studio", "--port", "0", "--runs-dir")
N_LINES = 100
"""lines of the log of each run that has ended"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(ganvas.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
CONFIG = {
    "model": "vae", "fields": {"latent": 8}, "train_config": {"steps": 10 * N_LINES, "batch_size": 64},
    "created_at": "2026-01-01T00:00:00+00:00",
    "data": {
        "source": "emoji", "name": "emoji", "options": {}, "fingerprint": "", "examples": 64, "shape": [1, 8, 8],
        "classes": [],
    },
}  # fmt: skip


def write_ended_run(folder: Path) -> None:
    """A run that has ended, as a gallery sees it."""
    (folder / "previews").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    kl = [0.1] * 32
    lines = [{"step": 10 * i, "seconds": i / 7, "kl": 1 / i, "latent": {"kl": 1, "kl_per_dimension": kl}}
             for i in range(1, N_LINES + 1)]  # fmt: skip
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Image.new("RGB", (340, 102)).save(folder / "previews" / "0000000.png")


def last_line(folder: Path) -> tuple[int, float]:
    """Step and seconds of the last whole line of a log; zeros where there is none."""
    try:
        texts = (folder / "log.jsonl").read_text().split("\n")[:-1]
    except OSError:
        return 0, 0.0
    line = json.loads(texts[-1]) if texts else {"step": 0, "seconds": 0.0}
    return line["step"], line["seconds"]


def process_figures(process: int) -> tuple[float, float]:
    """Megabytes in memory and CPU seconds of a process; zeros where there is no /proc."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return 0.0, 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def first_page(address: str) -> float:
    """Seconds until the gallery is there, whole."""
    start = time.perf_counter()
    with urlopen(Request(f"{address}/runs", headers={"accept": "text/html"}), timeout=60) as answer:
        answer.read()
    return time.perf_counter() - start


async def follow(host: str, port: int, name: str, until: float, counts: dict[str, int]) -> None:
    """A page: it asks for the run, its curves and the doctor, then follows its events."""
    try:
        for address in (f"/runs/{name}", f"/runs/{name}/log", f"/runs/{name}/doctor", f"/live/{name}"):
            reader, writer = await asyncio.open_connection(host, port, limit=2**24)
            writer.write(f"GET {address} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            status = (await asyncio.wait_for(reader.readline(), 60)).split()[1]
            counts["errors"] += status != b"200"
            while (left := until - time.monotonic()) > 0:
                try:
                    line = await asyncio.wait_for(reader.readline(), left)
                except TimeoutError:
                    break
                if not line:  # the end of an answer, which events have none of
                    counts["errors"] += address.startswith("/live")
                    break
                counts["events"] += line.startswith(b"event: ")
            writer.close()
    except (OSError, IndexError, ValueError, TimeoutError):
        counts["errors"] += 1


async def watch(address: str, names: Sequence[str], pages: int, seconds: float, counts: dict[str, int]) -> None:
    """So many pages on the runs, for so long."""
    host, _, port = address.removeprefix("http://").partition(":")
    until = time.monotonic() + seconds
    await asyncio.gather(*(follow(host, int(port), names[i % len(names)], until, counts) for i in range(pages)))


def measure(folder: Path, pages: int, runs: int, seconds: int, folders: int, rounds: int) -> list[tuple[str, str]]:
    """The figures, by name."""
    np.save(folder / "data.npy", np.random.default_rng(0).integers(0, 256, (512, 16, 16), np.uint8))
    place = folder / "runs"
    for i in range(folders):
        write_ended_run(place / f"ended-{i}")
    names, processes = [f"live-{i}" for i in range(runs)], list[subprocess.Popen[str]]()
    words = [word.replace("DATA", str(folder / "data.npy")) for word in TRAIN]
    try:
        with (folder / "said.txt").open("w") as said:
            processes += [
                subprocess.Popen([sys.executable, *words, place / name], env=ENVIRONMENT, stdout=said, stderr=said)
                for name in names
            ]
        server = subprocess.Popen([sys.executable, *STUDIO, place], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        processes.append(server)
        assert server.stderr is not None
        address = re.findall(r"http://[^/]+", server.stderr.readline())[0]
        while not all(last_line(place / name)[0] for name in names):
            if any(process.poll() is not None for process in processes):
                sys.exit((folder / "said.txt").read_text())
            time.sleep(0.2)
        before = process_figures(server.pid)[1]
        first, cpu = first_page(address), process_figures(server.pid)[1] - before
        figures = [(f"first page, {folders + runs} runs", f"{first:.2f} s, {cpu:.2f} s CPU")]
        figures.append(("again", f"{first_page(address):.2f} s"))
        return figures + take_turns(address, server.pid, place, names, pages, seconds / rounds / 2, rounds)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)
            if process.stderr:
                process.stderr.close()


def take_turns(
    address: str, server: int, place: Path, names: Sequence[str], pages: int, seconds: float, rounds: int
) -> list[tuple[str, str]]:
    """Phases without and with pages, each so long, in turns."""
    counts, ratios = {"errors": 0, "events": 0}, list[float]()
    memory, server_seconds, own_seconds = list[float](), 0.0, 0.0
    for _ in range(rounds):
        speeds = []
        for is_open in (False, True):
            starts = [last_line(place / name) for name in names]
            before, own = process_figures(server)[1], time.process_time()
            if is_open:
                with ThreadPoolExecutor(1) as thread:  # a loop of its own, wherever this runs
                    thread.submit(asyncio.run, watch(address, names, pages, seconds, counts)).result()
                memory.append(process_figures(server)[0])
                server_seconds += process_figures(server)[1] - before
                own_seconds += time.process_time() - own
            else:
                time.sleep(seconds)
            ends = [last_line(place / name) for name in names]
            speeds.append(sum((b[0] - a[0]) / max(b[1] - a[1], 1e-9) for a, b in zip(starts, ends, strict=True)))
        ratios.append(speeds[1] / speeds[0] if speeds[0] else float("nan"))
    share = server_seconds / (seconds * rounds)
    return [
        (f"{pages} pages on {len(names)} runs", f"{counts['events']} events, {counts['errors']} errors"),
        ("speed of training with pages", f"{statistics.median(ratios):.3f} of that without ({spread(ratios)})"),
        ("server", f"{server_seconds:.1f} s CPU in {seconds * rounds:.0f} s, {share:.1%} of a core"),
        ("clients", f"{own_seconds:.1f} s CPU"),
        ("memory of the server", " ".join(f"{megabytes:.0f}" for megabytes in memory) + " MB after each round"),
    ]


def spread(numbers: Sequence[float]) -> str:
    """The least and the most of some numbers."""
    return f"{min(numbers):.3f} to {max(numbers):.3f}"


def main() -> None:
    options = parser(__doc__, pages=50, runs=5, seconds=240, folders=200, rounds=6).parse_args()
    with tempfile.TemporaryDirectory() as name:
        print_table("figure", ["value"], measure(Path(name), **vars(options)))


if __name__ == "__main__":
    main()
