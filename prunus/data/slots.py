"""What a worker process makes, and the memory in which its arrays come over.

The memory is anonymous and shared with forked children, so that no file system's size limits it.
"""

import mmap
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunus.core.records import Batch

CACHE_LINE_BYTES = 64
TENSORS_AT_MOST = 8
"""In a batch; each starts on a cache line of its own."""


class Made(NamedTuple):
    """A batch and what was noticed while it was made, one line each."""

    batch: Batch
    problems: tuple[str, ...] = ()


class Packed(NamedTuple):
    """A `Made` on its way: the batch's fields, its tensors as arrays or as places in a slot."""

    values: Mapping[str, object]
    problems: tuple[str, ...]


class _Place(NamedTuple):
    offset: int
    shape: tuple[int, ...]
    kind: str


class Shelf:
    """Slots of shared memory, used in turn."""

    def __init__(self, slots: int, slot_bytes: int, *, shared: bool) -> None:
        """Reserve the memory; it is taken only when it is written to.

        Args:
            slots: How many batches may wait.
            slot_bytes: Size of the tensors in each; what does not fit goes through the pipe.
            shared: Whether children are forked; else all goes through the pipe.
        """
        size = slot_bytes + TENSORS_AT_MOST * CACHE_LINE_BYTES
        self._slots = [mmap.mmap(-1, size) for _ in range(slots)] if shared else []

    def pack(self, made: Made, slot: int) -> Packed:
        """Write what fits of a batch into a slot, and return all that is to be sent."""
        values: dict[str, object] = {}
        offset = 0
        for field in fields(made.batch):
            value = getattr(made.batch, field.name)
            if not isinstance(value, Tensor):
                values[field.name] = value
                continue
            array = value.numpy()
            place = _Place(offset, array.shape, array.dtype.str)
            if self._slots and offset + array.nbytes <= len(self._slots[slot]):
                self._array(place, slot)[...] = array
                values[field.name] = place
                offset += -(-array.nbytes // CACHE_LINE_BYTES) * CACHE_LINE_BYTES
            else:
                values[field.name] = array
        return Packed(values, made.problems)

    def unpack(self, packed: Packed, slot: int) -> Made:
        """Return what was packed; its tensors are copies, so that the slot is free again."""
        values: dict[str, Any] = {}
        for name, value in packed.values.items():
            if isinstance(value, _Place):
                values[name] = torch.from_numpy(self._array(value, slot).copy())
            elif isinstance(value, np.ndarray):
                values[name] = torch.from_numpy(value)
            else:
                values[name] = value
        return Made(Batch(**values), packed.problems)

    def _array(self, place: _Place, slot: int) -> NDArray[Any]:
        return np.ndarray(place.shape, place.kind, self._slots[slot], place.offset)
