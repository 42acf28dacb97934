"""Each switch of speed against the usual way: a step's time, what it changes in losses and weights, and memory.

    python3 dev.py run python benchmarks/switches.py [--only dcgan] [--rounds 5] [--steps 20]

Each way of computing is a process of its own, and they work in turns, one at a time, after the first steps, which begin
with the same weights: ms a step are medians over rounds, memory is the most that the process ever held.  Differences
are the largest one of a loss term, as a share of that term's largest value, in the first move and over all of the first
steps, and the largest one of a weight after them, as a share of the network's largest.  Where a switch changes rounding
alone they begin with its precision, and training makes them grow.  The floor, the least time that the machine needs for
the step, is that of the usual way.
"""

import argparse
import io
import os
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from socket import create_server
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import ganvas  # before torch: it sets how torch's threads wait

import numpy as np
import torch
from PIL import Image

from ganvas.config import TrainConfig
from ganvas.data import Data, DataOptions, DomainPair, from_array, load_or_stream
from ganvas.errors import UserError, first_line
from ganvas.model import Model
from ganvas.nn.compilation import missing_compiler
from ganvas.nn.conv import set_memory_format
from ganvas.nn.device import resolve_device, synchronize
from ganvas.training import loop
from ganvas.training.batched import BatchedPlayer
from ganvas.training.distributed import join_ranks
from ganvas.training.loop import StepPlayer, TrainState, initialize_state, open_stream
from _support import floor, parser, print_table

ROUND_SECONDS, MAX_ROUND_STEPS = 0.2, 100
"""how long each way works in a round, about, and the steps that it does at most"""
EXAMPLES, SEEDS = 256, 4
PRELOADED = ["ganvas.training.loop", "ganvas.training.batched", "torch._dynamo"]
"""what each process would import; the first optimiser imports the last"""
USUAL, IN_TURNS = "as usual", f"{SEEDS} seeds in turns"


class Case(NamedTuple):
    """A model, the shape of its images (h, w, c), and how many are in a batch."""

    model: Model
    shape: tuple[int, int, int]
    batch: int


CASES = {
    "vae": Case(ganvas.VAE(net="mlp", latent=20), (28, 28, 1), 100),
    "dcgan": Case(ganvas.DCGAN(width=16), (32, 32, 3), 32),
    "wgangp": Case(ganvas.WGANGP(width=16), (32, 32, 3), 16),
    "cyclegan": Case(ganvas.CycleGAN(width=8, blocks=2), (32, 32, 3), 2),
}


class Way(NamedTuple):
    """What is not as usual in how steps are computed."""

    config: dict[str, Any] = {}  # noqa: RUF012  a constant
    """options of training"""
    reference: str = USUAL
    """the way that it is compared with"""
    threads: int | None = None
    channels_last: bool = True
    retains_memory: bool = True
    streams: bool = False
    ranks: int = 1
    seeds: int = 1
    stacks: bool = False


WAYS = {
    USUAL: Way(),
    "--precision bfloat16": Way({"precision": "bfloat16"}),
    "--compile on": Way({"compile": "on"}),
    "--graph off": Way({"graph": "off"}),
    "--tf32": Way({"tf32": True}),
    "--stream always": Way(streams=True),
    "--devices 2": Way(ranks=2),
    "one thread": Way(threads=1),
    "channels first": Way(channels_last=False),
    "freed memory given back": Way(retains_memory=False),
    IN_TURNS: Way(seeds=SEEDS),
    f"--seeds {SEEDS}, stacked": Way(seeds=SEEDS, stacks=True, reference=IN_TURNS),
}
NOTES = {"--devices 2": "each rank draws noise, batch statistics and past fakes of its own"}


class Outcome(NamedTuple):
    """The first steps of a way, and how long the first of all took."""

    losses: dict[str, np.ndarray]
    weights: dict[str, list[np.ndarray]]
    seconds: float
    first_seconds: float


class Side:
    """A way of computing, in this process."""

    def __init__(self, case: Case, way: Way, shards: Path, rank: int, port: int) -> None:
        self.device: torch.device = resolve_device("auto")
        threads = way.threads or max(1, torch.get_num_threads() // way.ranks)
        torch.set_num_threads(threads)
        if not way.retains_memory:
            loop.retain_freed_memory = lambda: None  # type: ignore[assignment]
        if way.ranks > 1:
            words = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": way.ranks, "MASTER_ADDR": "127.0.0.1"}
            os.environ.update({name: str(value) for name, value in (words | {"MASTER_PORT": port}).items()})
            join_ranks(self.device.type)
        data = load_or_stream(str(shards), DataOptions(stream="always", holdout=0.0)) if way.streams else images(case)
        config = TrainConfig(steps=10**9, batch_size=case.batch // way.ranks, **way.config)
        players = [make_player(case.model, data, config, seed, way, self.device) for seed in range(way.seeds)]
        self.players: list[StepPlayer] = players
        self.stack: BatchedPlayer | None = BatchedPlayer(players) if way.stacks else None

    def play(self, n: int) -> float:
        """Do n steps; returns their seconds."""
        start = time.perf_counter()
        for _ in range(n):
            if self.stack:
                self.stack.play()
            for player in self.players:
                if not self.stack:
                    player.play()
                player.count_step()
        synchronize(self.device)
        return time.perf_counter() - start

    def begin(self, n: int) -> Outcome:
        """Do the first n steps, which are compared."""
        first_seconds, seconds, losses, weights = self.play(1), self.play(n - 1), {}, {}
        for seed, player in enumerate(self.players):
            state = player.state
            state.meter.fetch()
            terms = {k: v for k, v in state.meter.values.items() if not k.startswith("accuracy")}  # it counts examples
            losses |= {f"{seed}/{name}": np.array(values) for name, values in terms.items()}
            for name, net in state.nets.items():
                weights[f"{seed}/{name}"] = [p.detach().cpu().numpy() for p in net.parameters()]
        return Outcome(losses, weights, first_seconds + seconds, first_seconds)

    def step_seconds(self, n: int) -> float:
        """Do n steps; returns the seconds of one."""
        seconds = self.play(n) / n
        for player in self.players:
            player.state.meter.pop_means()
        return seconds

    def peak_memory(self, _: int) -> float:
        """The most memory that this process ever held, in MiB."""
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


def images(case: Case) -> Data:
    """Noise: images of each domain."""
    parts = [from_array(pixels(case, seed), name=f"noise-{seed}") for seed in range(case.model.n_domains)]
    return DomainPair(*parts) if len(parts) > 1 else parts[0]


def pixels(case: Case, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (EXAMPLES, *case.shape), np.uint8)


def write_shards(case: Case, path: Path) -> None:
    """The images of a case, as a shard of PNGs."""
    with tarfile.open(path, "w") as tar:
        for i, image in enumerate(pixels(case)):
            Image.fromarray(image.squeeze()).save(output := io.BytesIO(), "PNG")
            info = tarfile.TarInfo(f"{i:06d}.png")
            info.size = output.tell()
            tar.addfile(info, io.BytesIO(output.getvalue()))


def make_player(model: Model, data: Data, config: TrainConfig, seed: int, way: Way, device: torch.device) -> StepPlayer:
    state: TrainState = initialize_state(model, data.shape, seed, device)
    if not way.channels_last:
        set_memory_format(state.nets, torch.contiguous_format)
    config = TrainConfig(**{**vars(config), "seed": seed})
    stream = open_stream(model, data, config, state)
    return StepPlayer(model, stream, config, state) if way.stacks else loop.make_player(model, stream, config, state)


def serve(pipe: Connection, *arguments: Any) -> None:
    """Answer what a side is asked, or say why it cannot be."""
    try:
        side = Side(*arguments)
        pipe.send("")
        while True:
            word, n = pipe.recv()
            pipe.send(getattr(side, word)(n))
    except EOFError:
        pass
    except (RuntimeError, AssertionError, UserError) as error:
        with suppress(OSError):
            pipe.send(first_line(error))


class SideApart:
    """A side in processes of its own, as many as it has ranks."""

    def __init__(self, case: Case, way: Way, shards: Path) -> None:
        context, self.pipes = get_context("forkserver"), list[Connection]()
        with create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        for rank in range(way.ranks):
            here, there = context.Pipe()
            context.Process(target=serve, args=(there, case, way, shards, rank, port), daemon=True).start()
            there.close()
            self.pipes.append(here)
        self.receive()

    def receive(self) -> list[Any]:
        answers = [pipe.recv() for pipe in self.pipes]
        if reason := next((answer for answer in answers if isinstance(answer, str) and answer), ""):
            raise RuntimeError(reason)
        return answers

    def __call__(self, word: str, n: int = 0) -> list[Any]:
        """What each rank answers."""
        for pipe in self.pipes:
            pipe.send((word, n))
        return self.receive()

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.close()


def obstacle(case: Case, name: str, way: Way, device: torch.device) -> str:
    """Why this machine, or the model, cannot do it; nothing where it can."""
    if name in ("--graph off", "--tf32") and device.type != "cuda":
        return "needs an NVIDIA GPU: no effect here"
    if "compile" in way.config and (reason := missing_compiler(device)):
        return reason
    if way.ranks > 1 and device.type == "cuda" and torch.cuda.device_count() < way.ranks:
        return "a rank needs a GPU of its own"
    if case.model.n_domains > 1 and way.stacks:
        return "translators are not stacked"
    return "a translator has both of its domains in memory" if case.model.n_domains > 1 and way.streams else ""


def largest_share(a: dict[str, Any], b: dict[str, Any], first: int | None = None) -> float:
    """The largest difference, as a share of the largest value of its name; of losses in the `first` moves alone."""

    def share(x: Any, y: Any) -> float:
        xs, ys = (v if isinstance(v, list) else [v] for v in (x, y))
        largest = max(float(np.abs(part).max()) for part in ys)
        return max(float(np.abs(p[:first] - q[:first]).max()) for p, q in zip(xs, ys, strict=True)) / max(largest, 1e-9)

    return max(share(a[name], b[name]) for name in b)


def start(case: Case, shards: Path, steps: int) -> tuple[dict[str, SideApart], dict[str, Outcome], dict[str, str]]:
    """The sides that work, their first steps, and why the others do not."""
    sides, outcomes, reasons = dict[str, SideApart](), dict[str, Outcome](), dict[str, str]()
    for name, way in WAYS.items():
        if reason := obstacle(case, name, way, resolve_device("auto")):
            reasons[name] = reason
            continue
        try:
            sides[name] = SideApart(case, way, shards)
            outcomes[name] = sides[name]("begin", steps)[0]
        except (RuntimeError, EOFError) as error:
            sides.pop(name, None)
            reasons[name] = first_line(error) or "its process died"
    return sides, outcomes, reasons


def compare(case: Case, options: argparse.Namespace, shards: Path) -> Iterator[list[str]]:
    """The rows of a case's table."""
    sides, outcomes, reasons = start(case, shards, options.steps)
    warm = {name: (o.seconds - o.first_seconds) / (options.steps - 1) for name, o in outcomes.items()}
    n_steps = {name: min(MAX_ROUND_STEPS, max(1, round(ROUND_SECONDS / warm[name]))) for name in sides}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, side in sides.items():
            times[name].append(max(side("step_seconds", n_steps[name])))
    for name, way in WAYS.items():
        if name in reasons:
            yield [name, *"------", reasons[name]]
            continue
        seconds, outcome = median(times[name]), outcomes[name]
        row, note = [f"{1e3 * seconds:.2f}", "", "", "", ""], NOTES.get(name, "")
        if name == USUAL:
            least = floor(case.model, images(case), case.batch, resolve_device("auto"))
            note = f"floor {1e3 * least:.2f} ms, {least / seconds:.0%}"
        if name not in (USUAL, IN_TURNS):
            usual, reference = median(times[way.reference]), outcomes[way.reference]
            shares = [largest_share(outcome.losses, reference.losses, first) for first in (1, None)]
            shares.append(largest_share(outcome.weights, reference.weights))
            row[1:] = [f"{usual / seconds:.2f}", *(f"{share:.0e}" if share else "0" for share in shares)]
            if "compile" in way.config:
                compile_seconds = outcome.first_seconds
                note = f"compiled in {compile_seconds:.0f} s, {break_even(compile_seconds, usual - seconds)}"
        yield [name, *row, f"{sum(sides[name]('peak_memory')):.0f}", note]
    for side in sides.values():
        side.close()


def break_even(seconds: float, saving: float) -> str:
    """After how many steps, each of which saves so much, the seconds to compile are back."""
    return f"even after {seconds / saving:,.0f} steps" if saving > 0 else "never even"


def main() -> None:
    words = parser(__doc__, rounds=5, steps=20)
    words.add_argument("--only", choices=CASES)
    options = words.parse_args()
    get_context("forkserver").set_forkserver_preload(PRELOADED)
    print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}; differences are shares of the largest value, "
        f"after the same beginning: of losses in the first move, and over {options.steps} steps, and of weights then"
    )
    heads = ["ms", "times as fast", "first losses", f"losses, {options.steps} steps", "weights", "MiB", ""]
    for name, parts in CASES.items():
        case = Case(*parts)
        if options.only in (None, name):
            with TemporaryDirectory() as folder:
                write_shards(case, shards := Path(folder) / "noise.tar")
                title = f"{name} {case.shape[0]} px, batch {case.batch}"
                print_table(title, heads, list(compare(case, options, shards)))


if __name__ == "__main__":
    main()
