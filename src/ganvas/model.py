"""What a model is: hyper-parameters, networks, and one training step written as its equations.

A training step of every system is a short list of *moves*: these networks descend this loss, all
else stands still.  A model's `step` is a coroutine that yields its moves; the trainer plays each
one, then resumes the step.  So `k` discriminator updates are a `for` in the model's own file, and
the loop that trains knows nothing of GANs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import fields
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Shape = tuple[int, ...]
"""Shape of one example: (channels, height, width) of an image, or (dimensions,) of a vector."""

Rate = Annotated[float, Field(ge=0, lt=1)]
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


class Batch(NamedTuple):
    """`b` examples, scaled to the model's `span`, with their labels when the collection has any."""

    x: Float[Tensor, "b *shape"]
    y: Int64[Tensor, " b"] | None

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.x.to(device), None if self.y is None else self.y.to(device))


class Move(NamedTuple):
    """One gradient step: `networks` descend the sum of `terms`; everything else stands still."""

    networks: tuple[nn.Module, ...]
    terms: dict[str, Float[Tensor, ""]]

    @property
    def loss(self) -> Float[Tensor, ""]:
        return reduce(torch.add, self.terms.values())


def minimize(*networks: nn.Module, **terms: Float[Tensor, ""]) -> Move:
    """The move in which `networks` descend the sum of the named `terms`."""
    return Move(networks, terms)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Model(ABC):
    """A generative model.  Its fields are its hyper-parameters; its `step` is its algorithm.

    A model holds no weights.  `networks` makes them, and whoever runs the model passes them back
    by name; so a model can be printed, compared, stored as JSON and turned into a command line.
    """

    kept: ClassVar[tuple[str, ...]]
    """networks wanted after training; the others are scaffolding"""
    span: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    """the interval to which pixels 0..255 are mapped before the model sees them"""

    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Adam's learning rate"""
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    """Adam's decay rates"""

    def check(self, data: Any) -> None:  # noqa: B027
        """UserError where this model cannot learn from the collection `data`."""

    @abstractmethod
    def networks(self, shape: Shape) -> dict[str, nn.Module]:
        """Freshly initialised networks for examples of this shape."""

    @abstractmethod
    def step(self, batches: Iterator[Batch], *args: Any, **networks: Any) -> Iterator[Move]:
        """`step(batches, **networks)`: one training step, as the moves it consists of.

        Each move is played before the step resumes: code after a `yield` sees updated weights.
        """

    @abstractmethod
    def preview(self, batch: Batch, *args: Any, **kept: Any) -> Float[Tensor, "rows columns *shape"]:
        """`preview(batch, **kept)`: examples, in rows, that show how training goes."""

    def optimizer(self, *networks: nn.Module) -> Optimizer:
        """Adam (Kingma & Ba, arXiv:1412.6980) for networks that move together: one call of PyTorch's fused kernel."""
        fused = device_of(networks[0]).type in ("cpu", "cuda")
        parameters = [p for network in networks for p in network.parameters()]
        return Adam(parameters, lr=self.lr, betas=self.betas, fused=fused)


@runtime_checkable
class Samples(Protocol):
    """A model that draws examples from nothing but noise."""

    def noise(self, n: int, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """`n` latent codes z."""

    def generate(self, z: Float[Tensor, "n d"], *args: Any, **kept: Any) -> Float[Tensor, "n *shape"]:
        """The examples for the codes z, in the model's `span`."""


@runtime_checkable
class Encodes(Protocol):
    """A model that maps examples to latent codes."""

    def encode(self, x: Float[Tensor, "n *shape"], *args: Any, **kept: Any) -> Float[Tensor, "n d"]:
        """The codes of examples in the model's `span`; the mean where the code is a distribution."""


@runtime_checkable
class DrawsCodes(Protocol):
    """A model that maps an example to a distribution of codes."""

    def draw_codes(self, x: Float[Tensor, "n *shape"], *args: Any, **kept: Any) -> Float[Tensor, "n d"]:
        """One code of each example, drawn from its distribution: together, a sample of the aggregate posterior."""


def device_of(network: nn.Module) -> torch.device:
    """The device on which a network's parameters are."""
    return next(network.parameters()).device


def name_of(model: Model) -> str:
    """The model's name on the command line and in files: its class's, in lower case."""
    return type(model).__name__.lower()


def plain(settings: "DataclassInstance") -> dict[str, Any]:
    """The fields of a model, a plan or a view, as plain values that go into JSON."""
    return {f.name: getattr(settings, f.name) for f in fields(settings)}
