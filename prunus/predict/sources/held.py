"""Pictures that a Python caller holds: files, Pillow pictures, arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from prunus.core.errors import DataError
from prunus.data.decode import MAX_PIXELS, Pixels
from prunus.predict.shot import Shot, Source
from prunus.predict.sources.images import PictureFile

Given = str | Path | Image.Image | Pixels
"""A file, a Pillow picture, or (H, W, 3) uint8 RGB. OpenCV's pictures are BGR: turn them first."""
WIDE = ("I", "F")
"""Pillow's modes of 32 bits: their values have no agreed range."""


@dataclass(frozen=True, eq=False)
class HeldPicture:
    """A picture that the caller holds; see `shot.Source`."""

    image: Pixels
    title = "picture"
    stem = "picture"
    count = 1
    fps = None
    live = False
    lossless = True

    def __iter__(self) -> Iterator[Shot]:
        yield Shot(self.image, self)


def source_of(given: Given, place: str) -> Source:
    """Return what was given as a source of one shot.

    Raises:
        DataError: It is no picture.
    """
    if isinstance(given, str | Path):
        return PictureFile(Path(given))
    if isinstance(given, Image.Image):
        return HeldPicture(_from_pillow(given, place))
    what = type(given).__name__
    if isinstance(given, np.ndarray):
        if given.dtype == np.uint8 and given.shape[2:] == (3,) and given.size:
            return HeldPicture(np.ascontiguousarray(given))
        what = f"{given.dtype} {given.shape}"
    raise DataError(
        f"{place}: expected a path, a Pillow picture or (H, W, 3) uint8 RGB, got {what}."
    )


def _from_pillow(picture: Image.Image, place: str) -> Pixels:
    if picture.width * picture.height > MAX_PIXELS:
        most = MAX_PIXELS // 1_000_000
        raise DataError(
            f"{place}: {picture.width}x{picture.height} pixels, over {most} megapixels."
        )
    if picture.mode in WIDE:
        raise DataError(
            f"{place}: mode {picture.mode} does not say which value is white. Bring it to 8 bits."
        )
    try:
        upright = _narrow(ImageOps.exif_transpose(picture)).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{place}: cannot be decoded: {error}.") from error
    return np.array(upright)


def _narrow(picture: Image.Image) -> Image.Image:
    """Return 16 bits as 8, like `load_image`: Pillow itself would clip them to white."""
    if not picture.mode.startswith("I;16"):
        return picture
    return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
