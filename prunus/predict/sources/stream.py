"""A stream of the network, by its address."""

from functools import partial

import cv2

from prunus.core.errors import DataError
from prunus.predict.address import is_address, scheme_of, stem_of, without_secrets
from prunus.predict.shot import Source
from prunus.predict.sources.capture import Capture
from prunus.predict.sources.live import LiveSource

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "tcp", "srt")
WEB = ("http", "https", "ftp", "file")
PATIENCE_MS = 10_000
"""For a connection, and for a frame; OpenCV's own is 30 s."""


def claims(word: str) -> bool:
    return is_address(word)


def open_source(word: str, vid_stride: int) -> Source:
    """Return the stream; it is connected to when its frames are asked for.

    Raises:
        DataError: It is no address of a stream.
    """
    title = without_secrets(word)
    if scheme_of(word) in WEB:
        raise DataError(f"{title}: web addresses are not fetched. Download it, and give the file.")
    if scheme_of(word) not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise DataError(f"{title}: no stream of a known kind. Give one of {known}.")
    options = (
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, PATIENCE_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, PATIENCE_MS,
    )  # fmt: skip
    return LiveSource(title, stem_of(word), partial(Capture, word, title, options), vid_stride)
