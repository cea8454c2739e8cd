"""An exported file as a `Runner`: its engine, and what the file says of itself."""

import torch
from torch import Tensor

from prunus.core.errors import ExportError
from prunus.core.records import Size
from prunus.export.engines import Engine, EngineError
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
