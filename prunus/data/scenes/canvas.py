"""A picture in the making, and who covers which pixel.

Things are painted from back to front. Beside the colours the canvas keeps the number of the topmost
object at each pixel; boxes and visible shares are read off that buffer, never guessed from shapes.
"""

from dataclasses import dataclass, field
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from prunus.data.scenes.geometry import Array, Grid, blur, grown, resize
from prunus.data.scenes.light import Light

MIN_VISIBLE_SHARE = 0.25
"""Objects of which less can be seen get no box: nobody could draw one by eye."""
SOLID = 0.5
"""A pixel belongs to the thing that covers at least this share of it."""


@dataclass(frozen=True)
class Sprite:
    """One thing, painted on a grid of its own that may reach beyond the picture.

    Attributes:
        grid: Where it lies.
        rgb: (3, h, w) linear light.
        alpha: (h, w) coverage in [0, 1].
    """

    grid: Grid
    rgb: Array
    alpha: Array

    def blurred(self, sigma: float) -> "Sprite":
        """Return the sprite out of focus, on a grid that has grown by the blur."""
        if sigma < 0.25:
            return self
        margin = int(np.ceil(2.5 * sigma))
        grid = grown(self.grid, margin)
        layers = np.zeros((4, *grid.shape), dtype=np.float32)
        inner = slice(margin, -margin), slice(margin, -margin)
        layers[(slice(3), *inner)] = self.rgb * self.alpha
        layers[(3, *inner)] = self.alpha
        layers = blur(layers, sigma)
        alpha = layers[3]
        return Sprite(grid, layers[:3] / np.maximum(alpha, (1e-4)), alpha)

    def enlarged(self, times: int) -> "Sprite":
        """Return the sprite at `times` the size, about the picture's origin."""
        height, width = (side * times for side in self.grid.shape)
        left, top = self.grid.left * times, self.grid.top * times
        x = np.arange(left, left + width, dtype=np.float32)[None, :] + 0.5
        y = np.arange(top, top + height, dtype=np.float32)[:, None] + 0.5
        shape = (height, width)
        return Sprite(
            Grid(left, top, x, y),
            resize(self.rgb, shape, smooth=False),
            resize(self.alpha, shape, smooth=False),
        )


@dataclass
class Canvas:
    """What has been painted so far.

    Attributes:
        image: (3, H, W) linear light.
        light: What falls on everything.
        grain: (texels, texels) noise that all surfaces take their grain from.
        dapple: (H, W) factor: patches of light and shade that leaves out of sight throw on things.
        ids: (H, W) number of the topmost labelled object, from 1; 0 where there is none.
        near: (H, W) coverage by things close enough to catch a shadow, in [0, 1].
        classes: Class of object 1, 2, ...
        areas: Pixels that object 1, 2, ... would cover without others and without a border.
    """

    image: Array
    light: Light
    grain: Array
    dapple: Array
    ids: NDArray[np.int16]
    near: Array
    classes: list[int] = field(default_factory=list)
    areas: list[int] = field(default_factory=list)

    @property
    def unit(self) -> float:
        """Pixels of the shorter side; scenes are laid out in shares of it."""
        return float(min(self.ids.shape))

    def paint(
        self, sprite: Sprite, *, kind: int | None = None, defocus: float = 0.0, height: float = 0.03
    ) -> None:
        """Lay a sprite over the picture.

        Args:
            sprite: What to paint.
            kind: Its class, or None for things that get no box.
            defocus: Gaussian sigma in pixels.
            height: How far before the things behind it floats, in units: moves and softens its
                shadow. At 0 it casts none.
        """
        sprite = sprite.blurred(defocus)
        if height > 0:
            self._cast_shadow(sprite, height)
        number = 0
        if kind is not None:
            self.classes.append(kind)
            self.areas.append(int(np.count_nonzero(sprite.alpha >= SOLID)))
            number = len(self.classes)
        window = _overlap(sprite.grid, self.ids.shape, 0, 0)
        if window is None:
            return
        here, there = window
        alpha = sprite.alpha[there]
        behind = self.image[(slice(None), *here)]
        behind += (sprite.rgb[(slice(None), *there)] * self.dapple[here] - behind) * alpha
        self.near[here] = np.maximum(self.near[here], alpha)
        self.ids[here][alpha >= SOLID] = number

    def _cast_shadow(self, sprite: Sprite, height: float) -> None:
        towards = self.light.towards_sun
        reach = height * self.unit / max(float(towards[2]), 0.5)
        sigma = 0.35 * height * self.unit
        margin = int(np.ceil(2.5 * sigma))
        right, down = round(-float(towards[0]) * reach), round(-float(towards[1]) * reach)
        window = _overlap(grown(sprite.grid, margin), self.ids.shape, right, down)
        if window is None:
            return
        here, there = window
        if not self.near[here].any():
            return
        alpha = cv2.copyMakeBorder(
            sprite.alpha, margin, margin, margin, margin, cv2.BORDER_CONSTANT
        )
        shade = blur(cast("Array", alpha), sigma)[there] * self.near[here]
        self.image[(slice(None), *here)] *= 1 - self.light.shadow * shade

    def labels(self) -> tuple[Array, NDArray[np.int64]]:
        """Return (N, 4) xyxy boxes in pixels and (N,) classes of what can be seen well enough."""
        boxes, classes = [], []
        seen = np.bincount(self.ids.ravel(), minlength=len(self.classes) + 1)
        for number, (kind, area) in enumerate(zip(self.classes, self.areas, strict=True), start=1):
            if area == 0 or seen[number] < MIN_VISIBLE_SHARE * area:
                continue
            mask = self.ids == number
            columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
            boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
            classes.append(kind)
        return np.array(boxes, dtype=np.float32).reshape(-1, 4), np.array(classes, dtype=np.int64)


Window = tuple[slice, slice]


def _overlap(
    grid: Grid, shape: tuple[int, int], right: int, down: int
) -> tuple[Window, Window] | None:
    """Return the slices of the picture and of the shifted grid that coincide, or None."""
    left, top = grid.left + right, grid.top + down
    height, width = grid.shape
    x0, x1 = max(left, 0), min(left + width, shape[1])
    y0, y1 = max(top, 0), min(top + height, shape[0])
    if x0 >= x1 or y0 >= y1:
        return None
    here = slice(y0, y1), slice(x0, x1)
    return here, (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
