"""One orchard picture from (seed, number): backdrop, limbs, what grows on them, the lens."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunus.data.scenes.background import BACKGROUNDS, background, sun_flare
from prunus.data.scenes.blossom import draw_petal_colour
from prunus.data.scenes.canvas import Canvas
from prunus.data.scenes.geometry import Array, smoothstep
from prunus.data.scenes.growth import (
    Orchard,
    hang_curtain,
    hold_leaf_before_lens,
    paint_item,
    paint_limb,
    strew_pebbles,
)
from prunus.data.scenes.layout import CLASS_NAMES, SEASONS, plan
from prunus.data.scenes.lens import develop
from prunus.data.scenes.light import Light, draw_light
from prunus.data.scenes.plum import draw_variety
from prunus.data.scenes.texture import grain, noise

__all__ = ["CLASS_NAMES", "Scene", "paint_scene", "render_scene"]

MIN_OBJECTS = 2
"""Scenes in which less can be seen are laid out anew."""


@dataclass(frozen=True)
class Scene:
    """One generated picture and what there is to find in it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes_xyxy: (N, 4) float32 pixels, tight around what can be seen of each object.
        classes: (N,) int64 indices into CLASS_NAMES.
    """

    image: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float32]
    classes: NDArray[np.int64]


def render_scene(seed: int, number: int, size_hw: tuple[int, int]) -> Scene:
    """Paint picture `number` of the endless series `seed`.

    A pure function of its arguments. The same (seed, number) at another size of the same shape is
    the same scene, sharper or less so.

    Args:
        seed: Names the series; 0 or more.
        number: Place in the series; 0 or more.
        size_hw: Height and width in pixels.
    """
    rng = np.random.default_rng((seed, number))
    while True:
        canvas = paint_scene(rng, size_hw)
        boxes, classes = canvas.labels()
        if len(classes) >= MIN_OBJECTS:
            return Scene(develop(rng, canvas.image, canvas.light.mean), boxes, classes)


def paint_scene(rng: np.random.Generator, size_hw: tuple[int, int]) -> Canvas:
    """Return the finished canvas of one scene, before the lens."""
    light = draw_light(rng)
    backdrop = str(rng.choice(list(BACKGROUNDS), p=(0.2, 0.3, 0.22, 0.12, 0.16)))
    season = str(rng.choice(list(SEASONS), p=(0.3, 0.3, 0.4)))
    canvas = Canvas(
        image=background(rng, light, size_hw, backdrop),
        light=light,
        grain=grain(rng),
        dapple=_dapple(rng, light, size_hw),
        ids=np.zeros(size_hw, dtype=np.int16),
        near=np.full(size_hw, 0.45 if backdrop in ("wall", "trunk") else 0.0, dtype=np.float32),
    )
    orchard = Orchard(
        rng,
        canvas,
        draw_variety(rng),
        draw_petal_colour(rng),
        autumn=float(rng.choice((0.0, 0.15, 0.6), p=(0.6, 0.3, 0.1))),
        depth_of_field=float(rng.choice((0.0, 0.003, 0.008))),
    )
    _fill(orchard, backdrop, season)
    canvas.image += sun_flare(rng, light, size_hw)
    return canvas


def _fill(orchard: Orchard, backdrop: str, season: str) -> None:
    """Paint everything before the backdrop, from back to front."""
    height, width = orchard.canvas.ids.shape
    frame = height / orchard.canvas.unit, width / orchard.canvas.unit
    layout = plan(orchard.rng, frame, season)
    if backdrop == "meadow":
        strew_pebbles(orchard, frame)
    if backdrop != "wall":
        hang_curtain(orchard, frame)
    for limb in layout.limbs:
        paint_limb(orchard, limb)
    for item in layout.items:
        paint_item(orchard, item)
    if orchard.rng.random() < 0.25:
        hold_leaf_before_lens(orchard, frame)


def _dapple(rng: np.random.Generator, light: Light, size_hw: tuple[int, int]) -> Array:
    """Return (H, W) factor of the shade that leaves outside the picture throw."""
    depth = light.shadow * rng.uniform(0.0, 0.8)
    return 1 - depth * smoothstep(0.52, 0.68, noise(rng, size_hw, (5, 5), 2))
