"""What a model is: hyper-parameters, networks, and one training step written as its equations.

A training step of every system is a short list of *moves*: these networks descend this loss, all else stands still.
A model's `step` is a coroutine that yields its moves; the trainer plays each one, then resumes the step.  So `k`
discriminator updates are a `for` in the model's own file, and the loop that trains knows nothing of GANs.
"""

from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Set
from dataclasses import fields
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import TypeVar

from .config import TrainConfig
from .fields import STRICT, Fraction, Positive, ValidatedMeta
from .optimizers import Adam
from .rules import Rule, general_rules

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Shape = tuple[int, ...]
"""Shape of one example: (channels, height, width) of an image, or (dimensions,) of a vector; of a signal (channels,
length), of a volume (channels, depth, height, width)."""
KINDS = {1: "vector", 2: "signal", 3: "image", 4: "volume"}
"""what examples are, by the number of their axes"""


def kind_of(shape: Shape) -> str:
    """What an example of this shape is."""
    return KINDS[len(shape)]


class Batch(NamedTuple):
    """`b` examples as the model sees them (see `data.Scaling`), with their labels when the data have any."""

    x: Float[Tensor, "b *shape"]
    y: Int64[Tensor, " b"] | None = None
    dataset_size: int = 0
    """examples in the data set that they come from"""

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.x.to(device), None if self.y is None else self.y.to(device), self.dataset_size)

    def first(self, n: int) -> "Batch":
        """The first n of the examples."""
        return Batch(self.x[:n], None if self.y is None else self.y[:n], self.dataset_size)


class PairBatch(NamedTuple):
    """A batch from each of two unpaired data sets, the domains A and B."""

    a: Batch
    b: Batch

    def to(self, device: torch.device) -> "PairBatch":
        return PairBatch(self.a.to(device), self.b.to(device))

    def first(self, n: int) -> "PairBatch":
        return PairBatch(self.a.first(n), self.b.first(n))


class Schedule(NamedTuple):
    """What a model changes of how it is trained, in a step."""

    lr_factor: float = 1.0
    """factor of the learning rates"""
    beta_2: float | None = None
    """decay rate of Adam's second moment, if not that of `betas`"""
    ema_share: float = 1.0
    """half-life of the averaged weights, a share of that of `ema_decay`"""
    penalty_factor: float = 1.0
    """factor of the weights of penalties on D's gradient"""


class Move(NamedTuple):
    """One gradient step: `networks` descend the sum of `terms`; everything else stands still."""

    networks: tuple[nn.Module, ...]
    terms: dict[str, Float[Tensor, ""]]
    logged: dict[str, Float[Tensor, ""]] = {}  # noqa: RUF012
    """what else the log keeps"""
    independent_losses: tuple[Float[Tensor, ""], ...] | None = None
    """two losses with the terms' sum, that share nothing but the networks' weights: differentiated at the same time"""
    second_order: bool = False
    """whether the terms hold a gradient, as a penalty on it does, which is then differentiated once more"""

    @property
    def loss(self) -> Float[Tensor, ""]:
        return reduce(torch.add, self.terms.values())


def minimize_independent(networks: tuple[nn.Module, ...], *parts: dict[str, Float[Tensor, ""]]) -> Move:
    """The move in which `networks` descend the sum of terms of parts that share nothing but the networks' weights."""
    names = dict.fromkeys(name for part in parts for name in part)
    terms = {name: reduce(torch.add, [part[name] for part in parts if name in part]) for name in names}
    losses = tuple(reduce(torch.add, part.values()) for part in parts)
    return Move(networks, terms, independent_losses=losses if len(losses) == 2 else None)


def minimize(*networks: nn.Module, **terms: Float[Tensor, ""]) -> Move:
    """The move in which `networks` descend the sum of the named `terms`."""
    return Move(networks, terms)


Batches = Iterator[Batch]
PairBatches = Iterator[PairBatch]
Moves = Iterator[Move]
DataT = TypeVar("DataT", default=Any)  # what a model learns from: a Dataset, or for a translator a DomainPair
BatchT = TypeVar("BatchT", default=Any)  # a Batch of it, or a PairBatch
ShapeT = TypeVar("ShapeT", default=Any)  # the Shape of its examples, or (Shape, Shape)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Model(Generic[DataT, BatchT, ShapeT], metaclass=ValidatedMeta):
    """A generative model.  Its fields are its hyper-parameters; its `step` is its algorithm.

    A model holds no weights.  `networks` makes them, and whoever runs the model passes them back by name; so a model
    can be printed, compared, stored as JSON and turned into a command line.
    """

    training_only: ClassVar[tuple[str, ...]] = ()
    """networks that only training needs: no averages of them are kept"""
    keep_best_checkpoint: ClassVar[bool] = False
    """whether its best weights may come long before its last: a run then keeps the best"""
    logged_statistics: ClassVar[tuple[str, ...]] = ()
    """what its moves let the log see besides their terms"""
    own_network_names: ClassVar[tuple[str, ...]] = ()
    """arguments that take networks of the user's own: see `models._own`"""
    own_networks: ClassVar[Mapping[str, nn.Module]] = {}
    """these networks, by argument"""
    n_domains: ClassVar[int] = 1
    """data sets that it learns from: 1, or 2 for a translator"""
    tables_only: ClassVar[bool] = False
    """whether it learns the rows of tables, and nothing else"""
    monitor_batch_size: ClassVar[int] = 128
    """examples that `monitor` is given"""
    ignored_options: ClassVar[tuple[str, ...]] = ("keep",)
    """options, of its own or of training, that have no effect on it"""
    takes_step_tensor: ClassVar[bool] = False
    """whether `step` also takes global_step as a tensor, float64: it then need not tell steps apart by `step_key`"""
    default_training: ClassVar[TrainConfig] = TrainConfig()
    """how it is trained where the user says nothing else"""
    fixed_options: ClassVar[dict[str, object]] = {}
    """options that kindred models have, and what this one's paper fixes them to"""
    given: ClassVar[frozenset[str]] = frozenset()
    """the fields that somebody gave a value"""
    chosen_options: ClassVar[Set[str]] = frozenset()
    """the options of its own and of training for which `defaults_for` may have values"""
    replacements: ClassVar[Mapping[str, Set[str]]] = {}
    """by option, others that take its place: where one is given, a run does not take it over from `init_from`"""
    schedule_option: ClassVar[str] = ""
    """the option that says for how many steps `schedule` changes something"""
    condition_numbers: ClassVar[int] = 0
    """numbers at the end of a code that are a condition, which a walk holds, and no noise"""
    pixel_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    """the interval to which pixels 0..255 are mapped before the model sees them; vectors are standardised"""

    lr: Positive = 1e-3
    """Adam's learning rate"""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Adam's decay rates"""
    eps: Positive = 1e-8
    """epsilon of the optimizer"""

    def __post_init__(self, *own_networks: nn.Module | None) -> None:
        given = dict(zip(self.own_network_names, own_networks, strict=True))
        networks = {name: net for name, net in given.items() if net is not None}
        for name, value in {**given, "own_networks": networks}.items():
            object.__setattr__(self, name, value)  # no field: neither an option nor stored

    @property
    def is_conditional(self) -> bool:
        """Whether its networks are given the labels of examples."""
        return False

    def condition_of(self, batch: Batch) -> tuple[Tensor, ...]:
        """What its networks are given besides the examples of a batch, or their codes: labels, if it is conditional."""
        return (batch.y,) if self.is_conditional and batch.y is not None else ()

    @property
    def uses_standardization(self) -> bool:
        """Whether it sees vectors with mean 0 and deviation 1 in each column, whatever their units."""
        return True

    @property
    def has_normal_prior(self) -> bool:
        """Whether N(0, I) is the distribution that its codes are meant to have."""
        return True

    def to_normal(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Codes as those of N(0, I) at the same quantiles of the prior; as they are unless that is uniform."""
        return z

    def from_normal(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The inverse of `to_normal`."""
        return z

    def validate_data(self, data: DataT) -> None:
        """UserError where this model cannot learn from `data`."""

    def validate_batch_size(self, batch: int, shape: ShapeT) -> None:
        """UserError where this model cannot be trained well with batches of so many examples of this shape."""

    def defaults_for(self, data: DataT, given: Set[str]) -> dict[str, Any]:
        """Values that go well with these data, of options of its own and of training, for those that are not `given`.

        Without any, defaults are the paper's.  They are those of the class that defines this: a subclass of the user's
        own has none unless it does so itself.
        """
        return {}

    def unused_options(self, shape: ShapeT) -> dict[str, str]:
        """Options that have no effect on examples of this shape, or beside the others: each with where, in words."""
        return {}

    def preprocess(self, data: DataT, *, deterministic: bool = False) -> DataT:
        """The data as this model learns them; `deterministic` fixes what it would draw anew at each use."""
        return data

    @abstractmethod
    def networks(self, shape: ShapeT, classes: int = 0) -> dict[str, nn.Module]:
        """Freshly initialised networks for examples of this shape, labelled with so many classes."""

    @abstractmethod
    def step(self, batches: Iterator[BatchT], global_step: int, *args: Any, **networks: Any) -> Moves:
        """`step(batches, global_step, **networks)`: the training step after so many others, as its moves.

        `batches` are endless.  Each move is played before the step resumes: code after a `yield` sees updated weights.
        """

    def step_key(self, global_step: int, batch_size: int, dataset_size: int) -> Hashable | None:
        """What tells the step after so many others from the rest: steps of one key compute the same.

        That is, they draw as many batches and do the same with the same numbers of Python's; the batches, the learning
        rates, what `step` draws, and global_step as a tensor may differ.  A GPU then plays them all as a single CUDA
        graph.  None: no other step is like this one.  All are alike here, but nobody takes that for granted of a class
        of your own, which therefore has to define this itself.
        """
        return ()

    @abstractmethod
    def preview(self, batch: BatchT, *args: Any, **networks: Any) -> Float[Tensor, "rows columns *shape"]:
        """`preview(batch, **networks)`: examples, in rows, that show how training goes."""

    def monitor(self, batch: BatchT, *args: Any, **networks: Any) -> dict[str, Tensor]:
        """How the codes of a batch are used, for log and diagnosis, by names as in `LikelihoodModel.monitor`."""
        return {}

    def discriminator_statistics(self, batch: BatchT, *args: Any, **networks: Any) -> dict[str, float]:
        """What only the networks in training, here in evaluation mode, can tell of a batch."""
        return {}

    def rules(self, config: TrainConfig) -> Iterator[Rule]:
        """What may go wrong with a run of it that is trained so: figures of the log, their limits and remedies."""
        return general_rules(self, config)

    def estimates(self, terms: dict[str, float]) -> dict[str, float]:
        """What follows from the means of the loss terms, by name, for the log."""
        return {}

    def learning_rate(self, name: str) -> float:
        """Learning rate of the networks of this name, "encoder+decoder" where several move together."""
        return self.lr

    def schedule(self, global_step: int) -> Schedule:
        """What the step after so many others changes of how the model is trained; steps that differ need own keys."""
        return Schedule()

    def optimizer(self, *networks: nn.Module) -> Optimizer:
        """Adam (Kingma & Ba, arXiv:1412.6980) for networks that move together: one call of PyTorch's fused kernel."""
        fused = device_of(networks[0]).type in ("cpu", "cuda")
        parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
        return Adam(parameters, lr=self.lr, betas=self.betas, eps=self.eps, fused=fused)


@runtime_checkable
class GenerativeModel(Protocol):
    """A model that draws examples from nothing but noise."""

    def sample_prior(self, n: int, shape: Shape, generator: torch.Generator, **networks: Any) -> Float[Tensor, "n d"]:
        """`n` latent codes z from the model's own prior, for examples of this shape, on the CPU."""

    def generate(self, z: Float[Tensor, "n d"], *labels: Any, **networks: Any) -> Float[Tensor, "n *shape"]:
        """The examples for the codes z, as the model sees them; a conditional model's labels y follow z."""


@runtime_checkable
class EncoderModel(Protocol):
    """A model that maps examples to latent codes."""

    def encode(self, x: Float[Tensor, "n *shape"], *labels: Any, **networks: Any) -> Float[Tensor, "n d"]:
        """The codes of examples as the model sees them; the mean where the code is a distribution."""

    def sample_posterior(self, x: Float[Tensor, "n *shape"], *labels: Any, **networks: Any) -> Float[Tensor, "n d"]:
        """The codes of examples; a sample where the code is a distribution."""


@runtime_checkable
class TranslationModel(Protocol):
    """A model that maps examples of one domain to another and, mostly, back."""

    def translate(self, x: Float[Tensor, "n *shape"], to: str, **networks: Any) -> Tensor:
        """The translations of examples, as the model sees them, to domain B or A; UserError where it has no such."""

    def has_fixed_size(self, shape: Shape) -> bool:
        """Whether its network for images of this shape takes no other size."""

    def directions(self, **networks: Any) -> tuple[str, ...]:
        """The domains to which it translates: "B", and mostly "A"."""


def optional_state_keys(networks: Mapping[str, nn.Module]) -> set[str]:
    """The tensors, as "encoder.4.degrees", that networks fill in by themselves where a file has none."""
    return named_state(networks, "optional_state")


def rank_state_keys(networks: Mapping[str, nn.Module]) -> set[str]:
    """The tensors, as "DX.past.kept", of which each of several ranks has its own."""
    return named_state(networks, "rank_state")


def named_state(networks: Mapping[str, nn.Module], attribute: str) -> set[str]:
    """The full names of the tensors that this attribute of a module names."""
    return {
        f"{network}.{path}{'.' * bool(path)}{name}"
        for network, net in networks.items() for path, module in net.named_modules()
        for name in getattr(module, attribute, ())
    }  # fmt: skip


def device_of(network: nn.Module) -> torch.device:
    """The device on which a network's parameters are."""
    return next(network.parameters()).device


def chooses_defaults(cls: type[Model]) -> bool:
    """Whether models of this very class choose values; a subclass of the user's own does not inherit that."""
    return "defaults_for" in vars(cls)


def model_name(model: Model) -> str:
    """The model's name on the command line and in files: its class's, in lower case."""
    return type(model).__name__.lower()


def model_name_with_article(model: Model) -> str:
    """The same with its article: "a vae", "an autoencoder"."""
    return f"{'an' if model_name(model)[0] in 'aeiou' else 'a'} {model_name(model)}"


def to_dict(settings: "DataclassInstance") -> dict[str, Any]:
    """The fields of a model, TrainConfig or DataOptions, as plain values that go into JSON."""
    return {f.name: getattr(settings, f.name) for f in fields(settings)}
