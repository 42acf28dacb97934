"""Several processes that train together on the loopback, and what they are compared with.

`python -m tests.support.ranks FILE`, as a rank, trains every case for a few steps and writes what came out.
"""

import math
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ganvas.config import TrainConfig
from ganvas.data import Data, from_array
from ganvas.errors import UserError
from ganvas.model import Batch, Model, Move
from ganvas.models import MODELS
from ganvas.models._gan import Adversarial
from ganvas.models.autoencoder import Autoencoder
from ganvas.randomness import derive_seed
from ganvas.ranks import rank
from ganvas.training import loop
from ganvas.training.distributed import check_equal, full_tensor, is_main, join_ranks, shard
from ganvas.training.loop import initialize_state, train
from tests.support.data import as_pair, image_collection
from tests.support.models import IMAGE_MODELS, small

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"OMP_NUM_THREADS": "1"}
"""that of a process of one thread, which keeps the byte code of what it imports: Python compiles it once"""
GANVAS = [sys.executable, "-m", "ganvas"]
BATCH, START, STEPS = 8, 300, 2
"""a rank's batch; steps that count as done, so that G's best fakes are fewer than all; steps that are done, since in a
third of cyclegan rounding turns a sign in an L1 loss"""
CASES: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in IMAGE_MODELS} | {
    "vae: free bits": ("vae", {"free_bits": 0.3}),
    "vae: capacity": ("vae", {"capacity": 2.0}),
    "vae: geco": ("vae", {"geco": 0.3}),
    "vae: optimal sigma": ("vae", {"sigma": "optimal"}),
    "vae: vamp": ("vae", {"prior": "vamp", "pseudo_inputs": 5}),
    "vae: bits": ("vae", {"likelihood": "bernoulli", "binarize": "dynamic", "posterior": "iaf"}),
    "laddervae: free bits": ("laddervae", {"free_bits": 0.3}),
    "gan: top k": ("gan", {"top_k": 0.5, "loss": "relativistic", "pack": 1}),
    "gan: pack": ("gan", {"pack": 2}),
    "dcgan: layer norm": ("dcgan", {"norm": "layer", "norm_d": "layer"}),
    "dcgan: spectral norm": ("dcgan", {"spectral_norm": True}),
    "dcgan: penalties": ("dcgan", {"r1": 1.0, "gp": 2.0, "augment": ("color", "translation", "cutout")}),
    "dcgan: adaptive": ("dcgan", {"augment": ("color", "flip"), "augment_target": 0.3, "augment_span": 50}),
    "discogan: features": ("discogan", {"feature_matching_weight": 3.0}),
    "cut": ("cut", {"eps": 10.0}),
}  # fmt: skip
"""models, of which none has batch norm or a pool: what each rank has of its own"""


def case_model(name: str) -> Model:
    """The model; its Adam has a large epsilon, or it would turn the rounding of small gradients into steps.

    That of cut is larger still: its features are small, and made of length 1, so their gradients are large.
    """
    model, fields = CASES[name]
    plain = {"norm": "none", "norm_d": "none", "pool_size": 0, "lr": 0.01, "eps": 0.1, "initial_critic_steps": 1}
    return small(MODELS[model], **{"depth": 1} | plain | fields)


def case_data(name: str) -> Data:
    """Images; vectors where the convolutional networks would have batch norm."""
    images = image_collection()
    if CASES[name][0] != "discogan":
        return as_pair(images) if case_model(name).n_domains == 2 else images
    return as_pair(from_array(np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32), name="vectors"))


def n_steps(name: str, fsdp: bool) -> int:
    """Steps that are done: sharded weights have another memory layout, so another rounding."""
    return 1 if fsdp and name == "cyclegan" else STEPS


def train_case(name: str, batch: int, fsdp: bool = False) -> dict[str, Tensor]:
    """The weights after a few steps, and the loss terms of all; as with `fsdp`, which shards where there are ranks."""
    model, data = case_model(name), case_data(name)
    state = initialize_state(model, data.shape, 0, torch.device("cpu"), len(data.classes))
    state.step = START
    config = TrainConfig(steps=START + n_steps(name, fsdp), batch_size=batch, clip_grad_norm=5.0, fsdp=fsdp)
    shard(config, torch.device("cpu"), state.nets, state.ema_nets)
    for _ in train(model, data, config, state):
        pass
    state.meter.fetch()
    values = {f"{name}/terms/{term}": torch.tensor(values) for term, values in state.meter.values.items()}
    tensors = {f"nets/{key}": tensor for key, tensor in state.nets.state_dict().items()}
    tensors |= {f"ema/{key}": tensor for key, tensor in state.ema_nets.state_dict().items()}
    return values | {f"{name}/{key}": full_tensor(tensor).detach() for key, tensor in tensors.items()}


class Flawed(Autoencoder):
    """An autoencoder whose gradient is infinite on rank 1 in one step."""

    def step(self, batches: Iterator[Batch], global_step: int, **networks: nn.Module) -> Iterator[Move]:
        for move in super().step(batches, global_step, **networks):
            factor = math.inf if rank() == 1 and global_step == 0 else 1.0
            yield move._replace(terms={name: factor * term for name, term in move.terms.items()})


def check_skips(fsdp: bool) -> None:
    """AssertionError unless each rank skips the step whose gradient is infinite on one, and no other."""
    data, config = image_collection(), TrainConfig(steps=2, batch_size=BATCH, fsdp=fsdp)
    state = initialize_state(Flawed(width=4, latent=2), data.shape, 0, torch.device("cpu"))
    shard(config, torch.device("cpu"), state.nets, state.ema_nets)
    before = [full_tensor(p).clone() for p in state.nets.parameters()]
    steps = train(Flawed(width=4, latent=2), data, config, state)
    for has_skipped in (True, False):
        next(steps)
        now = [full_tensor(p) for p in state.nets.parameters()]
        assert all(map(torch.equal, before, now)) == has_skipped
        assert all(tensor.isfinite().all() for tensor in now)
    assert [bool(skip) for _, skip in state.meter.pending[loop.SKIPPED]] == [True, False]
    check_equal({str(i): full_tensor(p).detach() for i, p in enumerate(state.nets.parameters())}, 2)


class RankDraws(TorchFunctionMode):
    """The random numbers of one rank with a batch twice as large: those that two ranks draw, one after the other."""

    RANDOM: tuple[Callable[..., Tensor], ...] = (
        torch.rand, torch.randn, torch.randint, torch.bernoulli, torch.randn_like, torch.rand_like,
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.states: list[Tensor] = []

    def reseed(self, device: torch.device, *key: int | str) -> None:
        """In place of `randomness.reseed`: of a step, whose key is (seed, rank, step), one generator a rank."""
        is_step = len(key) == 3
        keys = [(key[0], r, key[2]) if is_step else key for r in range(2)]
        states = [torch.Generator().manual_seed(derive_seed(*key)).get_state() for key in keys]
        torch.default_generator.set_state(states[0])
        self.states = states if is_step else []

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in self.RANDOM or not self.states:
            return func(*args, **kwargs)
        parts = []
        for r in range(2):
            torch.default_generator.set_state(self.states[r])
            parts.append(func(*(self.part(arg, r) for arg in args), **kwargs))
            self.states[r] = torch.default_generator.get_state()
        (dimension,) = (i for i, n in enumerate(parts[0].shape) if n == BATCH)
        return torch.cat(parts, dimension)

    def part(self, argument: Any, r: int) -> Any:
        """A rank's part of an argument: of a size, or of a tensor."""
        if isinstance(argument, Tensor):
            (dimension,) = (i for i, n in enumerate(argument.shape) if n == 2 * BATCH)
            return argument.chunk(2, dimension)[r]
        if isinstance(argument, tuple):
            return tuple(self.part(n, r) for n in argument)
        return BATCH if argument == 2 * BATCH else argument


@contextmanager
def draws_of_two_ranks() -> Iterator[None]:
    """A context in which the steps of one process draw what those of two ranks do."""
    draws = RankDraws()
    with pytest.MonkeyPatch.context() as patch, draws:
        patch.setattr(loop, "reseed", draws.reseed)
        yield


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    """A command, such as one of ganvas with its own ranks, and what it printed."""
    return subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=100)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def start_ranks(words: Sequence[str], n: int = 2, **options: Any) -> list[subprocess.Popen[str]]:
    """`python WORDS` in n processes that are told what torchrun would tell them."""
    shared = {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    shared["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return [
        subprocess.Popen(
            [sys.executable, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=ENVIRONMENT | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, **options,
        )
        for rank in range(n)
    ]  # fmt: skip


def wait_for(processes: list[subprocess.Popen[str]], seconds: float = 100) -> list[tuple[int, str, str]]:
    """The exit code, stdout and stderr of each."""
    try:
        outputs = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def main(file: str) -> None:
    join_ranks("cpu")
    results: dict[str, Tensor] = {}
    for name in CASES:
        results |= train_case(name, BATCH)
        results |= {f"fsdp/{key}": tensor for key, tensor in train_case(name, BATCH, fsdp=True).items()}
    for fsdp in (False, True):
        check_skips(fsdp)
    with pytest.MonkeyPatch.context() as patch:  # last, since an error within a step leaves FSDP2 in no known state
        move = Adversarial.discriminator_move
        patch.setattr(Adversarial, "discriminator_move", lambda *a, **k: move(*a, **k)._replace(second_order=False))
        with pytest.raises(UserError, match="its move must have second_order=True"):
            train_case("wgangp", BATCH, fsdp=True)
    if is_main():
        save_file({key: tensor.contiguous() for key, tensor in results.items()}, file)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
