"""What lies behind the branch, out of focus: sky, foliage, a meadow, a trunk, a wall.

Backgrounds are painted at half the picture's size: they are blurred anyway.
"""

from collections.abc import Callable

import cv2
import numpy as np

from prunus.data.scenes.geometry import Array, blur, mix, resize, smoothstep
from prunus.data.scenes.light import Light
from prunus.data.scenes.palette import BARK, FOLIAGE, GRASS, WHITE, colour, colours, mix_two, pick
from prunus.data.scenes.texture import noise

Shape = tuple[int, int]
Painter = Callable[[np.random.Generator, Light, Shape], Array]


def background(rng: np.random.Generator, light: Light, size_hw: Shape, kind: str) -> Array:
    """Return (3, H, W) linear light of the backdrop `kind` of BACKGROUNDS."""
    shape = max(size_hw[0] // 2, 8), max(size_hw[1] // 2, 8)
    far = BACKGROUNDS[kind](rng, light, shape)
    sharpness = {"wall": 0.004, "trunk": 0.005}.get(kind, 0.012)
    far = blur(far, rng.uniform(0.6, 1.6) * sharpness * min(shape))
    return np.maximum(resize(far, size_hw, smooth=False), 0)


def _rows(shape: Shape) -> Array:
    return np.broadcast_to(np.linspace(0, 1, shape[0], dtype=np.float32)[:, None], shape)


def _columns(shape: Shape) -> Array:
    return np.broadcast_to(np.linspace(0, 1, shape[1], dtype=np.float32)[None, :], shape)


def sky(rng: np.random.Generator, light: Light, shape: Shape) -> Array:
    """Open sky with clouds, and mostly the tops of far trees."""
    zenith = mix_two(colour("4d86cf"), light.sky * 1.5, rng.uniform(0.1, 0.8))
    horizon = mix_two(colour("dbe6ee"), light.sun, rng.uniform(0.1, 0.6))
    rgb = mix(zenith, horizon, _rows(shape) ** rng.uniform(0.6, 1.4))
    cover = noise(rng, shape, (4, 2.5), 4)
    edge = rng.uniform(0.4, 0.75)
    clouds = smoothstep(edge, edge + 0.3, cover)
    rgb = mix(rgb, light.sun * 0.75 + light.sky * 0.5, clouds * 0.8)
    crowns = (noise(rng, shape, (1, 8), 3) - 0.5) * 0.16
    trees = smoothstep(0.0, 0.03, _rows(shape) - rng.uniform(0.6, 1.15) + crowns)
    haze = mix_two(pick(rng, FOLIAGE) * light.mean, horizon, rng.uniform(0.25, 0.65))
    return mix(rgb, haze, trees)


def foliage(rng: np.random.Generator, light: Light, shape: Shape) -> Array:
    """Leaves far out of focus: masses of green, and discs where the light falls through."""
    dark, bright = pick(rng, FOLIAGE[:3]), pick(rng, FOLIAGE[2:])
    masses = smoothstep(0.15, 0.85, noise(rng, shape, (3, 3), 3))
    shaded = mix(dark, bright, masses) * light.mean * (1.25 - 0.6 * _rows(shape))
    rgb = _discs(rng, shaded, bright * light.mean * 1.5, int(rng.integers(10, 30)), 0.5)
    glow = (light.sun + light.sky) * colour("ebf8d5")
    return _discs(rng, rgb, glow, int(rng.integers(4, 26)), 0.75)


def _discs(rng: np.random.Generator, rgb: Array, tint: Array, count: int, strength: float) -> Array:
    """Add discs of confusion: bright points as a lens sees them that is focused elsewhere."""
    height, width = shape = rgb.shape[1:]
    unit = min(shape)
    size = rng.uniform(0.025, 0.06)
    for x, y, radius, force in rng.random((count, 4)).tolist():
        centre = (round(x * width * 16), round(y * height * 16))
        reach = unit * size * (0.6 + 0.8 * radius)
        mask = np.zeros(shape, dtype=np.uint8)
        cv2.circle(mask, centre, round(reach * 16), 255, -1, cv2.LINE_AA, 4)
        rgb = mix(rgb, tint, mask.astype(np.float32) * (strength * (0.25 + 0.75 * force) / 255))
    return rgb


def meadow(rng: np.random.Generator, light: Light, shape: Shape) -> Array:
    """Grass up to a line of trees or sky, with blades near by and flowers."""
    back = (foliage if rng.random() < 0.6 else sky)(rng, light, shape)
    line = rng.uniform(0.2, 0.6)
    depth = np.clip((_rows(shape) - line) / (1 - line), 0, 1)
    lawn = mix(pick(rng, GRASS[2:]), pick(rng, GRASS[:3]), depth * 0.8)
    lawn = lawn * (0.6 + 0.8 * noise(rng, shape, (9, 4), 3))
    lawn = _flowers(rng, _blades(rng, lawn, line), line) * light.mean * 1.1
    edge = (noise(rng, shape, (2, 6), 2) - 0.5) * 0.06
    return mix(back, lawn, smoothstep(-0.02, 0.03, _rows(shape) - line + edge))


def _blades(rng: np.random.Generator, lawn: Array, line: float) -> Array:
    """Draw blades of grass, the far ones first and smaller."""
    _, height, width = lawn.shape
    drawing = np.ascontiguousarray(lawn.transpose(1, 2, 0))
    count = 260
    feet = np.sort(line + (1.08 - line) * np.sqrt(rng.random(count)))
    looks = np.stack(
        [feet, rng.random(count), rng.normal(0, 0.5, count), rng.random(count)], axis=1
    )
    for foot, x, lean, tone in looks.tolist():
        near = (foot - line) / (1 - line)
        tall = 0.03 + 0.16 * near
        root = (round(x * width), round(foot * height))
        tip = (round((x + lean * tall * 0.5) * width), round((foot - tall) * height))
        tint = 0.75 * mix_two(GRASS[0], GRASS[4], tone)
        cv2.line(
            drawing,
            root,
            tip,
            tint.ravel().tolist(),
            max(1, round(0.012 * near * min(height, width))),
        )
    return drawing.transpose(2, 0, 1)


def _flowers(rng: np.random.Generator, lawn: Array, line: float) -> Array:
    """Strew daisies or dandelions: specks that look like blossoms from afar."""
    _, height, width = lawn.shape
    mask = np.zeros((height, width), dtype=np.uint8)
    tint = (0.8 * WHITE, colour("f0c830"))[int(rng.integers(2))]
    for x, depth, size in rng.random((int(rng.integers(0, 22)), 3)).tolist():
        spot = (round(x * width), round((line + (1 - line) * depth) * height))
        cv2.circle(mask, spot, max(1, round((0.004 + 0.012 * depth * size) * height)), 255, -1)
    return mix(lawn, tint, mask.astype(np.float32) / 255)


def trunk(rng: np.random.Generator, light: Light, shape: Shape) -> Array:
    """The trunk of the tree itself, close behind, with foliage beside it."""
    back = foliage(rng, light, shape)
    middle, half = rng.uniform(0.2, 0.8), rng.uniform(0.25, 0.6)
    wander = (noise(rng, shape, (3, 2), 3) - 0.5) * 0.12
    side = (_columns(shape) - middle + wander) / half
    ridges = 1 - np.abs(noise(rng, shape, (5, 22), 3) * 2 - 1)
    plates = noise(rng, shape, (12, 9), 3)
    wood = mix(pick(rng, BARK[:2]), pick(rng, BARK[2:]), np.clip(ridges * 0.7 + plates * 0.4, 0, 1))
    moss = smoothstep(0.6, 0.85, noise(rng, shape, (4, 4), 3)) * rng.uniform(0, 0.6)
    wood = mix(wood, colour("6f7f3a"), moss)
    round_side = np.clip(side, -1, 1)
    z = np.sqrt(1 - 0.9 * round_side * round_side)
    lit = wood * light.on(round_side, np.zeros_like(z), z) * 0.8
    return mix(back, lit, smoothstep(1.02, 0.98, np.abs(side)))


def wall(rng: np.random.Generator, light: Light, shape: Shape) -> Array:
    """Bricks, planks or plaster with the shadow of a tree on it."""
    face = (_bricks, _planks, _plaster)[int(rng.integers(3))](rng, shape)
    stains = 0.75 + 0.5 * noise(rng, shape, (3, 3), 4)
    shade = 1 - (light.shadow * 0.6) * smoothstep(0.42, 0.72, noise(rng, shape, (7, 7), 3))
    slope = 1 + (_columns(shape) - 0.5) * rng.uniform(-0.5, 0.5)
    weathered: Array = face * (stains * shade * slope) * light.mean
    return weathered


def _bricks(rng: np.random.Generator, shape: Shape) -> Array:
    rows = int(rng.integers(7, 13))
    wide = rng.uniform(2.0, 2.6) * shape[0] / rows
    brick_y = np.arange(shape[0], dtype=np.float32) * (rows / shape[0])
    row = brick_y.astype(np.int64)
    brick_x = (
        np.arange(shape[1], dtype=np.float32)[None, :] / wide
        + 0.5 * (row % 2).astype(np.float32)[:, None]
    )
    column = brick_x.astype(np.int64)
    tones = rng.random((64, 64), dtype=np.float32)[row[:, None] % 64, column % 64]
    rgb = mix(
        colour(str(rng.choice(["9a4a34", "8a5a48", "a8705a", "b0a090"]))),
        colour("6a3a30"),
        tones * 0.8,
    )
    from_y = np.minimum(brick_y % 1, 1 - brick_y % 1)[:, None] * (shape[0] / rows)
    from_x = np.minimum(brick_x % 1, 1 - brick_x % 1) * wide
    gap = 0.045 * shape[0] / rows
    mortar = smoothstep(1.6, 0.8, np.minimum(from_y, from_x) / gap)
    return mix(rgb, colour("b8ab98"), mortar)


def _planks(rng: np.random.Generator, shape: Shape) -> Array:
    count = int(rng.integers(4, 8))
    place = _columns(shape) * count + rng.random()
    tones = rng.random(16, dtype=np.float32)[place.astype(np.int64)]
    fibres = noise(rng, shape, (2, 40), 3)
    old, new = colours("6f6a64 8c7458 a8835a 9fb0b4")[rng.permutation(4)[:2]]
    rgb = mix(old, new, tones * 0.5) * (0.65 + 0.7 * fibres)
    slit = np.minimum(place % 1, 1 - place % 1)
    return rgb * smoothstep(0.0, 0.04, slit)


def _plaster(rng: np.random.Generator, shape: Shape) -> Array:
    tint = pick(rng, colours("efe8da e6d2b0 d9a884 c9cfd0 e9e0cf"))
    worn = smoothstep(0.6, 0.8, noise(rng, shape, (4, 4), 4))
    rough = 0.88 + 0.24 * noise(rng, shape, (40, 40), 2)
    return mix(tint * 0.8, colour("8a6a54"), worn * 0.45) * rough


BACKGROUNDS: dict[str, Painter] = {
    "sky": sky,
    "foliage": foliage,
    "meadow": meadow,
    "trunk": trunk,
    "wall": wall,
}


def sun_flare(rng: np.random.Generator, light: Light, size_hw: Shape) -> Array:
    """Return (3, H, W) light to add: the veil that the sun outside the picture lays over a lens."""
    small = 24, 24
    corner = 0.5 + 0.9 * float(light.towards_sun[0]) + rng.normal(0, 0.1)
    away = (_columns(small) - corner) ** 2 + (_rows(small) + 0.15) ** 2
    veil = np.exp(-away * rng.uniform(2, 6)) * (
        rng.uniform(0, 0.28) if light.shadow > 0.4 else 0.03
    )
    return resize(np.ascontiguousarray(veil * light.sun), size_hw, smooth=False)
