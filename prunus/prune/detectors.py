"""What the general pruner has to be told of detectors: what to run them on, and what matters."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.core.records import Batch
from prunus.model.cost import PUBLISHED_SIZE
from prunus.model.detector import Detector
from prunus.model.loss import DetectionLoss
from prunus.prune.evidence import Calibration

PROBE_SEED = 0
PROBE_IMAGES = 2
OBJECTNESS = 4
"""Place of the objectness among the raw values of a candidate; before it the box, behind it the
classes."""
BOX_GAIN = 1.0
"""How much a box's raw values matter beside scores. Of 0.25, 1 and 4, 1 kept most mAP50-95 on the
official yolov5n at -10 and at -20 % FLOPs."""


def probe(detector: Detector) -> Tensor:
    """Return the noise that a detector is traced and proved on: small squares."""
    like = next(detector.parameters())
    side = 2 * detector.stride
    noise = torch.Generator().manual_seed(PROBE_SEED)
    return torch.rand(PROBE_IMAGES, 3, side, side, generator=noise).to(like)


def published_input() -> Tensor:
    """Return an image without values, of the size that FLOPs are quoted for."""
    return torch.empty(1, 3, *PUBLISHED_SIZE, device="meta")


def row_paths(detector: Detector, rows: Sequence[int]) -> list[str]:
    """Return the paths of rows.

    Raises:
        PruningError: There is no such row.
    """
    count = len(detector.model)
    for row in rows:
        if not 0 <= row < count:
            raise PruningError(f"keep: no row {row}; the detector has rows 0 to {count - 1}.")
    return [f"model.{row}" for row in rows]


def weigh_candidates(maps: Sequence[Tensor]) -> list[Tensor]:
    """Return how much a small squared error of each raw value matters to the detections.

    For scores the curvature of the cross-entropy with one's own answer, p (1 - p); classes and
    boxes matter as much as there is an object. Nothing but the outputs is looked at.

    Args:
        maps: Per level (B, A, H, W, 5 + K) raw values.
    """
    weights = []
    for raw in maps:
        scores = raw[..., OBJECTNESS:].sigmoid()
        object_there = scores[..., :1]
        own = scores * (1 - scores)
        boxes = (BOX_GAIN * object_there).expand(*raw.shape[:-1], OBJECTNESS)
        weights.append(torch.cat((boxes, own[..., :1], object_there * own[..., 1:]), dim=-1))
    return weights


def calibrate_on(
    batches: Callable[[], Iterable[Batch]], loss: DetectionLoss, device: torch.device, total: int
) -> Calibration:
    """Return images with labels as the criteria and repairs want them.

    Args:
        batches: Starts the stream of batches anew; uint8 images with their targets.
        loss: Of the detector's raw maps.
        device: Where the detector is.
        total: How many batches there are.
    """

    def images() -> Iterator[Tensor]:
        for batch in batches():
            yield _as_input(batch, device)

    def losses(model: nn.Module) -> Iterator[Tensor]:
        for batch in batches():
            terms = loss(model(_as_input(batch, device)), batch.targets)
            yield terms.total(len(batch.frames))

    return Calibration(images, losses, weigh_candidates, total)


def _as_input(batch: Batch, device: torch.device) -> Tensor:
    """Return (B, 3, H, W) float in [0, 1], memory of its own."""
    return batch.images.to(device).float().div_(255)
