"""An exported file as a `Runner`: its engine, and what the file says of itself."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from prunus.core.errors import ExportError
from prunus.core.records import Size
from prunus.export.engines import Engine, EngineError, Options, start_engine
from prunus.export.engines.child import ChildEngine
from prunus.export.facts import Facts


class EngineRunner:
    """Runs an exported file.

    Attributes:
        facts: What the file says of itself.
        engine: What computes it.
    """

    def __init__(self, where: str, engine: Engine, facts: Facts) -> None:
        """Put the two together.

        Args:
            where: The file, for errors.
            engine: Started.
            facts: Read off the file.
        """
        self._where = where
        self.engine = engine
        self.facts = facts
        self.names = facts.names
        self.stride = facts.stride
        self.size_hw: Size | None = facts.size_hw
        self.batch = facts.batch

    def __call__(self, images: Tensor) -> Tensor:
        """Return (B, N, 5 + K) float32 candidates, on the CPU, for (B, 3, H, W) uint8 images.

        Raises:
            ExportError: The file cannot take so many images, or of this size, or the runtime fails.
        """
        self.facts.check_input(tuple(images.shape), self._where)
        try:
            candidates = self.engine(images.cpu().numpy())
        except EngineError as error:
            raise ExportError(f"{self._where}: {error}.") from error
        if candidates.ndim != 3 or (len(images), self.facts.values) != candidates.shape[::2]:
            raise ExportError(
                f"{self._where}: puts out {candidates.shape}, but its metadata promise "
                f"({len(images)}, N, {self.facts.values}). Export the weights again."
            )
        return torch.from_numpy(candidates)


def open_engine(
    name: str,
    content: Sequence[bytes],
    facts: Facts,
    options: Options,
    *,
    where: str,
    contained: bool,
) -> EngineRunner:
    """Start the engine of a vetted file.

    Args:
        name: In `engines.ENGINES`.
        content: The bytes of the file and its companions.
        facts: What it says of itself.
        options: How to compute; what images are divided by is the facts' affair.
        where: The file, for errors.
        contained: In a process of its own, which a file that is not ours cannot leave.

    Raises:
        ExportError: The runtime refuses it, or is not installed.
    """
    options = replace(options, divide_by=facts.letterbox.divide_by)
    start = ChildEngine if contained else start_engine
    try:
        return EngineRunner(where, start(name, content, options), facts)
    except EngineError as error:
        raise ExportError(f"{where}: {error}.") from error


def thread_count(threads: int | None) -> int:
    """Return the threads asked for, or else as many as torch uses."""
    return torch.get_num_threads() if threads is None else threads
