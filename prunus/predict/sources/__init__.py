"""The open table of sources: what the user points at, and who reads it.

A new kind is one file here with `claims` and `open_source`, and its line in KINDS. Folders,
patterns and `-` (a list on standard input) are no kinds: they stand for other words.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prunus.core.errors import ConfigError, DataError
from prunus.data.paths import IMAGE_SUFFIXES
from prunus.predict.shot import Source
from prunus.predict.sources import camera, images, stream, video
from prunus.predict.sources.images import files_of
from prunus.predict.sources.nothing import Nothing

STDIN = "-"


@dataclass(frozen=True)
class Kind:
    """One kind of source.

    Attributes:
        claims: Whether a word means one of this kind.
        open_source: Makes it from the word; every so many-th frame is looked at.
        live: Whether it goes on for ever: it can only stand alone.
    """

    claims: Callable[[str], bool]
    open_source: Callable[[str, int], Source]
    live: bool = False


KINDS: dict[str, Kind] = {
    "stream": Kind(stream.claims, stream.open_source, live=True),
    "camera": Kind(camera.claims, camera.open_source, live=True),
    "video": Kind(video.claims, video.open_source),
    "image": Kind(images.claims, images.open_source),
}
"""The first that claims a word has it."""
SUFFIXES = (*IMAGE_SUFFIXES, *video.VIDEO_SUFFIXES)


@dataclass(frozen=True)
class Sources:
    """What will be looked at.

    Attributes:
        each: One after another.
        count: Pictures and frames in all; None where that is not known.
        early: Whether the next picture may be read while the last is looked at.
    """

    each: Iterable[Source]
    count: int | None = None
    early: bool = False


def open_sources(
    words: Sequence[str | Path], *, vid_stride: int = 1, listed: Iterable[str] = ()
) -> Sources:
    """Find out what the words mean. Nothing is decoded before it is asked for.

    Args:
        words: Pictures, videos, folders, patterns, a camera's number, a stream's address, or `-`.
        vid_stride: Of videos and streams, every so many-th frame.
        listed: What `-` stands for: lines, each a picture, video, folder or pattern.

    Raises:
        DataError: A word means nothing, or a camera or stream does not stand alone. What a line
            of the list means wrongly is told when its shots are asked for.
        ConfigError: The stride is less than 1.
    """
    if vid_stride < 1:
        raise ConfigError(f"vid_stride: must be at least 1, got {vid_stride}.")
    texts = [str(word) for word in words]
    for text in texts:
        kind = _kind_of(text)
        if kind is not None and kind.live:
            source = kind.open_source(text, vid_stride)
            if len(texts) > 1:
                raise DataError(
                    f"{source.title}: goes on for ever, so it can only stand alone. "
                    "Start one process for each camera or stream."
                )
            return Sources([source])
    if STDIN in texts:
        return Sources(_opened(texts, vid_stride, listed))
    sources = list(_opened(texts, vid_stride, ()))
    if not sources:
        raise DataError("no source: give an image, a folder, or a pattern such as 'photos/*.jpg'.")
    return Sources(sources, sum(source.count or 0 for source in sources), early=True)


def _opened(texts: Iterable[str], vid_stride: int, listed: Iterable[str]) -> Iterator[Source]:
    """Yield each file's source once, in order; lines are taken as they come."""
    seen = set[Path]()
    for text in texts:
        lines = (line.strip() for line in listed) if text == STDIN else iter([text])
        for word in filter(None, lines):
            try:
                paths = _files_of(word)
            except DataError as error:
                if text != STDIN:
                    raise
                yield Nothing(error)
                continue
            for path in paths:
                if path not in seen:
                    seen.add(path)
                    kind = _kind_of(str(path))
                    assert kind is not None, "files_of gives what some kind claims"
                    yield kind.open_source(str(path), vid_stride)


def _files_of(word: str) -> list[Path]:
    kind = _kind_of(word)
    if kind is not None and kind.live:  # an untrusted list must not open connections
        title = kind.open_source(word, 1).title
        raise DataError(f"{title}: cameras and streams are given by --source, not in a list.")
    return files_of(word, SUFFIXES)


def _kind_of(word: str) -> Kind | None:
    return next((kind for kind in KINDS.values() if kind.claims(word)), None)
