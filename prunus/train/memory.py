"""What to do when a batch does not fit the memory: compute it in pieces, one after the other."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import torch

from prunus.core.records import Batch

SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""In the messages of CUDA, torch's CPU allocator, and cuBLAS or cuDNN."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch failed because memory was short."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(sign in text for sign in SIGNS)


def split(batch: Batch, pieces: int) -> Iterator[Batch]:
    """Yield a batch in that many pieces, nearly equal, in order; not more than it has images."""
    count = len(batch.frames)
    edges = [count * piece // pieces for piece in range(pieces + 1)]
    for first, last in pairwise(edges):
        if first == last:
            continue
        inside = (batch.targets[:, 0] >= first) & (batch.targets[:, 0] < last)
        targets = batch.targets[inside].clone()
        targets[:, 0] -= first
        yield replace(
            batch,
            images=batch.images[first:last],
            targets=targets,
            frames=batch.frames[first:last],
        )
