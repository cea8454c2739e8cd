"""Image files to pixels. The header is judged before anything is decoded.

The EXIF rotation is read in one place and applied in one place, so that sizes in the index and
decoded images always agree. libjpeg may halve an image while decoding (`coarse_to`), which is 2-4
times as fast; only training uses that.
"""

import io
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from prunus.core.errors import DataError
from prunus.data.files import byte_count, exists, is_regular, open_binary, read_bytes
from prunus.data.problems import RuleError

Pixels = NDArray[np.uint8]

PILLOW_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
"""The only decoders that a file may choose; Pillow's others have had bombs and overflows."""
MAX_PIXELS = 170_000_000
"""Just below where Pillow itself refuses; half a gigabyte when decoded."""
BOMB_PIXELS, BOMB_RATIO = 32_000_000, 100
"""Pictures larger than the first, of files so many times smaller than their pixels, are bombs: a
JPEG of a blank page is 60 times smaller."""
MIN_SIDE_PX = 10
"""Smaller images are no photographs: the reference rejects them too (spec 2.8)."""
MAX_FILE_BYTES = 1 << 30
EXIF_ORIENTATION = 0x0112
REDUCED = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)
WHOLE = cv2.IMREAD_COLOR
EXIF_ERRORS = (OSError, ValueError, SyntaxError, TypeError, KeyError, AttributeError, struct.error)


@dataclass(frozen=True)
class Header:
    """What the first bytes of an image say.

    Attributes:
        size_hw: Pixels after EXIF rotation.
        orientation: EXIF's 1 to 8; 1 is upright.
        kind: Pillow's name of the format.
    """

    size_hw: tuple[int, int]
    orientation: int
    kind: str


def read_header(source: Path | bytes) -> Header:
    """Return size and orientation without decoding pixels.

    Raises:
        RuleError: One clause, without the file's name: no known kind, too small or too large.
    """
    try:
        with (
            io.BytesIO(source) if isinstance(source, bytes) else open_binary(source) as stream,
            Image.open(stream, formats=PILLOW_FORMATS) as image,
        ):
            width, height = image.size
            kind = image.format or ""
            orientation = _orientation(image)
            file_bytes = stream.seek(0, os.SEEK_END)
    except Image.DecompressionBombError as error:
        raise RuleError("image-too-large", f"over {MAX_PIXELS // 1_000_000} megapixels") from error
    except UnidentifiedImageError as error:
        raise RuleError(
            "image-kind", f"no image of a known kind ({', '.join(PILLOW_FORMATS)})"
        ) from error
    except EXIF_ERRORS as error:
        raise RuleError("image-header", f"damaged header: {error}") from error
    if width * height > MAX_PIXELS:
        most = MAX_PIXELS // 1_000_000
        raise RuleError("image-too-large", f"{width}x{height} pixels, over {most} megapixels")
    _refuse_bomb(width * height, file_bytes)
    if min(width, height) < MIN_SIDE_PX:
        raise RuleError(
            "image-too-small", f"{width}x{height} pixels, less than {MIN_SIDE_PX} on a side"
        )
    turned = orientation >= 5
    return Header((width, height) if turned else (height, width), orientation, kind)


def _refuse_bomb(pixels: int, file_bytes: int) -> None:
    ratio = 3 * pixels / file_bytes
    if pixels > BOMB_PIXELS and ratio > BOMB_RATIO:
        raise RuleError(
            "image-too-large",
            f"{file_bytes / 1e6:.1f} MB would grow {ratio:.0f} times to {pixels / 1e6:.0f} "
            f"megapixels: taken for a decompression bomb",
        )


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, or 1 when there is none that makes sense."""
    if image.format == "TIFF":  # there it is a tag of the picture, which every decoder applies
        return 1
    try:
        if image.format == "PNG":  # getexif() would decode the whole picture to look behind it
            exif = Image.Exif()
            exif.load(image.info.get("exif", b""))
        else:
            exif = image.getexif()
        value = exif.get(EXIF_ORIENTATION, 1)
    except EXIF_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def load_image(path: Path, *, coarse_to: int = 0) -> Pixels:
    """Return an image as (H, W, 3) uint8 RGB, upright.

    Grey, palette, CMYK, 16-bit and transparent pictures become three channels of 8 bits; of several
    pages the first.

    Args:
        path: The file; any name that the system allows.
        coarse_to: When above 0, decode at 1/2, 1/4 or 1/8 if the long side then still has this many
            pixels.

    Raises:
        DataError: The file is missing, no image, too large, or damaged; names the file.
    """
    try:
        return _decode(path, coarse_to)
    except DataError as error:
        raise DataError(f"{path}: {error}. Replace or remove the image.") from error


def _decode(path: Path, coarse_to: int) -> Pixels:
    content = _file_bytes(path)
    header = read_header(content)
    long_side = max(header.size_hw)
    flag = WHOLE
    if coarse_to and header.kind in ("JPEG", "MPO"):
        flag = next((flag for part, flag in REDUCED if long_side >= part * coarse_to), WHOLE)
    try:
        pixels = cv2.imdecode(
            np.frombuffer(content, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error as error:
        raise RuleError(
            "image-damaged", f"cannot be decoded: {' '.join(str(error).split())}"
        ) from error
    if pixels is None:
        raise RuleError("image-damaged", "cannot be decoded: the picture data is damaged")
    rgb = cast(Pixels, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels))  # in place
    return rgb if header.orientation == 1 else _upright(rgb, header.orientation)


def refuse_odd_file(path: Path) -> None:
    """Refuse what must not be opened: pipes, devices, empty and enormous files.

    Raises:
        RuleError: One clause, without the file's name.
    """
    try:
        if not exists(path):
            raise RuleError("image-missing", "no such image")
        if not is_regular(path):
            raise RuleError("image-odd-file", "no regular file")
        size = byte_count(path)
    except OSError as error:
        raise RuleError("image-unreadable", f"cannot be read: {error.strerror or error}") from error
    if not 0 < size <= MAX_FILE_BYTES:
        if size == 0:
            raise RuleError("image-empty", "an empty file")
        raise RuleError("image-too-large", f"over {MAX_FILE_BYTES >> 30} GB")


def _file_bytes(path: Path) -> bytes:
    refuse_odd_file(path)
    try:
        return read_bytes(path)
    except OSError as error:
        raise RuleError("image-unreadable", f"cannot be read: {error.strerror or error}") from error


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn a picture upright: EXIF's 5 to 8 are transposed, and each is mirrored in its own way."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
