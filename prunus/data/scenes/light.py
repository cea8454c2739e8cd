"""The hour and the weather: where the light comes from and which colours it has."""

from dataclasses import dataclass

import numpy as np

from prunus.data.scenes.geometry import Array
from prunus.data.scenes.palette import colour, mix_two


@dataclass(frozen=True)
class Light:
    """What falls on a surface; directions have x to the right, y down and z towards the viewer.

    Attributes:
        towards_sun: (3,) unit vector from the scene to the sun.
        sun: (3, 1, 1) linear colour of direct light.
        sky: (3, 1, 1) linear colour of the light from above.
        ground: (3, 1, 1) linear colour of the light from below.
        shadow: How dark cast shadows are, in [0, 1].
    """

    towards_sun: Array
    sun: Array
    sky: Array
    ground: Array
    shadow: float

    @property
    def mean(self) -> Array:
        """(3, 1, 1) light on what faces the viewer; for things painted without a surface."""
        return self.sun * 0.55 + (self.sky + self.ground) * 0.5

    def on(self, nx: Array, ny: Array, nz: Array, wrap: float = 0.15) -> Array:
        """Return (3, h, w) light on surfaces with unit normals (h, w).

        Args:
            nx: Normals to the right.
            ny: Normals down.
            nz: Normals towards the viewer.
            wrap: How far sunlight creeps round the edge, as in flesh that light enters.
        """
        facing = nx * self.towards_sun[0] + ny * self.towards_sun[1] + nz * self.towards_sun[2]
        direct = np.clip((facing + wrap) / (1 + wrap), 0, 1)
        above = 0.5 - 0.5 * ny
        lit: Array = direct * self.sun + above * (self.sky - self.ground) + self.ground
        return lit

    def glint(self, nx: Array, ny: Array, nz: Array, sharpness: float) -> Array:
        """Return (h, w) the share of sunlight mirrored to the viewer (Blinn's half vector)."""
        half = self.towards_sun + np.array([0, 0, 1], dtype=np.float32)
        half /= np.linalg.norm(half)
        facing: Array = np.clip(nx * half[0] + ny * half[1] + nz * half[2], 0, 1)
        return facing**sharpness


_HOURS = (
    # sun, sky, ground, height of the sun, darkness of shadows, how often
    ("ffd9bd", "99a3c4", "6a6252", 0.35, 0.55, 0.16),  # dawn
    ("fff0d6", "a9bede", "6a7048", 0.75, 0.60, 0.26),  # morning
    ("fffaf0", "a8c0e6", "74784e", 1.05, 0.65, 0.24),  # noon
    ("c0c4c8", "ccd4dc", "868a80", 0.95, 0.25, 0.18),  # overcast
    ("ffc98c", "9a9ab6", "75644c", 0.30, 0.60, 0.16),  # evening
)


def draw_light(rng: np.random.Generator) -> Light:
    """Choose an hour, the side that the sun stands on, small deviations of colour and strength."""
    shares = np.array([hour[-1] for hour in _HOURS])
    sun, sky, ground, height, shadow, _ = _HOURS[rng.choice(len(_HOURS), p=shares)]
    side = rng.uniform(-1.1, 1.1)
    climb = height * rng.uniform(0.75, 1.2)
    direction = np.array(
        [np.sin(side) * np.cos(climb), -np.sin(climb), np.cos(side) * np.cos(climb) + 0.25],
        dtype=np.float32,
    )
    cast = mix_two(colour("fff1e0"), colour("e6f0ff"), rng.uniform(0, 1))
    strength = rng.uniform(0.85, 1.15)
    return Light(
        towards_sun=direction / np.linalg.norm(direction),
        sun=colour(sun) * cast * strength,
        sky=colour(sky) * cast * 0.62 * strength,
        ground=colour(ground) * 0.6 * strength,
        shadow=shadow,
    )
