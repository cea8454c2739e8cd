"""Random rotation, zoom, shear, shift and perspective, of picture and boxes. Spec sheet 2.9."""

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from prunus.core.records import Size
from prunus.data.augment import Augmentation
from prunus.data.augment.sample import Rings, Sample
from prunus.data.decode import Pixels
from prunus.data.letterbox import GREY

Matrix = NDArray[np.float64]

MIN_SIDE_PX = 2.0
MIN_AREA_LEFT = 0.1
MIN_OUTLINED = 0.01
MAX_ASPECT = 100.0
POINTS = 256
"""Along an outline. The reference takes 1000."""
HALF_PIXEL = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]], dtype=np.float64)


def vary(
    sample: Sample, shape_hw: Size, settings: Augmentation, rng: np.random.Generator
) -> Sample:
    """Draw a transformation and apply it: from a canvas of any size to `shape_hw`.

    Boxes become the upright boxes around their moved corners, cut at the border. Those that lost
    more than nine tenths of their (zoomed) area, are under 2 px on a side or are over 100 times as
    long as wide are dropped. Where an outline is known the box is that around its visible part, and
    a hundredth of the area is enough.
    """
    canvas_hw = (sample.image.shape[0], sample.image.shape[1])
    matrix, zoom = random_matrix(canvas_hw, shape_hw, settings, rng)
    if canvas_hw == shape_hw and np.array_equal(matrix, np.eye(3)):
        return Sample(sample.image, keep_visible(sample.boxes, sample.boxes, 1.0))
    return warp(sample, matrix, zoom, shape_hw)


def random_matrix(
    canvas_hw: Size, shape_hw: Size, settings: Augmentation, rng: np.random.Generator
) -> tuple[Matrix, float]:
    """Return the (3, 3) matrix from canvas to output pixels, and the zoom in it.

    Applied from right to left: canvas centre to origin, perspective, rotation and zoom, shear,
    shift.
    """
    centre = np.eye(3)
    centre[:2, 2] = -canvas_hw[1] / 2, -canvas_hw[0] / 2
    perspective = np.eye(3)
    perspective[2, :2] = rng.uniform(-1, 1, 2) * settings.perspective
    angle = math.radians(rng.uniform(-1, 1) * settings.degrees)
    zoom = rng.uniform(1 - settings.scale, 1 + settings.scale)
    turn = np.eye(3)
    turn[:2, :2] = zoom * np.array(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    )
    shear = np.eye(3)
    shear[0, 1], shear[1, 0] = np.tan(np.radians(rng.uniform(-1, 1, 2) * settings.shear))
    shift = np.eye(3)
    places = rng.uniform(0.5 - settings.translate, 0.5 + settings.translate, 2)
    shift[:2, 2] = places * (shape_hw[1], shape_hw[0])
    return shift @ shear @ turn @ perspective @ centre, zoom


def warp(sample: Sample, matrix: Matrix, zoom: float, shape_hw: Size) -> Sample:
    """Apply a matrix to picture and boxes.

    OpenCV counts from pixel centres, boxes from pixel edges; the matrix is for edges and is turned
    for OpenCV, so that both stay together at every zoom (the reference lets them part by up to a
    quarter of a pixel).
    """
    for_centres = np.linalg.inv(HALF_PIXEL) @ matrix @ HALF_PIXEL
    border = (GREY, GREY, GREY)
    height, width = shape_hw
    if matrix[2, 0] or matrix[2, 1]:
        image = cv2.warpPerspective(sample.image, for_centres, (width, height), borderValue=border)
    else:
        image = cv2.warpAffine(sample.image, for_centres[:2], (width, height), borderValue=border)
    moved = move_boxes(sample.boxes, matrix)
    moved[:, 1:] = moved[:, 1:].clip(0, (width, height, width, height))
    outlined = np.zeros(len(moved), dtype=bool)
    for number, rings in enumerate(sample.outlines or ()):
        if rings:
            moved[number, 1:] = box_around(rings, matrix, shape_hw)
            outlined[number] = True
    return Sample(cast(Pixels, image), keep_visible(sample.boxes, moved, zoom, outlined))


def box_around(rings: Rings, matrix: Matrix, shape_hw: Size) -> NDArray[np.float32]:
    """Return the (4,) xyxy box around what a moved outline shows within (H, W); zeros for nothing.

    It is looked at in POINTS places along each ring.
    """
    visible = []
    for ring in rings:
        corners = np.concatenate((ring, ring[:1]))
        places = np.linspace(0, len(ring), POINTS + 1)
        x, y = (np.interp(places, np.arange(len(corners)), corners[:, axis]) for axis in (0, 1))
        moved = np.stack((x, y, np.ones_like(x)), axis=1) @ matrix.T
        points = moved[:, :2] / moved[:, 2:]
        inside = ((points >= 0) & (points <= (shape_hw[1], shape_hw[0]))).all(axis=1)
        visible.append(points[inside])
    points = np.concatenate(visible)
    if not len(points):
        return np.zeros(4, dtype=np.float32)
    return np.concatenate((points.min(axis=0), points.max(axis=0))).astype(np.float32)


def move_boxes(boxes: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float32]:
    """Return the (n, 5) upright boxes around the moved corners of (n, 5) boxes."""
    corners = np.ones((len(boxes), 4, 3))
    corners[:, :, :2] = boxes[:, [1, 2, 3, 2, 3, 4, 1, 4]].reshape(-1, 4, 2)
    moved = corners @ matrix.T  # (n, 4, 3)
    points = moved[:, :, :2] / moved[:, :, 2:]
    return np.hstack((boxes[:, :1], points.min(axis=1), points.max(axis=1))).astype(np.float32)


def keep_visible(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    zoom: float,
    outlined: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return those (m, 5) boxes of `after` of which enough is left of `before`, zoomed.

    Args:
        before: (n, 5) boxes.
        after: The same, moved and cut.
        zoom: By which they grew.
        outlined: (n,) whether they were taken from outlines.
    """
    least = MIN_AREA_LEFT if outlined is None else np.where(outlined, MIN_OUTLINED, MIN_AREA_LEFT)
    old = before[:, 3:] - before[:, 1:3]
    width, height = (after[:, 3:] - after[:, 1:3]).T
    whole = np.maximum(old.prod(axis=1) * zoom**2, 1e-9)
    long, short = np.maximum(width, height), np.maximum(np.minimum(width, height), 1e-9)
    keep = (short > MIN_SIDE_PX) & (width * height / whole > least) & (long / short < MAX_ASPECT)
    kept: NDArray[np.float32] = after[keep]
    return kept
