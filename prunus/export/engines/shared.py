"""Arrays that two processes see: a file without a name, mapped into both."""

import mmap
import os
import tempfile
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class SharedArray:
    """One array at a time, of any size, in a file that both processes hold open."""

    def __init__(self, descriptor: int) -> None:
        """Share through an open file."""
        self._descriptor = descriptor
        self._map: mmap.mmap | None = None

    def write(self, array: NDArray[np.generic]) -> None:
        """Put an array there; the file grows where it must."""
        target = self._mapped(array.nbytes, grow=True)
        np.copyto(np.frombuffer(target, array.dtype, array.size).reshape(array.shape), array)

    def read(self, shape: Sequence[int], kind: type[np.generic]) -> NDArray[np.generic]:
        """Return the array there: a view, good until the next one is written."""
        size = int(np.prod(shape))
        mapped = self._mapped(size * np.dtype(kind).itemsize, grow=False)
        return np.frombuffer(mapped, kind, size).reshape(shape)

    def _mapped(self, size: int, *, grow: bool) -> mmap.mmap:
        size = max(size, 1)
        if grow and os.fstat(self._descriptor).st_size < size:
            os.ftruncate(self._descriptor, size)
        if self._map is None or len(self._map) < size:
            self._map = mmap.mmap(self._descriptor, size)  # raises ValueError beyond the file's end
        return self._map


def nameless_file() -> int:
    """Return the descriptor of an empty file that goes when the last process closes it.

    It lies in memory where the system can do that (Linux), or else among the temporary ones.
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create("prunus")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
