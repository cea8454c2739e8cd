"""Hue, saturation and brightness, each times a random factor. Spec sheet 2.9."""

from typing import cast

import cv2
import numpy as np

from prunus.data.decode import Pixels

HUES = 180
"""OpenCV keeps hue in steps of two degrees."""


def vary_colours(
    image: Pixels, strength_hsv: tuple[float, float, float], rng: np.random.Generator
) -> Pixels:
    """Multiply hue, saturation and value by factors drawn from 1 - strength to 1 + strength.

    Args:
        image: (H, W, 3) uint8 RGB.
        strength_hsv: Strengths; all 0 leaves the picture as it is.
        rng: Where the factors are drawn from.
    """
    factors = 1 + rng.uniform(-1, 1, 3) * np.array(strength_hsv)
    return (
        image
        if not any(strength_hsv)
        else scale_colours(image, (factors[0], factors[1], factors[2]))
    )


def scale_colours(image: Pixels, factors_hsv: tuple[float, float, float]) -> Pixels:
    """Multiply hue (around the circle), saturation and value (up to 255) by the factors."""
    levels = np.arange(256, dtype=np.float64)
    hue, saturation, value = factors_hsv
    tables = np.stack(
        (levels * hue % HUES, (levels * saturation).clip(0, 255), (levels * value).clip(0, 255)),
        axis=-1,
    )
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv = cv2.LUT(hsv, tables.astype(np.uint8)[None])
    return cast(Pixels, cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))
