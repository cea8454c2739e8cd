"""Fit an image into a canvas: long side to the image size, then grey borders. Spec sheet 2.8.

Two steps, as the reference takes them: the long side is brought to `image_size`, with sides rounded
up; that picture is fitted into the canvas. Scale and pad are those of the pixels as they came out,
per axis, so that `Frame.to_image` inverts exactly; the reference returns half-pixel pads and one
scale for both axes.
"""

from typing import cast

import cv2
import numpy as np

from prunus.core.records import GREY, Size
from prunus.data.decode import Pixels, load_image

__all__ = ["GREY", "fit_long_side", "letterbox", "load_image", "to_planes"]

HALF_TIE = 0.1
"""An odd border is split so that the smaller part lies above and left."""


def letterbox(
    image: Pixels, image_size: int, shape_hw: Size, *, scale_up: bool
) -> tuple[Pixels, tuple[float, float], tuple[float, float]]:
    """Resize an image and surround it with grey.

    Args:
        image: (H, W, 3) uint8.
        image_size: What the long side is brought to first, in pixels.
        shape_hw: The canvas, in pixels.
        scale_up: Whether the picture then also grows to fill the canvas, as in training; validation
            only shrinks.

    Returns:
        The (*shape_hw, 3) canvas, canvas pixels per image pixel (vertically, horizontally), and the
        border above and to the left in pixels.
    """
    height, width = image.shape[:2]
    picture = fit_long_side(image, image_size, smooth=not scale_up)
    tall, wide = picture.shape[:2]
    ratio = min(shape_hw[0] / tall, shape_hw[1] / wide)
    if not scale_up:
        ratio = min(ratio, 1.0)
    new_h, new_w = max(round(tall * ratio), 1), max(round(wide * ratio), 1)
    picture = resize(picture, (new_h, new_w), cv2.INTER_LINEAR)
    top, left = (
        round((full - new) / 2 - HALF_TIE)
        for full, new in zip(shape_hw, (new_h, new_w), strict=True)
    )
    canvas = np.full((*shape_hw, 3), GREY, dtype=np.uint8)
    canvas[top : top + new_h, left : left + new_w] = picture
    return canvas, (new_h / height, new_w / width), (float(top), float(left))


def fit_long_side(image: Pixels, image_size: int, *, smooth: bool) -> Pixels:
    """Bring the long side to `image_size`, the other side rounded up.

    Shrinks by area average when `smooth`, else bilinearly, which is faster; always grows
    bilinearly.
    """
    height, width = image.shape[:2]
    ratio = image_size / max(height, width)
    if ratio == 1:
        return image
    tall, wide = fitted_size((height, width), image_size)
    how = cv2.INTER_AREA if smooth and ratio < 1 else cv2.INTER_LINEAR
    return resize(image, (tall, wide), how)


def resize(image: Pixels, size_hw: Size, how: int) -> Pixels:
    """Return an image of the given size; the same one when it has it already."""
    if image.shape[:2] == size_hw:
        return image
    return cast(Pixels, cv2.resize(image, size_hw[::-1], interpolation=how))


def fitted_size(size_hw: Size, image_size: int) -> Size:
    """Return the sides once the long one is `image_size`: rounded up, in whole numbers.

    The reference multiplies floats, and for some widths (588 to 640) gets a pixel more.
    """
    long_side = max(size_hw)
    height, width = (-(-side * image_size // long_side) for side in size_hw)
    return height, width


def to_planes(image: Pixels, planes: Pixels) -> None:
    """Write an (H, W, 3) image into contiguous (3, H, W) planes."""
    for channel in range(3):
        cv2.extractChannel(image, channel, planes[channel])
