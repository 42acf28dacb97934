"""Endless batches from a collection that lives on the device as bytes."""

from math import prod

import torch
from torch import Tensor

from ..errors import UserError
from ..model import Batch
from ..randomness import seed_of
from .collection import Collection
from .scaling import Scaling

AHEAD = 2**19
"""numbers that are drawn at once, if a batch has fewer"""


class Stream:
    """Endless shuffled batches, each as a model with this `scaling` sees its examples.

    Which examples make up a batch depends only on (seed, position): one integer is all that a checkpoint has to
    hold for a run to go on exactly where it stopped.  An epoch is a new permutation; its last, incomplete batch
    is left out.  Rank r of R takes the r-th slice of each global batch.  `balanced` draws every class equally often:
    an epoch is as long as ever, and examples of small classes come several times.
    """

    def __init__(
        self,
        collection: Collection,
        *,
        batch: int,
        seed: int,
        scaling: Scaling = Scaling(),  # noqa: B008  a constant
        device: torch.device | None = None,
        rank: int = 0,
        ranks: int = 1,
        position: int = 0,
        balanced: bool = False,
    ) -> None:
        n, total = len(collection), batch * ranks
        if total > n:
            raise UserError(f"batch={total} is larger than the data: {collection.name} has {n}; give {n} or less")
        if balanced and collection.labels is None:
            raise UserError(f"{collection.name} has no labels: balanced=true draws every class equally often")
        self.balanced = balanced
        self.data = collection.to(device or collection.x.device)
        self.batch, self.seed, self.rank, self.ranks = batch, seed, rank, ranks
        self.position, self.per_epoch = position, n // total
        self.scaling = scaling.to(self.data.x.device)
        self.epoch, self.order = -1, torch.empty(0)
        self.ahead = max(1, AHEAD // (batch * prod(collection.shape)))
        self.ready: list[Batch] = []

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Batch:
        if not self.ready:
            self.ready = self.drawn()[::-1]
        self.position += 1
        return self.ready.pop()

    def drawn(self) -> list[Batch]:
        """The batches from `position` on, up to `ahead` of the same epoch: small ones cost less together."""
        epoch, i = divmod(self.position, self.per_epoch)
        index = torch.cat([self.indices(epoch, i + j) for j in range(min(self.ahead, self.per_epoch - i))])
        x = self.scaling(self.data.x.index_select(0, index)).split(self.batch)
        if self.data.labels is None:
            return [Batch(part, None, len(self.data)) for part in x]
        labels = self.data.labels.index_select(0, index).split(self.batch)
        return [Batch(part, y, len(self.data)) for part, y in zip(x, labels, strict=True)]

    def indices(self, epoch: int, i: int) -> Tensor:
        """Which examples the i-th batch of an epoch holds."""
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(seed_of(self.seed, "order", epoch))
            order = self.evenly(generator) if self.balanced else torch.randperm(len(self.data), generator=generator)
            device = self.data.x.device
            # from pinned memory the copy does not make the step wait
            self.order = order.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else order.to(device)
            self.epoch = epoch
        start = (i * self.ranks + self.rank) * self.batch
        return self.order[start : start + self.batch]

    def evenly(self, generator: torch.Generator) -> Tensor:
        """As many indices as there are examples, in random order, equally many of every class that has examples."""
        assert self.data.labels is not None
        labels = self.data.labels.cpu()
        classes = labels.unique()
        each = -(-len(labels) // len(classes))
        order = []
        for label in classes:
            own = (labels == label).nonzero()[:, 0]
            shuffles = [own[torch.randperm(len(own), generator=generator)] for _ in range(-(-each // len(own)))]
            order.append(torch.cat(shuffles)[:each])
        mixed = torch.cat(order)
        return mixed[torch.randperm(len(mixed), generator=generator)][: len(labels)]
