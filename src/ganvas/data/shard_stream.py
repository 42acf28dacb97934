"""Endless batches from shards: examples are read and decoded in threads, a few batches ahead of the step."""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..model import Batch
from ..randomness import derive_seed
from .scaling import Scaling
from .shards import StreamedDataset
from .stream import EpochPlaces, check_batches

BATCHES_AHEAD = 2
"""batches that are decoded, or being so, besides the one that is used"""
BYTES_PER_WORKER = 4096
"""bytes of an image file from which on another thread pays: Pillow holds Python's lock for some 0.2 ms an image of any
size, and lets others run while it decodes"""
MAX_REPLACEMENTS = 100
"""damaged images one after the other from which on a stream gives up"""


class ShardStream(EpochPlaces):
    """What `Stream` is to a `Dataset`: the same batches for the same (seed, position), whoever reads how fast.

    In each epoch the shards come in a new order.  So ordered, each `window` of examples is shuffled; a data set that is
    one window has the order that `Stream` would give it.  Which example stands where follows from (seed, epoch), so a
    run goes on at any position without reading what was before it.

    Of several ranks each takes its part of every batch of `world_size * batch` examples: together they see what one
    rank with such batches would, and none sees an example of another.  Examples at the end of an epoch that do not
    fill a batch are left out.  A damaged image is replaced by the next in the order that can be read.
    """

    def __init__(
        self,
        dataset: StreamedDataset,
        *,
        batch: int,
        seed: int,
        scaling: Scaling = Scaling(),  # noqa: B008  a constant
        device: torch.device | None = None,
        position: int = 0,
        balanced: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        check_batches([dataset], batch, balanced, world_size)
        super().__init__(len(dataset), batch, position, rank, world_size)
        self.data: StreamedDataset = dataset
        self.seed: int = seed
        self.device: torch.device = device or torch.device("cpu")
        self.scaling: Scaling = scaling.to(self.device)
        self.n_drawn: int = 1 if dataset.labels is None else 2
        """tensors that `draw` returns"""
        self.notes: tuple[str, ...] = ()
        """what a person should know of where the data are"""
        # of the shards that have examples: how many, and the row of the first
        shards = dataset.shards
        starts = np.searchsorted(dataset.index.numpy(), shards.ends - shards.counts)
        sizes = np.diff(np.append(starts, self.n))
        rows_of_window = partial(shuffle_window, starts[sizes > 0], sizes[sizes > 0], shards.window, seed)
        self.window: Callable[[int, int], Tensor] = lru_cache(4)(rows_of_window)
        workers = 1 + shards.mean_bytes // BYTES_PER_WORKER if dataset.has_images else 1
        self.workers: int = min(os.cpu_count() or 1, workers)
        self.pool: ThreadPoolExecutor = ThreadPoolExecutor(self.workers, thread_name_prefix="ganvas-shards")
        self.pending: deque[list[Future[tuple[Tensor, Tensor]]]] = deque()

    @property
    def epoch(self) -> int:
        """The epoch of the batch that comes next."""
        return self.position // self.batches_per_epoch

    def __next__(self) -> Batch:
        return self.assemble(*self.draw())

    def draw(self) -> tuple[Tensor, ...]:
        """The examples of the next batch, and their labels if they have any, on the device; see `Stream.draw`."""
        while len(self.pending) <= BATCHES_AHEAD:
            self.pending.append(self.submit(self.position + len(self.pending)))
        parts, rows = zip(*(future.result() for future in self.pending[0]), strict=True)
        self.pending.popleft()
        self.pass_batch()
        x, labels = self.move(torch.cat(parts)), self.data.labels
        return (x,) if labels is None else (x, self.move(labels[torch.cat(rows)]))

    def assemble(self, x: Tensor, labels: Tensor | None = None) -> Batch:
        """The batch of what was drawn, as the model sees it."""
        return Batch(self.scaling(x), labels, self.n)

    def move(self, x: Tensor) -> Tensor:
        """A tensor on the device; from pinned memory the copy does not make the step wait."""
        return x.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else x.to(self.device)

    def submit(self, position: int) -> list[Future[tuple[Tensor, Tensor]]]:
        """Have the batch at a position read, in parts of about equal size."""
        epoch, i = divmod(position, self.batches_per_epoch)
        first = self.first_place(i)
        places = np.array_split(np.arange(first, first + self.batch), min(self.workers, self.batch))
        return [self.pool.submit(partial(self.read, epoch, part)) for part in places]

    def read(self, epoch: int, places: np.ndarray) -> tuple[Tensor, Tensor]:
        """The examples at places of an epoch's order, bytes or vectors, and which rows of the data set they are."""
        rows = self.rows(epoch, places)
        if not self.data.has_images:
            return self.data.read_vectors(rows), rows
        index = self.data.index
        images = [self.data.read_image(i) for i in index[rows].tolist()]
        for j, place in enumerate(places.tolist()):
            k = 0
            while images[j] is None:
                k += 1
                if k > MAX_REPLACEMENTS:
                    page, why = list(self.data.failures.items())[-1]
                    raise UserError(f"{k} images one after the other cannot be read, the last, {page}: {why}")
                rows[j] = self.rows(epoch, np.array([(place + k) % self.n]))[0]
                images[j] = self.data.read_image(int(index[rows[j]]))
        return torch.stack([x for x in images if x is not None]), rows

    def rows(self, epoch: int, places: np.ndarray) -> Tensor:
        """Which rows of the data set stand at these places, in ascending order, of an epoch's order."""
        windows, size = places // self.data.shards.window, self.data.shards.window
        return torch.cat([self.window(epoch, int(w))[places[windows == w] % size] for w in np.unique(windows)])


def shuffle_window(starts: np.ndarray, sizes: np.ndarray, size: int, seed: int, epoch: int, w: int) -> Tensor:
    """The rows of the w-th window of an epoch, so many or fewer, in the order in which they come.

    `starts` and `sizes` are the first row of each shard, and how many it has.
    """
    n = int(sizes.sum())
    if n <= size:
        generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
        return torch.randperm(n, generator=generator)
    generator = torch.Generator().manual_seed(derive_seed(seed, "shards", epoch))
    order = torch.randperm(len(sizes), generator=generator).numpy()
    ends, places = sizes[order].cumsum(), np.arange(w * size, min(n, (w + 1) * size))
    shard = np.searchsorted(ends, places, side="right")
    rows = torch.from_numpy(starts[order][shard] + places - (ends - sizes[order])[shard])
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch, w))
    return rows[torch.randperm(len(rows), generator=generator)]
