"""What to do when a batch does not fit the memory: compute it in pieces, one after the other."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from types import TracebackType
from typing import NamedTuple

import torch

from prunus.core.distributed import ALONE, Processes
from prunus.core.records import Batch

SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""In the messages of CUDA, torch's CPU allocator, and cuBLAS or cuDNN."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch failed because memory was short."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(sign in text for sign in SIGNS)


class Attempt:
    """A context that ends quietly where memory is short.

    Attributes:
        short: Whether it did.
    """

    def __init__(self) -> None:
        self.short = False

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self.short = isinstance(error, RuntimeError) and is_out_of_memory(error)
        return self.short


def split(batch: Batch, pieces: int) -> Iterator[Batch]:
    """Yield a batch in that many pieces, nearly equal, in order; not more than it has images."""
    for first, last in pairwise(_edges(len(batch.frames), pieces)):
        if first < last:
            yield _cut(batch, first, last)


class Piece(NamedTuple):
    """What one process computes at a time.

    Attributes:
        batch: Its images.
        images: Images in the pieces that all processes compute now.
        counts: Whether this one's are among them. Else it lends an image, since all take part.
    """

    batch: Batch
    images: int
    counts: bool = True


def pieces_of(batch: Batch, pieces: int, processes: Processes = ALONE) -> Iterator[Piece]:
    """Yield this process's share of a batch in pieces, the same number of them in each process."""
    if processes.count == 1:
        yield from (Piece(part, len(part.frames)) for part in split(batch, pieces))
        return
    pieces = min(pieces, most_images(batch, processes))
    if pieces == 1:
        yield Piece(batch, batch.whole)
        return
    shares = [len(range(batch.whole)[rank :: processes.count]) for rank in range(processes.count)]
    edges = [list(pairwise(_edges(share, pieces))) for share in shares]
    for piece, (first, last) in enumerate(edges[processes.rank]):
        images = sum(part[piece][1] - part[piece][0] for part in edges)
        own = _cut(batch, first, last) if first < last else _cut(batch, 0, 1)
        yield Piece(own, images, first < last)


def most_images(batch: Batch, processes: Processes = ALONE) -> int:
    """Return how many images of a batch the process with the largest share has."""
    return -(-(batch.whole or len(batch.frames)) // processes.count)


def corner(batch: Batch, side: int) -> Batch:
    """Return a corner of a batch's first image, without boxes: nearly nothing."""
    images = batch.images[:1, :, :side, :side]
    return replace(batch, images=images, targets=batch.targets[:0], frames=batch.frames[:1])


def _edges(count: int, pieces: int) -> list[int]:
    return [count * piece // pieces for piece in range(pieces + 1)]


def _cut(batch: Batch, first: int, last: int) -> Batch:
    inside = (batch.targets[:, 0] >= first) & (batch.targets[:, 0] < last)
    targets = batch.targets[inside].clone()
    targets[:, 0] -= first
    return replace(
        batch,
        images=batch.images[first:last],
        targets=targets,
        frames=batch.frames[first:last],
    )
