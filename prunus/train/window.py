"""The batches between two optimizer steps, to learn from them anew where memory was short."""

from copy import deepcopy

from prunus.core.records import Batch
from prunus.model.detector import Detector
from prunus.train.position import Position


class Window:
    """What was learnt since the last optimizer step, and how things stood before.

    Attributes:
        batches: Each with its number in the epoch.
        learnt: Names of the images whose gradients were added up.
    """

    def __init__(self, detector: Detector, position: Position) -> None:
        """Keep what learning changes before a step: sums of losses, batch norms' statistics."""
        self.batches: list[tuple[int, Batch]] = []
        self.learnt: list[str] = []
        self._before = deepcopy(position)
        self._statistics = [buffer.clone() for buffer in detector.buffers()]

    def rewind_(self, detector: Detector, position: Position) -> None:
        """Put back how things stood; the batches are kept, to be learnt from again."""
        self.learnt = []
        before = self._before
        position.losses, position.counted = list(before.losses), before.counted
        position.bad_losses = before.bad_losses
        for buffer, kept in zip(detector.buffers(), self._statistics, strict=True):
            buffer.copy_(kept)
