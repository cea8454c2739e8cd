"""How people name layers to keep in float: a row of the architecture, or part of a node's name."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from prunus.core.errors import ConfigError, suggest


def layers_meant(words: Iterable[str], layers: Sequence[str]) -> tuple[str, ...]:
    """Return the layers that the words name, in the order of `layers`.

    Args:
        words: Each a row's number, or a layer's name, in which * stands for anything.
        layers: Names as the exporter gives them: `/detector/model.6/cv1/conv/Conv`.

    Raises:
        ConfigError: A word names none.
    """
    meant: set[str] = set()
    for word in words:
        found = [name for name in layers if _is_meant(word, name)]
        if not found:
            raise ConfigError(
                f"--float: '{word}' names no layer that would become integers."
                f"{suggest(word, layers)} Give a row's number, or a name as in {layers[0]}."
            )
        meant.update(found)
    return tuple(name for name in layers if name in meant)


def _is_meant(word: str, name: str) -> bool:
    if word.isdecimal():
        return re.search(rf"(^|/)model\.{int(word)}/", name) is not None
    return fnmatchcase(name, word)
