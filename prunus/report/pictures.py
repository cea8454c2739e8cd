"""The section of images: the same ones as two models see them, the worst regressions first."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from prunus.core.errors import DataError
from prunus.data.decode import load_image
from prunus.evaluate.confusion import CONFIDENCE
from prunus.report.blocks import Block, Gallery, MissingError, Pair, Paragraph
from prunus.report.compressed import Compressed
from prunus.report.judged import Model
from prunus.report.regressions import Findings, Regression, worst
from prunus.report.sources import Source
from prunus.report.svg.photo import Box, photo, photo_def
from prunus.report.values import text

QUALITY = 60
"""Of the JPEGs: boxes are drawn over them, not into them, so they may be poor."""
LOOKS = {
    "hit": "found",
    "false": "found where nothing is labelled",
    "lost": "missed here only",
    "gained": "found here only",
}
"""What a box's look stands for."""
MOST_TAGS = 4
"""False findings of an image that have their class and score beside them; more would hide it."""


@dataclass(frozen=True)
class Chosen:
    """The images to be shown, and of how many they are the worst."""

    regressions: Sequence[Regression]
    total: int
    split: str
    headings: tuple[str, str]


@dataclass(frozen=True)
class Pictures:
    """Finished blocks, and the pixels that they refer to."""

    blocks: Sequence[Block]
    defs: Sequence[Markup]


def choose(run: Compressed, count: int) -> Chosen:
    """Return the images on which the result lost most against the fair comparator.

    Raises:
        MissingError: Models, their runs of `prunus val`, or the data set are not there.
    """
    if count == 0:
        raise MissingError("no images were asked for.")
    fair, result = run.needed_pair()
    split, before, after = _judged(fair, result)
    regressions, total = worst(before, after, count)
    return Chosen(regressions, total, split, (f"before: {fair.name}", f"after: {result.name}"))


def show(chosen: Chosen, side: int) -> Pictures:
    """Draw the images, each at most `side` pixels long."""
    pairs, defs = [], []
    for number, regression in enumerate(chosen.regressions, start=1):
        try:
            pixels = load_image(regression.path, coarse_to=side)
        except DataError:
            continue  # deleted since the index was made
        name = f"photo-{number}"
        address, size_wh = thumbnail(pixels, side)
        defs.append(photo_def(name, size_wh, address))
        pairs.append(_pair(regression, name, size_wh))
    if not pairs:
        raise MissingError("the images cannot be read any more.")
    return Pictures([Paragraph(_words(chosen)), Gallery(chosen.headings, pairs)], defs)


def thumbnail(pixels: NDArray[np.uint8], side: int) -> tuple[str, tuple[int, int]]:
    """Return a JPEG as a `data:` URI, its long side `side` pixels or less, and its size."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}", picture.size


def boxes_of(
    regression: Regression, findings: Findings, other: Findings, scale: tuple[float, float]
) -> list[Box]:
    """Return what to draw of one model's findings.

    Args:
        regression: The image.
        findings: The model's.
        other: The other one's: what only one of them found stands out.
        scale: Shown pixels for one of the image, across and down.
    """
    found = findings.detections
    few = int((~findings.hits).sum()) <= MOST_TAGS
    boxes = [
        _box(
            found.boxes_xyxy[place],
            scale,
            "hit" if findings.hits[place] else "false",
            f"{_name(regression, int(found.classes[place]))} {found.scores[place]:.2f}",
            tagged=few and not findings.hits[place],
        )
        for place in np.argsort(~findings.hits, kind="stable")  # hits lie below
    ]
    labels = regression.labels
    for place in np.flatnonzero(findings.found != other.found):
        look = "gained" if findings.found[place] else "lost"
        name = _name(regression, int(labels.classes[place]))
        boxes.append(_box(labels.boxes_xyxy[place], scale, look, name, tagged=True))
    return boxes


def _box(
    edges: NDArray[np.float32], scale: tuple[float, float], look: str, words: str, *, tagged: bool
) -> Box:
    across, down = scale
    left, top, right, bottom = (float(edge) for edge in edges)
    return Box(
        left * across,
        top * down,
        right * across,
        bottom * down,
        look,
        f"{words}: {LOOKS[look]}",
        words if tagged else "",
    )


def _pair(regression: Regression, name: str, size_wh: tuple[int, int]) -> Pair:
    height, width = regression.size_hw
    scale = (size_wh[0] / width, size_wh[1] / height)
    lost, gained = int(regression.lost.sum()), int(regression.gained.sum())
    objects = len(regression.labels.classes)
    title = text(regression.path.name)
    false = [int((~side.hits).sum()) for side in (regression.before, regression.after)]
    views = []
    for word, own, other in (
        ("before", regression.before, regression.after),
        ("after", regression.after, regression.before),
    ):
        hits = int(own.found.sum())
        alt = f"{title}, {word}: {hits} of {objects} objects found, {(~own.hits).sum()} false"
        views.append(photo(name, size_wh, boxes_of(regression, own, other, scale), alt))
    caption = (
        f"{lost} of {objects} objects lost, {gained} gained; false findings {false[0]} → {false[1]}"
    )
    return Pair(title, caption, views[0], views[1])


def _judged(fair: Model, result: Model) -> tuple[str, Source, Source]:
    """Return the split on which both were judged, and the two runs."""
    sides = (("validation", fair.val, result.val), ("test", fair.test, result.test))
    for split, before, after in sides:
        if before.run is not None and after.run is not None:
            return split, before.run, after.run
    raise MissingError("the runs of prunus val of both models are not in the run folder.")


def _words(chosen: Chosen) -> str:
    lost = sum(int(one.lost.sum()) for one in chosen.regressions)
    shown = len(chosen.regressions)
    return (
        f"The {shown} of {chosen.total} {chosen.split} images on which most was lost: {lost} "
        f"objects that the first model finds and the second one misses (IoU .5, confidence above "
        f"{CONFIDENCE}). They are the worst ones, not typical ones."
    )


def _name(regression: Regression, class_: int) -> str:
    known = 0 <= class_ < len(regression.names)
    return text(regression.names[class_]) if known else f"class {class_}"
