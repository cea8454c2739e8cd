"""Images brought to a new data set: copied or linked, under names that are unique and harmless."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from prunus.core.console import track
from prunus.core.errors import DataError
from prunus.data.files import place_of, read_bytes


@dataclass(frozen=True)
class Placed:
    """One image of the new data set.

    Attributes:
        source: Where it comes from.
        name: Its file name in the new folder; no other image there has the same stem.
    """

    source: Path
    name: str

    @property
    def stem(self) -> str:
        return Path(self.name).stem


@dataclass
class Names:
    """Hands out file names for one folder; an image that comes again keeps its name."""

    _taken: set[str] = field(default_factory=set)
    _given: dict[Path, Placed] = field(default_factory=dict)

    def place(self, source: Path) -> Placed:
        """Return the place of an image: its own name, or with a number where that is taken."""
        if source in self._given:
            return self._given[source]
        stem, suffix = _harmless(source.stem), source.suffix.lower()
        name, number = stem, 1
        while name.casefold() in self._taken:  # some file systems do not tell A from a
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name.casefold())
        placed = Placed(source, f"{name}{suffix}")
        self._given[source] = placed
        return placed


def _harmless(stem: str) -> str:
    """Return a stem without control characters and outer blanks, which lists cannot hold."""
    return "".join(letter if letter.isprintable() else "_" for letter in stem).strip() or "image"


def bring(images: Iterable[Placed], folder: Path, *, copy: bool, title: str) -> None:
    """Copy the images into a folder, or link to them there.

    Raises:
        DataError: A member of a shard cannot be linked to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for image in track(list(images), title):
        place = folder / image.name
        if place.exists():  # splits may share images
            continue
        if copy and place_of(image.source):
            place.write_bytes(read_bytes(image.source))
        elif copy:
            shutil.copyfile(image.source, place)
        elif place_of(image.source):
            raise DataError(f"{image.source}: lies in a shard: leave out --no-copy.")
        else:
            place.symlink_to(image.source.absolute())
