"""Which candidates become detections."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prunus.core.errors import ConfigError, suggest
from prunus.evaluate.nms import MAX_CANDIDATES, non_maximum_suppression
from prunus.predict.config import CONFIDENCE, IOU, MAX_DETECTIONS


@dataclass(frozen=True)
class Selection:
    """Which candidates become detections.

    Attributes:
        confidence: Least score, in [0, 1).
        iou: Overlap above which the weaker box goes.
        max_detections: Most boxes in an image.
        classes: Only these class numbers; None for all.
        agnostic: Boxes of different classes suppress each other.
    """

    confidence: float = CONFIDENCE
    iou: float = IOU
    max_detections: int = MAX_DETECTIONS
    classes: tuple[int, ...] | None = None
    agnostic: bool = False

    def apply(self, candidates: Tensor) -> list[Tensor]:
        """Return (n, 6) xyxy, score, best class per image, for (B, N, 5 + K) candidates."""
        return non_maximum_suppression(
            self._wanted(candidates),
            confidence=self.confidence,
            iou=self.iou,
            max_detections=self.max_detections,
            multi_label=False,
            agnostic=self.agnostic,
        )

    def shortlist(self, candidates: Tensor) -> Tensor:
        """Return (n, 5 + K), the rows of (N, 5 + K) that `apply` could keep: it gives the same."""
        wanted = self._wanted(candidates)
        scores = wanted[:, 4] * wanted[:, 5:].amax(dim=1)
        likely = ((wanted[:, 4] > self.confidence) & (scores > self.confidence)).nonzero()[:, 0]
        if len(likely) > MAX_CANDIDATES:
            order = scores[likely].argsort(descending=True, stable=True)
            likely = likely[order[:MAX_CANDIDATES]].sort().values
        return wanted[likely]

    def _wanted(self, candidates: Tensor) -> Tensor:
        """Take the objectness from candidates of (..., 5 + K) whose best class nobody asked for."""
        if self.classes is None:
            return candidates
        wanted = torch.zeros(candidates.shape[-1] - 5, dtype=torch.bool)
        wanted[list(self.classes)] = True
        best = candidates[..., 5:].argmax(dim=-1)
        chosen = candidates.clone()
        chosen[..., 4] *= wanted.to(candidates.device)[best]
        return chosen


def class_numbers(
    wanted: int | str | Sequence[int | str], names: Sequence[str]
) -> tuple[int, ...] | None:
    """Return the numbers of classes given by number or name; None when none is given.

    One may stand alone, as "person" does for ("person",).

    Raises:
        ConfigError: The model has no such class.
    """
    numbers = []
    for word in map(str, [wanted] if isinstance(wanted, int | str) else wanted):
        if word in names:
            numbers.append(list(names).index(word))
        elif word.isdecimal() and int(word) < len(names):
            numbers.append(int(word))
        else:
            raise ConfigError(
                f"--classes: no class '{word}' among the model's {len(names)}."
                f"{suggest(word, names)} Give a name, or a number from 0 to {len(names) - 1}."
            )
    return tuple(numbers) or None
