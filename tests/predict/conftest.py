"""Scenes whose truth is known: red squares, a runner that finds them, videos of them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from prunus.core.records import Size
from prunus.data.decode import Pixels
from prunus.predict.quiet import be_quiet

Box = tuple[int, int, int, int]
ROOM = 64
"""Candidates of an image."""


class FindsSquares:
    """A `Runner` that boxes each patch of red pixels; larger patches have higher scores.

    Attributes:
        shapes: Of all batches that it saw.
    """

    names, stride = ("square", "circle"), 32

    def __init__(self, size_hw: Size | None = None, batch: int | None = None) -> None:
        self.size_hw, self.batch = size_hw, batch
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.shapes.append(tuple(images.shape))
        return torch.stack([self._of(image.numpy().astype(int)) for image in images])

    @staticmethod
    def _of(image: "np.ndarray") -> Tensor:
        red = ((image[0] > 180) & (image[1] < 80)).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(red)
        rows = torch.zeros(ROOM, 7)
        for place, (left, top, width, height, area) in enumerate(stats[1:ROOM]):
            score = 0.9 - 0.2 / (1 + area / 1000)
            rows[place] = torch.tensor(
                [left + width / 2, top + height / 2, width, height, score, 1.0, 0.0]
            )
        return rows


def scene(size_hw: Size, *boxes: Box) -> Pixels:
    """Return a grey picture with red squares, given as xyxy."""
    image = np.full((*size_hw, 3), 120, np.uint8)
    for left, top, right, bottom in boxes:
        image[top:bottom, left:right] = (230, 20, 20)
    return image


def film(path: Path, frames: int, fps: float = 10.0, size_hw: Size = (96, 160)) -> Path:
    """Write a video in which a square of 24 pixels goes to the right, two pixels a frame."""
    be_quiet()  # is read once a process: before any video
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, fps, size_hw[::-1])
    assert writer.isOpened()
    for number in range(frames):
        left = 8 + 2 * number
        image = scene(size_hw, (left, 32, left + 24, 56))
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture
def squares() -> type[FindsSquares]:
    return FindsSquares


@pytest.fixture
def make_scene() -> Callable[..., Pixels]:
    return scene


@pytest.fixture
def make_film() -> Callable[..., Path]:
    return film
