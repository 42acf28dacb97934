"""Examples that stay in the host's memory: their batches are brought to the device while it computes."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from .dataset import Dataset


class Slot:
    """Memory for one batch, on the host and on the device; on a GPU also what says when either may be written again."""

    def __init__(self, parts: list[Tensor], batch: int, device: torch.device) -> None:
        is_cuda = device.type == "cuda"
        sizes = [(batch, *part.shape[1:]) for part in parts]
        # from pinned memory the copy runs beside the computation
        self.host: list[Tensor] = [
            torch.empty(size, dtype=part.dtype, pin_memory=is_cuda) for part, size in zip(parts, sizes, strict=True)
        ]
        self.device: list[Tensor] = [torch.empty_like(part, device=device) for part in self.host]
        self.copied: torch.cuda.Event | None = torch.cuda.Event() if is_cuda else None
        """the batch has arrived: the host's memory is free"""
        self.used: torch.cuda.Event | None = torch.cuda.Event() if is_cuda else None
        """what was asked of the batch is done: the device's memory is free"""
        if self.used:
            self.used.record()  # what had this memory before may be at work still


class HostBatches:
    """Batches of examples in the host's memory, by their positions in a stream, on the device.

    While the device computes with one batch, a thread gathers the next into pinned memory, and a stream of its own
    copies it.  There are two slots: what `get` returns is overwritten after the next call, so it is to be used, or
    copied, by work that is asked of the device before that.
    """

    def __init__(self, dataset: Dataset, batch: int, device: torch.device, indices: Callable[[int], Tensor]) -> None:
        self.parts: list[Tensor] = dataset.parts
        self.indices: Callable[[int], Tensor] = indices
        self.slots: tuple[Slot, Slot] = (Slot(self.parts, batch, device), Slot(self.parts, batch, device))
        self.copy_stream: torch.cuda.Stream | None = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.thread: ThreadPoolExecutor = ThreadPoolExecutor(1, thread_name_prefix="ganvas-batches")
        self.coming: tuple[int, Future[Slot]] | None = None
        """the position of the batch that the thread is bringing, and the slot in which it will be"""
        self.current: Slot = self.slots[1]

    def get(self, position: int) -> tuple[Tensor, ...]:
        """The batch at this position: examples, and labels if there are any."""
        if self.current.used:
            self.current.used.record()
        if self.coming is None or self.coming[0] != position:
            if self.coming is not None:
                self.coming[1].result()  # another position was expected
            self.coming = position, self.thread.submit(self.load, position, self.other_slot())
        self.current = self.coming[1].result()
        if self.current.copied:
            torch.cuda.current_stream(self.current.device[0].device).wait_event(self.current.copied)
        self.coming = position + 1, self.thread.submit(self.load, position + 1, self.other_slot())
        return tuple(self.current.device)

    def other_slot(self) -> Slot:
        """The slot that is not in use."""
        return self.slots[self.slots[0] is self.current]

    def load(self, position: int, slot: Slot) -> Slot:
        """Bring the batch at this position into the slot: the thread's work."""
        if slot.copied:
            slot.copied.synchronize()
        index = self.indices(position)
        for part, target in zip(self.parts, slot.host, strict=True):
            torch.index_select(part, 0, index, out=target)
        with torch.cuda.stream(self.copy_stream):
            if self.copy_stream and slot.used:
                self.copy_stream.wait_event(slot.used)
            for source, target in zip(slot.host, slot.device, strict=True):
                target.copy_(source, non_blocking=True)
            if slot.copied:
                slot.copied.record()
        return slot
