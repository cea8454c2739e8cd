"""From light to picture: exposure, glow, vignette, colour, sensor noise and the display's curve."""

import numpy as np
from numpy.typing import NDArray

from prunus.data.scenes.geometry import Array, blur, resize

_STEPS = 1 << 14


def _curve() -> NDArray[np.uint8]:
    """Return (65536,) display values of light in steps of 1 / _STEPS.

    Highlights roll off as x / (1 + 0.8 x^4)^(1/4), then comes the gamma of 2 of `palette`.
    """
    light = np.arange(1 << 16) / _STEPS
    display = np.sqrt(light / (1 + 0.8 * light**4) ** 0.25)
    levels: NDArray[np.uint8] = np.rint(255 * display.clip(0, 1)).astype(np.uint8)
    return levels


_CURVE = _curve()


def develop(rng: np.random.Generator, image: Array, white: Array) -> NDArray[np.uint8]:
    """Return the picture that a camera makes of a scene.

    Args:
        rng: Source of the camera's settings and noise.
        image: (3, H, W) linear light.
        white: (3, 1, 1) light on a white card; its tint is partly taken out, as a camera does.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    shape = image.shape[1:]
    quarter = resize(image, (max(shape[0] // 4, 4), max(shape[1] // 4, 4)), smooth=False)
    exposure = (rng.uniform(0.22, 0.34) / max(float(quarter.mean()), 0.02)) ** 0.7
    balance = (white.mean() / white) ** rng.uniform(0.3, 0.7)
    image = image * (exposure * balance * _vignette(rng, shape))
    bright = blur(np.maximum(quarter * exposure - 0.65, 0), 0.02 * min(shape) / 4)
    image += 0.4 * resize(bright, shape, smooth=False)
    grey = image.mean(axis=0)
    image += (image - grey) * rng.uniform(0.05, 0.35)
    image += _sensor_noise(rng, shape, rng.uniform(0.004, 0.02))
    levels = np.clip(image * _STEPS, 0, len(_CURVE) - 1).astype(np.uint16)
    return _CURVE[levels.transpose(1, 2, 0)]


def _vignette(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return (H, W) factor that falls off towards the corners."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    return 1 - rng.uniform(0.08, 0.22) * (x * x + y * y)


def _sensor_noise(rng: np.random.Generator, shape: tuple[int, ...], amplitude: float) -> Array:
    """Return (H, W) uniform noise; drawn as bytes, which is ten times as fast as normal numbers."""
    steps = rng.integers(-127, 128, shape, dtype=np.int8)
    return steps * np.float32(amplitude / 127)
