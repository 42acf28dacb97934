"""`ganvas doctor --machine`: what a run has on this machine, and whether it can be computed and written here."""

import errno
import platform
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from .. import __version__
from ..data.memory import available_memory, format_bytes
from ..errors import WriteError, first_line
from ..io.atomic import atomic_write
from ..io.lock import run_lock
from ..io.parallel import CORES
from ..nn.compilation import missing_compiler
from ..nn.device import resolve_device
from ..training.measurements import processor
from ..training.tuning import missing_bfloat16

LITTLE_DISK, LITTLE_MEMORY, LONG_WRITE = 2**30, 2**30, 1.0
"""bytes free on the disk and in memory, and seconds of writing a megabyte, beyond which there is a problem"""


def check_machine(runs_dir: Path) -> tuple[dict[str, str], list[str]]:
    """What there is, in words by name, and what is wrong with it, each with a remedy; runs would be in `runs_dir`."""
    device, problems = resolve_device("auto"), list[str]()
    memory, place = available_memory(), nearest_folder(runs_dir)
    disk = shutil.disk_usage(place).free
    report = {
        "versions": f"ganvas {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        "processor": f"{processor().partition('; ')[0]}, {CORES} cores, {torch.get_num_threads()} threads",
        "device": describe_device(device),
        "memory": f"{format_bytes(memory)} free",
        "disk": f"{format_bytes(disk)} free in {place}",
        "bfloat16": missing_bfloat16(device) or "can be used: --precision auto",
        "compile": missing_compiler(device) or "can be used: --compile auto",
    }
    if memory < LITTLE_MEMORY:
        problems.append(f"only {format_bytes(memory)} of memory are free: end other programs, or take a smaller batch")
    if disk < LITTLE_DISK:
        problems.append(f"only {format_bytes(disk)} of disk are free in {place}: make room, or give --runs-dir")
    if why := wrong_product(device):
        problems.append(f"{device.type} computes nothing right: {why}; train with --device cpu")
    return report, problems + writing_problems(place)


def nearest_folder(path: Path) -> Path:
    """The folder itself, or the first above it that exists."""
    path = path.resolve()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def describe_device(device: torch.device) -> str:
    """The device that --device auto is, and the GPUs there are with their memory."""
    if device.type != "cuda":
        return device.type
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return ", ".join(f"cuda:{i} {gpu.name} with {format_bytes(gpu.total_memory)}" for i, gpu in enumerate(gpus))


def wrong_product(device: torch.device) -> str:
    """Why a product of small whole numbers, which float32 holds exactly, is not right on the device; else nothing."""
    a = torch.arange(64 * 64).remainder(7).reshape(64, 64)
    try:
        product = (a.to(device, torch.float32) @ a.T.to(device, torch.float32)).cpu()
    except RuntimeError as error:
        return first_line(error)
    return "" if torch.equal(product.long(), a @ a.T) else "a product of whole numbers is wrong"


def writing_problems(place: Path) -> list[str]:
    """What keeps runs from being written in a folder, or makes that slow or unsafe."""
    problems: list[str] = []
    try:
        with TemporaryDirectory(prefix=".ganvas-", dir=place) as folder, run_lock(Path(folder), problems.extend):
            start = time.monotonic()
            with atomic_write(Path(folder, "trial")) as temporary:
                temporary.write_bytes(bytes(2**20))
            seconds = time.monotonic() - start
    except OSError as error:
        return [str(WriteError(error.errno or errno.EIO, error.strerror or str(error), str(place)))]
    if seconds > LONG_WRITE:
        problems.append(f"writing a megabyte in {place} takes {seconds:.1f} s: use --runs-dir elsewhere")
    return [problem.replace(folder, str(place)) for problem in problems]
