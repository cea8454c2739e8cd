"""A camera of this machine, by its number."""

from functools import partial
from pathlib import Path

from prunus.predict.shot import Source
from prunus.predict.sources.capture import Capture
from prunus.predict.sources.live import LiveSource

MOST_DIGITS = 9
"""Longer numbers fit into no 32 bits, as drivers count."""


def claims(word: str) -> bool:
    return word.isdecimal() and len(word) <= MOST_DIGITS and not Path(word).exists()


def open_source(word: str, vid_stride: int) -> Source:
    title = f"camera {int(word)}"
    return LiveSource(
        title, title.replace(" ", "-"), partial(Capture, int(word), title), vid_stride
    )
