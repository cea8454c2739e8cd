"""`--batch -1`: the largest batch that fits, from real steps at 1, 2, 4, 8 and 16 images.

Memory is a line over the number of images; the batch that fills FILLED of what is free is taken
from it. Specification sheet, section 2.4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from prunus.core.console import log, table
from prunus.core.device import select_device
from prunus.core.errors import PrunusError
from prunus.core.memory import available_bytes
from prunus.model.detector import Detector
from prunus.train.config import MEASURED_BATCH, TrainConfig
from prunus.train.measure import StepCost, measured_step, resident_bytes
from prunus.train.scales import Scales

TRIED = (1, 2, 4, 8, 16)
FILLED = 0.8
"""Share of the memory that the batch may take."""
FALLBACK = 16
FLAT = 1e-6
"""Share of the memory below which an image takes nothing that can be measured."""
LONG_S = 20.0
"""A step that takes longer is the last one that is tried."""


class Tried(NamedTuple):
    """A batch size and what its step cost."""

    images: int
    cost: StepCost


def with_fitting_batch(
    settings: TrainConfig, detector: Detector, image_size: int, images: int
) -> TrainConfig:
    """Return the settings with the batch size that fits, where they ask for it to be measured."""
    if settings.batch_size != MEASURED_BATCH:
        return settings
    if settings.multi_scale:  # the largest batches must fit too
        image_size = Scales(image_size, detector.stride, settings.seed).largest
    size = fitting_batch(detector, settings, image_size, images)
    return settings.model_copy(update={"batch_size": size})


def fitting_batch(detector: Detector, settings: TrainConfig, image_size: int, images: int) -> int:
    """Return the number of images that fit the memory; FALLBACK, and why, when that is not known.

    On a CPU it is never above `nominal_batch`: larger ones are no faster there, and step less.

    Args:
        detector: Is not changed.
        settings: How it will be trained.
        image_size: Side of the images, in pixels.
        images: In the data set: no batch is larger.
    """
    device = select_device(settings.device)
    room = _room(device)
    if not room:
        return _fall_back("the system does not say how much memory is free")
    try:
        tried = _try_sizes(detector, settings, image_size, room)
    except (PrunusError, RuntimeError, OSError) as error:
        return _fall_back(str(error).splitlines()[0])
    rows = [
        (
            t.images,
            f"{t.cost.peak_bytes / 1e9:.2f}",
            f"{t.cost.seconds:.2f}",
            f"{t.images / t.cost.seconds:.1f}",
        )
        for t in tried
    ]
    header = ("images", "GB", "seconds", "images/s")
    log.info("%s", table(f"Batch size ({room / 1e9:.1f} GB to fill)", header, rows))
    found = largest(tried, room)
    if found is None:
        return _fall_back("memory does not grow with the batch")
    limit = images if device.type == "cuda" else min(images, settings.nominal_batch)
    chosen = max(1, min(found, limit))
    why = "" if chosen == found else f" ({found} would fit)"
    log.info("batch size: %d%s", chosen, why)
    return chosen


def largest(tried: Sequence[Tried], room: float) -> int | None:
    """Return the largest batch whose memory, on the line through those tried, is within `room`.

    Args:
        tried: In any order.
        room: Bytes that it may take in all.

    Returns:
        At least 1; None when no line can be drawn, or it does not rise.
    """
    fitting = [t for t in tried if t.cost.fits]
    if len(fitting) < 2:
        return None
    counts = np.array([t.images for t in fitting], dtype=np.float64)
    peaks = np.array([t.cost.peak_bytes for t in fitting], dtype=np.float64)
    slope, start = np.polyfit(counts, peaks, 1)
    if slope <= FLAT * peaks.max():
        return None
    found = max(1, int((room - start) / slope))
    too_large = [t.images for t in tried if not t.cost.fits]
    return min([found, *(max(1, count // 2) for count in too_large)])


def _try_sizes(
    detector: Detector, settings: TrainConfig, image_size: int, room: float
) -> list[Tried]:
    """Measure TRIED, until a step takes long or the next one might not fit."""
    measured_step(detector, settings, image_size, 1)  # libraries load and caches fill
    tried: list[Tried] = []
    for images in TRIED:
        cost = measured_step(detector, settings, image_size, images)
        tried.append(Tried(images, cost))
        if not cost.fits or cost.seconds > LONG_S or cost.peak_bytes * 2 > room:
            break
    return tried


def _room(device: torch.device) -> float:
    """Return the bytes that this process may take in all, or 0 when that is not known."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return FILLED * (free + torch.cuda.memory_reserved(device))
    available, resident = available_bytes(), resident_bytes()
    return resident + FILLED * available if available and resident else 0.0


def _fall_back(reason: str) -> int:
    log.info("batch size: %d, since it could not be measured: %s", FALLBACK, reason)
    return FALLBACK
