"""Images to try an export on: of the user's data set, or painted."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from prunus.core.errors import DataError
from prunus.core.records import Size
from prunus.data.letterbox import letterbox, load_image, to_planes
from prunus.data.scenes.compose import render_scene
from prunus.data.spec import read_data

SCENE_SEED = 0


def images_of_data(data: Path, size_hw: Size, count: int, split: str = "val") -> Tensor:
    """Return (B, 3, H, W) uint8: up to `count` images from all over a split, letterboxed.

    Raises:
        DataError: The data set or the split is missing, or an image cannot be read.
    """
    spec = read_data(data)
    paths = [
        path
        for entry in spec.entries(split)
        for path in spec.format_of(entry).list_images(spec.root, entry)
    ]
    if not paths:
        raise DataError(f"{data}: no images in the split '{split}'.")
    step = max(1, len(paths) // count)
    return _stack([load_image(path) for path in paths[::step][:count]], size_hw)


def painted_images(size_hw: Size, count: int) -> Tensor:
    """Return (B, 3, H, W) uint8: generated orchard scenes."""
    return _stack(
        [render_scene(SCENE_SEED, number, size_hw).image for number in range(count)], size_hw
    )


def _stack(images: list[np.ndarray], size_hw: Size) -> Tensor:
    stack = np.empty((len(images), 3, *size_hw), dtype=np.uint8)
    for image, planes in zip(images, stack, strict=True):
        to_planes(letterbox(image, max(size_hw), size_hw, scale_up=False)[0], planes)
    return torch.from_numpy(stack)
