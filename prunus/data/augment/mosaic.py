"""Mosaic: four pictures around a random centre on a canvas twice the image size.

Bochkovskiy et al., "YOLOv4", arXiv:2004.10934, section 3.3; centre and fill as in `spec/yolov5.md`
2.9.
"""

from collections.abc import Sequence

import numpy as np

from prunus.data.augment.sample import Rings, Sample, move_outlines
from prunus.data.letterbox import GREY

CENTRE_RANGE = (0.5, 1.5)
"""Where the four meet, in image sizes."""


def mosaic(tiles: Sequence[Sample], size: int, rng: np.random.Generator) -> Sample:
    """Lay four pictures around a centre drawn from the middle of the canvas, and cut them at it.

    Args:
        tiles: Top left, top right, bottom left, bottom right; sides of at most `size` pixels.
        size: Image size; the canvas has twice that side.
        rng: Where the centre is drawn from.
    """
    centre_x, centre_y = (int(value) for value in rng.uniform(*CENTRE_RANGE, 2) * size)
    canvas = np.full((2 * size, 2 * size, 3), GREY, dtype=np.uint8)
    boxes = []
    outlines: list[Rings] = []
    for number, tile in enumerate(tiles):
        height, width = tile.image.shape[:2]
        left = centre_x if number % 2 else centre_x - width
        top = centre_y if number >= 2 else centre_y - height
        x, y = (
            slice(max(left, 0), min(left + width, 2 * size)),
            slice(max(top, 0), min(top + height, 2 * size)),
        )
        canvas[y, x] = tile.image[y.start - top : y.stop - top, x.start - left : x.stop - left]
        outlines += move_outlines(tile.outlines, (1, 1), (left, top)) or [()] * len(tile.boxes)
        boxes.append(tile.boxes + np.array([0, left, top, left, top], dtype=np.float32))
    together = np.concatenate(boxes)
    together[:, 1:] = together[:, 1:].clip(0, 2 * size)
    known = any(tile.outlines is not None for tile in tiles)
    return Sample(canvas, together, tuple(outlines) if known else None)
