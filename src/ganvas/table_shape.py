"""The shape of a table's rows as models see them: which numbers are which column's.

A column is a *block* of numbers: one for each of its entries, of which a row has one (one-hot), then one more where an
entry can be an interval, which says where in it the value lies, from 0 to 1.  An entry is an atom, a value of its own
such as a category or the 0 of a column that mostly is 0; an interval of numbers; or what is missing.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class Block(NamedTuple):
    """The entries of a column, in this order: atoms, intervals, and one for what is missing, if anything can be."""

    atoms: int
    intervals: int
    has_missing: bool
    is_category: bool = False

    @property
    def entries(self) -> int:
        return self.atoms + self.intervals + self.has_missing

    @property
    def width(self) -> int:
        """Numbers that it takes: its entries, and a position where there are intervals."""
        return self.entries + (self.intervals > 0)


class TableShape(tuple[int, ...]):
    """The shape (d,) of a row of d numbers, which knows its blocks."""

    blocks: tuple[Block, ...]
    shares: Float[Tensor, " d"]
    """the share of the rows that have each entry; 0 at positions"""

    def __new__(cls, blocks: Sequence[Block], shares: Tensor | None = None) -> "TableShape":
        shape = super().__new__(cls, (sum(block.width for block in blocks),))
        shape.blocks, shape.shares = tuple(blocks), torch.zeros(shape[0]) if shares is None else shares
        return shape

    def __getnewargs__(self) -> Any:
        return (self.blocks, self.shares)

    @cached_property
    def conditions(self) -> Int64[Tensor, " m"]:
        """The places of the entries that can be asked for: of categories, or of all columns where there are none."""
        has_any = any(block.is_category for block in self.blocks)
        parts = zip(self.entry_slices, self.blocks, strict=True)
        places = [i for s, b in parts if b.is_category or not has_any for i in range(s.start, s.stop)]
        return torch.tensor(places, device="cpu")

    @cached_property
    def condition_columns(self) -> tuple[int, ...]:
        """The blocks that these are of."""
        has_any = any(block.is_category for block in self.blocks)
        return tuple(i for i, block in enumerate(self.blocks) if block.is_category or not has_any)

    def draw_conditions(self, noise: Float[Tensor, "n 2"]) -> Int64[Tensor, " n"]:
        """Places by uniform noise: a column, each as likely, then an entry of it as often as rows have it."""
        columns = torch.tensor(self.condition_columns)[(noise[:, 0] * len(self.condition_columns)).long()]
        cumulative = self.shares[self.padded_index].masked_fill(self.padding, 0.0).double().cumsum(1)[columns]
        places = (cumulative <= noise[:, 1:].double() * cumulative[:, -1:]).sum(1)  # none whose share is 0
        return self.padded_index[columns, places.clamp(max=self.padded_index.shape[1] - 1)]

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each block begins."""
        return tuple(accumulate((block.width for block in self.blocks), initial=0))[:-1]

    @cached_property
    def sizes(self) -> list[int]:
        """How many numbers are entries of each block, and how many its position, in turn."""
        return [n for block in self.blocks for n in (block.entries, block.width - block.entries)]

    @cached_property
    def entry_slices(self) -> tuple[slice, ...]:
        """The numbers of each block that are its entries."""
        return tuple(slice(s, s + b.entries) for s, b in zip(self.starts, self.blocks, strict=True))

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """The places of the positions, of the blocks that have one."""
        return tuple(s + b.entries for s, b in zip(self.starts, self.blocks, strict=True) if b.intervals)

    @cached_property
    def with_position(self) -> tuple[int, ...]:
        """The indices of the blocks that have one."""
        return tuple(i for i, block in enumerate(self.blocks) if block.intervals)

    @cached_property
    def interval_slices(self) -> tuple[slice, ...]:
        """The numbers of the blocks that have a position that are their intervals."""
        parts = ((self.starts[i] + self.blocks[i].atoms, self.blocks[i].intervals) for i in self.with_position)
        return tuple(slice(start, start + n) for start, n in parts)

    @property
    def noise_size(self) -> int:
        """Uniform numbers by which a row is drawn: one for each block's entry, then one for each position."""
        return len(self.blocks) + len(self.positions)

    def log_probabilities(self, y: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Logits of entries as log probabilities, each block's own; positions as they are."""
        parts = y.split(self.sizes, 1)
        return torch.cat([part if i % 2 else part.log_softmax(1) for i, part in enumerate(parts)], 1)

    def probabilities(self, y: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The probabilities themselves, and 0 at positions: one far from 0 would overflow, and have no gradient."""
        positions = y.new_full((len(y), len(self.positions)), -torch.inf)
        return self.with_positions(self.log_probabilities(y), positions).exp()

    def take_positions(self, y: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """The positions of rows; by slices, since a GPU would wait for places that are a tuple of Python's."""
        return torch.cat([y[:, i : i + 1] for i in self.positions], 1) if self.positions else y[:, :0]

    def with_positions(self, y: Float[Tensor, "n d"], u: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Rows with other positions."""
        parts = list(y.split(self.sizes, 1))
        for j, i in enumerate(self.with_position):
            parts[2 * i + 1] = u[:, j : j + 1]
        return torch.cat(parts, 1)

    def interval_share(self, p: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Of probabilities of entries, or one-hot ones, the share of intervals in each block that has a position."""
        parts = [p[:, part].sum(1) for part in self.interval_slices]
        return torch.stack(parts, 1) if parts else p[:, :0]

    @cached_property
    def padded_index(self) -> Int64[Tensor, "blocks most"]:
        """The places of each block's entries, as many for each block as the largest has."""
        most = max(block.entries for block in self.blocks)
        rows = [[part.start + min(j, part.stop - part.start - 1) for j in range(most)] for part in self.entry_slices]
        return torch.tensor(rows, device="cpu")  # not where a network is made without memory

    @cached_property
    def padding(self) -> Tensor:
        """Which of `padded_index` are none."""
        entries = torch.tensor([block.entries for block in self.blocks], device="cpu")
        return torch.arange(self.padded_index.shape[1], device="cpu") >= entries[:, None]

    def draw(self, p: Float[Tensor, "n d"], noise: Float[Tensor, "n noise"]) -> Float[Tensor, "n d"]:
        """Rows with one entry a block, by uniform noise from the probabilities of entries; positions as they are."""
        x = p.clone()
        for i, part in enumerate(self.entry_slices):
            cumulative = p[:, part].double().cumsum(1)
            places = (cumulative <= noise[:, i : i + 1].double() * cumulative[:, -1:]).sum(1, keepdim=True)
            x[:, part] = torch.zeros_like(x[:, part]).scatter_(1, places.clamp_(max=part.stop - part.start - 1), 1.0)
        return x
