"""A step never waits for the device: nothing in it asks for a number, or for as many results as there happen to be.

On a GPU each such question stops Python until all work is done, and it cannot be recorded in a CUDA graph.  The
operations that ask are the same on a CPU, where they are caught as they are dispatched.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from ganvas.config import TrainConfig
from ganvas.data import Dataset, fit_scaling, make_stream
from ganvas.model import Model
from ganvas.models import MODELS
from ganvas.training.cuda_graph import GraphPlayer
from ganvas.training.loop import StepPlayer, initialize_state
from tests.support.data import learnt_by
from tests.support.models import every_model, every_model_and_ctgan, small

CPU = torch.device("cpu")
QUESTIONS = {"_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select", "_unique2", "bincount"}


class NoWaiting(TorchDispatchMode):
    """Fails at an operation whose result Python, or the size of its result, waits for."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        has_mask = name in ("index", "index_put", "index_put_") and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        assert name not in QUESTIONS, f"{name} waits for the device"
        assert not has_mask, f"{name} with a mask waits for the device"
        return function(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing runs in other threads, which the mode would not see; one_hot asks on a CPU whether labels are valid."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def one_hot(y: Tensor, classes: int) -> Tensor:
        return (y[:, None] == torch.arange(classes)).long()

    monkeypatch.setattr("ganvas.nn.one_hot", one_hot)
    yield
    torch.set_num_threads(threads)


def play(model: Model, data: Any, player_class: type[StepPlayer] = StepPlayer) -> None:
    """Two steps, of which neither may wait."""
    state = initialize_state(model, data.shape, 0, CPU, len(data.classes))
    stream = make_stream(data, fit_scaling(data, model), batch=8, seed=0, device=CPU)
    if model.tables_only:
        stream.indices_at(0)  # the order of an epoch is drawn on the host
    player = player_class(model, stream, TrainConfig(steps=2, batch_size=8, clip_grad_norm=1.0), state)
    for step in range(2):
        state.step = step
        with NoWaiting():
            player.play()
    assert state.meter.pending


@every_model_and_ctgan
def test_no_step_waits(cls: type[Model], images: Dataset) -> None:
    play(small(cls), learnt_by(cls, images))


@every_model_and_ctgan
def test_what_a_graph_is_recorded_of_does_not_wait(cls: type[Model], images: Dataset) -> None:
    """RMSprop reads the learning rate from its buffer on a GPU alone; on a CPU it asks for the number."""
    if cls.__name__ != "WGAN":
        play(small(cls), learnt_by(cls, images), GraphPlayer)


@every_model
def test_no_step_on_vectors_waits(cls: type[Model], vectors: Dataset) -> None:
    if cls.__name__ in ("DCGAN", "CGAN", "CUT"):
        pytest.skip("needs images, or labels")
    play(small(cls), learnt_by(cls, vectors))


OPTIONS = [
    ("gan", {"top_k": 0.5, "gp": 1.0, "dropout": 0.5, "pack": 2}), ("gan", {"spectral_norm": True}),
    ("gan", {"loss": "relativistic", "top_k": 0.5, "r1": 1.0, "r2": 1.0, "activation_d": "maxout"}),
    ("dcgan", {"augment": "color,translation,cutout,flip", "norm_d": "layer", "gp": 1.0}),
    ("dcgan", {"augment": "color,flip", "augment_target": 0.6}),
    ("cgan", {"conditioning": "concatenation"}), ("cgan", {"conditioning": "projection", "spectral_norm": True}),
    ("vae", {"posterior": "full"}), ("vae", {"posterior": "low-rank"}), ("vae", {"posterior": "iaf"}),
    ("vae", {"prior": "vamp", "pseudo_inputs": 5}), ("vae", {"geco": 0.1}), ("vae", {"sigma": "optimal"}),
    ("vae", {"sigma": "learned", "free_bits": 0.1, "warmup": 5}), ("vae", {"likelihood": "continuous-bernoulli"}),
    ("vae", {"likelihood": "discretized-logistic"}), ("vae", {"likelihood": "bernoulli", "binarize": "dynamic"}),
    ("vae", {"conditional": True, "net": "spatial"}), ("iwae", {"gradient_estimator": "doubly-reparameterized"}),
    ("discogan", {"feature_matching_weight": 1.0, "reconstruction_loss": "cosine"}), ("discogan", {"residual": True}),
    ("discogan", {"reconstruct": "one", "latent": 5, "reconstruction_loss": "hinge"}), ("cyclegan", {"residual": True}),
    ("cut", {"identity_weight": 0.0, "patches": 5}), ("cut", {"residual": True}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields"), OPTIONS, ids=[f"{name}-{'-'.join(fields)}" for name, fields in OPTIONS])
def test_no_option_makes_a_step_wait(name: str, fields: dict[str, Any], images: Dataset) -> None:
    play(small(MODELS[name], **fields), learnt_by(MODELS[name], images))


def test_a_question_is_caught() -> None:
    x = torch.ones(3)
    for question in (lambda: bool(x.sum() > 0), lambda: x[x > 0], x.nonzero, lambda: x.max().item()):
        with NoWaiting(), pytest.raises(AssertionError, match="waits for the device"):
            question()
    with NoWaiting():
        functional.relu(nn.Linear(3, 2)(x))
