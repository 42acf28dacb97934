"""Endless batches from a dataset that lives on the device as bytes, or on the host where it is too large for that."""

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import UserError
from ..model import Batch
from ..randomness import derive_seed
from .dataset import Dataset, T
from .host import HostBatches
from .memory import format_bytes
from .scaling import Scaling

if TYPE_CHECKING:
    from .shards import StreamedDataset

PREFETCH_NUMBERS = 2**19  # numbers that are drawn at once, if a batch has fewer


class EpochPlaces:
    """Where each batch stands: of an epoch's n places every batch has the next `world_size * batch`, a part a rank.

    Ranks have their parts in the order of their numbers; the last, incomplete batch of an epoch is left out.
    """

    def __init__(self, n: int, batch: int, position: int, rank: int, world_size: int) -> None:
        self.n: int = n
        self.batch: int = batch
        self.position: int = position
        self.rank: int = rank
        self.world_size: int = world_size
        self.batches_per_epoch: int = n // (batch * world_size)

    def __iter__(self: T) -> T:
        return self

    def first_place(self, i: int) -> int:
        """Where this rank's part of the i-th batch of an epoch begins."""
        return (i * self.world_size + self.rank) * self.batch

    def pass_batch(self) -> int:
        """The position of the next batch, which is drawn: the one behind it is then the next."""
        self.position += 1
        return self.position - 1


class Stream(EpochPlaces):
    """Endless shuffled batches, each as a model with this `scaling` sees its examples.

    Which examples make up a batch depends only on (seed, position): one integer is all that a checkpoint has to hold
    for a run to go on exactly where it stopped.  An epoch is a new permutation; its last, incomplete batch is left out.
    `balanced` draws every class equally often, in an epoch of the same length.  Data of more than `device_bytes` stay
    in the host's memory; the batches are the same.  Of several ranks each has its own part of what all of them draw, in
    the order of ranks: together they see what one would in batches `world_size` times as large.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch: int,
        seed: int,
        scaling: Scaling = Scaling(),  # noqa: B008  a constant
        device: torch.device | None = None,
        position: int = 0,
        balanced: bool = False,
        device_bytes: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        check_batches([dataset], batch, balanced, world_size)
        super().__init__(len(dataset), batch, position, rank, world_size)
        self.seed: int = seed
        self.balanced: bool = balanced
        self.host_labels: Tensor | None = dataset.labels.cpu() if dataset.labels is not None and balanced else None
        device = device or dataset.x.device
        draws_conditions = getattr(dataset, "by_conditions", False)  # its numbers say more than which rows
        is_large = device_bytes is not None and dataset.nbytes > device_bytes and not draws_conditions
        self.data: Dataset = dataset if is_large else dataset.to(device)
        self.draw_order: Callable[[torch.Generator], Tensor | None] = dataset.draw_order  # where the data were: no wait
        self.scaling: Scaling = scaling.to(device)
        host_batches = HostBatches(self.data, batch, device, self.indices_at) if is_large else None
        self.host_batches: HostBatches | None = host_batches
        self.n_drawn: int = len(host_batches.parts) if host_batches else 1
        """tensors that `draw` returns"""
        self.epoch: int = -1
        self.order: Tensor = torch.empty(0)
        self.prefetch: int = max(1, PREFETCH_NUMBERS // (batch * prod(dataset.shape)))
        self.buffer: list[Batch] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """That the data are not on the device, if they are not."""
        size = f"{self.data.name} takes {format_bytes(self.data.nbytes)}"
        where = "it stays in the host's memory, from which batches are copied while the device computes"
        return (f"{size}, more than data may take of the device's memory: {where}",) if self.host_batches else ()

    def __next__(self) -> Batch:
        if self.host_batches:
            return self.assemble(*(part.clone() for part in self.draw()))
        if not self.buffer:  # up to `prefetch` batches of the same epoch: small ones cost less together
            epoch, i = divmod(self.position, self.batches_per_epoch)
            n_batches = min(self.prefetch, self.batches_per_epoch - i)
            index = torch.cat([self.indices(epoch, i + j) for j in range(n_batches)])
            together = self.assemble(index)
            x = together.x.split(self.batch)
            labels: Sequence[Tensor | None] = [None] * len(x) if together.y is None else together.y.split(self.batch)
            self.buffer = [Batch(part, y, self.n) for part, y in zip(x, labels, strict=True)][::-1]
        self.pass_batch()
        return self.buffer.pop()

    def draw(self) -> tuple[Tensor, ...]:
        """What the next batch is made of, on the device; `assemble` makes it.

        A step that is recorded once and replayed often draws outside of the record and assembles in it.
        """
        self.buffer.clear()
        position = self.pass_batch()
        return self.host_batches.get(position) if self.host_batches else (self.indices_at(position),)

    def assemble(self, *drawn: Tensor) -> Batch:
        """The batch that is made of what `draw` returned, as the model sees it."""
        if self.host_batches:
            return Batch(self.scaling(drawn[0]), drawn[1] if len(drawn) > 1 else None, self.n)
        index, labels = self.data.labels_of(*drawn)
        return Batch(self.scaling(self.data.x.index_select(0, index)), labels, self.n)

    def indices_at(self, position: int) -> Tensor:
        """Which examples the batch at this position holds."""
        return self.indices(*divmod(position, self.batches_per_epoch))

    def indices(self, epoch: int, i: int) -> Tensor:
        """Which examples the i-th batch of an epoch holds."""
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
            order = self.balanced_order(generator) if self.balanced else self.draw_order(generator)
            order = torch.randperm(self.n, generator=generator) if order is None else order
            device = self.data.x.device
            # from pinned memory the copy does not make the step wait
            self.order = order.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else order.to(device)
            self.epoch = epoch
        start = self.first_place(i)
        return self.order[start : start + self.batch]

    def balanced_order(self, generator: torch.Generator) -> Tensor:
        """As many indices as there are examples, in random order, equally many of every class that has examples."""
        assert self.host_labels is not None
        labels, order = self.host_labels, []
        classes = labels.unique()
        per_class = -(-len(labels) // len(classes))
        for label in classes:
            members = (labels == label).nonzero()[:, 0]
            n_shuffles = -(-per_class // len(members))
            shuffles = [members[torch.randperm(len(members), generator=generator)] for _ in range(n_shuffles)]
            order.append(torch.cat(shuffles)[:per_class])
        indices = torch.cat(order)
        return indices[torch.randperm(len(indices), generator=generator)][: len(labels)]


def check_batches(
    datasets: "Sequence[Dataset | StreamedDataset]", batch: int, balanced: bool = False, world_size: int = 1
) -> None:
    """UserError where a `Stream` of one of the datasets cannot draw such batches, one for each of so many ranks."""
    for data in datasets:
        if batch * world_size > (n := len(data)):
            what = f"batch_size={batch}" if world_size == 1 else f"batch_size={batch} on each of {world_size} ranks"
            most = f"give {n // world_size} or less" if n >= world_size else "start fewer ranks"
            raise UserError(f"{what} is larger than the data: {data.name} has {n}; {most}")
        if balanced and data.labels is None:
            raise UserError(f"{data.name} has no labels: balanced=true draws every class equally often")
        if balanced and data is not data.in_memory:
            raise UserError(f"{data.name} is streamed, and balanced=true needs it in memory: leave one of them out")
