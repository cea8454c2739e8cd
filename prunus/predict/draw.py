"""Boxes and names on an image, and images side by side.

Lines are OpenCV's, letters Pillow's with the typeface that it ships; OpenCV's are mere strokes.
"""

import colorsys
from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from prunus.core.records import Detections

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Colour = tuple[int, int, int]

COLOURS: tuple[Colour, ...] = (
    (233, 30, 99), (33, 133, 235), (255, 171, 0), (0, 184, 132), (142, 68, 214),
    (255, 99, 51), (0, 188, 212), (139, 195, 74), (84, 92, 214), (255, 118, 165),
)  # fmt: skip
"""Chosen by eye to stay apart on photographs; further classes step round the colour circle."""
GOLDEN_STEP = 0.618034
"""Steps of this share of a turn never come back to a hue already used."""
LINE_SHARE, TEXT_SHARE = 0.0026, 0.022
"""Of the image's mean side."""
MIN_LINE_PX, MIN_TEXT_PX = 2, 11
INK, PAPER, GREY = (24, 24, 28), (255, 255, 255), (110, 110, 118)


def colour_of(class_number: int) -> Colour:
    """Return the RGB colour of a class, the same in every image."""
    if class_number < len(COLOURS):
        return COLOURS[class_number]
    turn = class_number - len(COLOURS)
    hue = (0.03 + turn * GOLDEN_STEP) % 1
    lightness = (0.52, 0.64, 0.45)[turn % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.75)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw(
    image: Picture,
    detections: Detections,
    names: Sequence[str],
    *,
    line_width: int | None = None,
    with_names: bool = True,
    with_scores: bool = True,
) -> Picture:
    """Return a copy of `image` with boxes and tags; the most confident lie on top.

    Args:
        image: (H, W, 3) uint8 RGB.
        detections: Boxes in the image's pixels.
        names: Class names, by index.
        line_width: In pixels; by the size of the image if None.
        with_names: Tag each box with its class.
        with_scores: Add the score to the tag.
    """
    canvas = np.ascontiguousarray(image).copy()
    side = sum(image.shape[:2]) / 2
    width = line_width or max(MIN_LINE_PX, round(side * LINE_SHARE))
    text_px = max(MIN_TEXT_PX, round(side * TEXT_SHARE))
    weakest_first = np.argsort(detections.scores, kind="stable")
    for i in weakest_first:
        left, top, right, bottom = (round(float(edge)) for edge in detections.boxes_xyxy[i])
        colour = colour_of(int(detections.classes[i]))
        cv2.rectangle(canvas, (left, top), (right, bottom), colour, width, cv2.LINE_AA)
    if with_names:
        for i in weakest_first:
            number = int(detections.classes[i])
            score = f" {detections.scores[i]:.2f}" if with_scores else ""
            left, top = (round(float(edge)) for edge in detections.boxes_xyxy[i, :2])
            corner = (left - width // 2, top - width // 2)
            _draw_tag(canvas, names[number] + score, corner, text_px, colour_of(number))
    return canvas


def side_by_side(
    before: Sequence[Picture], after: Sequence[Picture], captions: tuple[str, str]
) -> Picture:
    """Return pairs of pictures, a row each, under two captions; see `montage`."""
    return montage(list(zip(before, after, strict=True)), captions)


def montage(
    rows: Sequence[Sequence[Picture]], captions: Sequence[str], *, column_px: int = 640
) -> Picture:
    """Return the pictures as a table on white, with a caption over each column.

    Args:
        rows: Equally long rows of pictures of any size; each is scaled to the column's width.
        captions: One a column. What follows a line break is set smaller, in grey.
        column_px: Width of a column.
    """
    if not rows or any(len(row) != len(captions) for row in rows):
        raise ValueError(f"{len(captions)} captions need rows of as many pictures")
    gap, text_px = max(8, column_px // 40), max(MIN_TEXT_PX, column_px // 26)
    lines = max(caption.count("\n") for caption in captions) + 1
    head = gap + round(text_px * 1.4) * lines
    cells = [[_scaled(picture, column_px) for picture in row] for row in rows]
    heights = [max(len(cell) for cell in row) for row in cells]
    size_hw = (
        head + sum(heights) + gap * len(rows) + gap // 2,
        gap + (column_px + gap) * len(captions),
    )
    canvas = np.full((*size_hw, 3), PAPER, dtype=np.uint8)
    for column, caption in enumerate(captions):
        _write_caption(canvas, caption, (gap + (column_px + gap) * column, gap), text_px)
    top = head + gap // 2
    for row, height in zip(cells, heights, strict=True):
        for column, cell in enumerate(row):
            left = gap + (column_px + gap) * column
            canvas[top : top + len(cell), left : left + column_px] = cell
        top += height + gap
    return canvas


def _draw_tag(
    canvas: Picture, text: str, corner_xy: tuple[int, int], text_px: int, colour: Colour
) -> None:
    """Draw a filled tag that stands on the corner, or hangs below it where there is no room."""
    ink = _ink_on(colour)
    letters = _render(text, text_px)
    pad_y, pad_x = max(2, text_px // 6), max(3, text_px // 3)
    height, width = letters.shape[0] + 2 * pad_y, letters.shape[1] + 2 * pad_x
    left = max(0, min(corner_xy[0], canvas.shape[1] - width))
    top = corner_xy[1] - height if corner_xy[1] >= height else max(0, corner_xy[1])
    tag = np.full((height, width, 3), colour, dtype=np.uint8)
    _blend(tag[pad_y : pad_y + len(letters), pad_x : pad_x + letters.shape[1]], letters, ink)
    place = canvas[top : top + height, left : left + width]
    place[:] = tag[: place.shape[0], : place.shape[1]]


def _write_caption(canvas: Picture, caption: str, corner_xy: tuple[int, int], text_px: int) -> None:
    left, top = corner_xy
    for number, line in enumerate(caption.split("\n")):
        letters = _render(line, text_px if number == 0 else round(text_px * 0.8))
        place = canvas[top : top + letters.shape[0], left : left + letters.shape[1]]
        _blend(place, letters[: place.shape[0], : place.shape[1]], INK if number == 0 else GREY)
        top += round(text_px * 1.4)


def _render(text: str, text_px: int) -> Picture:
    """Return (h, w) coverage in 0 to 255; all texts of one size are equally high."""
    font = _font(text_px)
    width = max(1, round(font.getlength(text)))
    ascent, descent = font.getmetrics()
    page = Image.new("L", (width, ascent + descent))
    ImageDraw.Draw(page).text((0, 0), text, fill=255, font=font)
    return np.asarray(page)


@cache
def _font(text_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(text_px)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow's wheels bring FreeType"
    return font


def _blend(place: Picture, coverage: Picture, colour: Colour) -> None:
    share = coverage[..., None].astype(np.float32) / 255
    place[:] = np.rint(place * (1 - share) + np.array(colour, np.float32) * share).astype(np.uint8)


def _ink_on(colour: Colour) -> Colour:
    """Return dark or white, whichever reads better (weights of ITU-R BT.601)."""
    red, green, blue = colour
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 150 else PAPER


def _scaled(picture: Picture, width: int) -> Picture:
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    shrinks = width < picture.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method), dtype=np.uint8)
