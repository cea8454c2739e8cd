"""Colours, as linear light.

Everything is mixed in linear light, where blur and shadow look right, and encoded with a square
root at the end: a display gamma of 2, near enough to sRGB and simpler.
"""

import numpy as np

from prunus.data.scenes.geometry import Array


def colour(code: str) -> Array:
    """Return (3, 1, 1) linear light in [0, 1] for a display colour such as "8e1f33"."""
    display = np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], dtype=np.float32) / 255
    return (display * display)[:, None, None]


def colours(codes: str) -> Array:
    """Return (n, 3, 1, 1) linear colours for codes separated by spaces."""
    return np.stack([colour(code) for code in codes.split()])


def pick(rng: np.random.Generator, choices: Array) -> Array:
    """Return one colour that lies somewhere between two neighbours of a row of colours."""
    place = rng.uniform(0, len(choices) - 1)
    first = min(int(place), len(choices) - 2)
    return mix_two(choices[first], choices[first + 1], place - first)


def mix_two(one: Array, other: Array, share: float) -> Array:
    """Blend two colours of the same shape by one share."""
    return one + (other - one) * share


WHITE = colour("ffffff")
BARK = colours("3d2c22 5b4334 76604d 8a7a6a")
TWIG = colours("4a3226 6b4a34 6d5b3a")
LICHEN = colour("aeb89a")
STEM = colours("5d7030 7a6a3a 6b4a2c")
LEAF = colours("2f5a20 3f7326 4f8a2c 6a9c38 86ad48 9cb85a")
AUTUMN = colours("a9a23a c78a2e b5562a 8e4a2a")
FOLIAGE = colours("16280f 24421a 3a6424 5d8a34 8fb04e")
GRASS = colours("1f3a14 34591d 55822b 7fa43f a9bf62")
