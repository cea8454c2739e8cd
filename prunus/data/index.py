"""All images of a split with their sizes and boxes, packed: built once, handed to every loader.

Nothing is ever written to the data set. What was read is kept in the user's cache folder, keyed by
the labels' content, so an edited label is never missed (`prunus.data.index_cache`).
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from prunus.core.console import log, track
from prunus.core.errors import DataError
from prunus.data.decode import read_header, refuse_odd_file
from prunus.data.endings import cut_short
from prunus.data.files import exists
from prunus.data.formats.source import Source
from prunus.data.image_index import ImageIndex as ImageIndex
from prunus.data.index_cache import open_cache
from prunus.data.labels import Labels, pack
from prunus.data.paths import IMAGE_SUFFIXES
from prunus.data.problems import Problem, RuleError
from prunus.data.rules import COSTLY
from prunus.data.spec import DataSpec

MOST_WITHOUT_LABELS = 0.5
"""Above this share of images without a label file the layout is taken to be wrong."""
EXAMPLES = 3


def build_index(spec: DataSpec, split: str, *, cache: bool = True) -> ImageIndex:
    """Read the sizes and the labels of all images of a split.

    Images that cannot be read are left out, boxes that break a rule are dropped, and each is named
    in `problems`.

    Args:
        spec: The data set.
        split: Its name.
        cache: Whether to take what an earlier run has read, if nothing has changed since.

    Raises:
        DataError: There is no such split, no image, no readable image, hardly any label file, or no
        good box among many.
    """
    sources = [_open(spec, split, entry) for entry in spec.entries(split)]
    by_image: dict[Path, Source] = {}
    for source in sources:
        for image in source.images:
            by_image.setdefault(image, source)
    images = sorted(by_image, key=str)
    if not images:
        tried = ", ".join(str(spec.root / entry) for entry in spec.entries(split))
        found = "".join(f" {problem}." for source in sources for problem in source.problems[:1])
        raise DataError(
            f"{spec.path}: {split}: no images in {tried}.{found} "
            f"Known are {', '.join(IMAGE_SUFFIXES)}."
        )
    _refuse_missing_labels(spec, split, by_image, images)
    pairs = [(image, by_image[image]) for image in images]
    stored = open_cache(spec, split, pairs) if cache else None
    index = stored.load(spec, images) if stored else None
    if index is None:
        index = _read(spec, split, sources, pairs)
        if stored:
            stored.save(index, images)
    _refuse_empty(spec, split, index, len(images))
    _log(spec, split, index)
    return index


def _open(spec: DataSpec, split: str, entry: str) -> Source:
    try:
        return spec.format_of(entry).open(spec.root, entry, spec.names)
    except DataError as error:
        raise DataError(f"{spec.path}: {split}: {error}") from error


def _read(
    spec: DataSpec,
    split: str,
    sources: Sequence[Source],
    pairs: Sequence[tuple[Path, Source]],
) -> ImageIndex:
    reader = _Reader(spec)
    for source in sources:
        reader.report(source.problems)
    for image, source in track(pairs, f"reading {split}"):
        reader.add(image, source)
    return reader.finish()


class _Reader:
    """Collects images one by one and packs them."""

    def __init__(self, spec: DataSpec) -> None:
        self._spec = spec
        self._paths: list[Path] = []
        self._sizes: list[tuple[int, int]] = []
        self._labels: list[Labels] = []
        self._problems: list[Problem] = []

    def add(self, image: Path, source: Source) -> None:
        """Read one image's header and labels; leave it out when either is unusable."""
        try:
            size_hw = _size(image)
        except RuleError as fault:
            self.report([Problem(image, None, f"{fault}: image left out", fault.rule)])
            return
        try:
            labels = source.read(image, size_hw)
        except RuleError as fault:
            label, message = source.label_file(image), f"{fault}: its image is left out"
            self.report([Problem(label, None, message, fault.rule)])
            return
        self.report(labels.problems)
        self._paths.append(image)
        self._sizes.append(size_hw)
        self._labels.append(labels)

    def finish(self) -> ImageIndex:
        counts = [len(labels.rows) for labels in self._labels]
        empty = np.zeros((0, 5), dtype=np.float32)
        return ImageIndex(
            names=self._spec.names,
            paths=tuple(self._paths),
            sizes_hw=np.array(self._sizes, dtype=np.int32).reshape(-1, 2),
            boxes=np.concatenate([empty, *(labels.rows for labels in self._labels)]),
            offsets=np.cumsum([0, *counts], dtype=np.int64),
            problems=tuple(self._problems),
            polygons=pack(self._labels),
        )

    def report(self, problems: Iterable[Problem]) -> None:
        self._problems += [problem.relative_to(self._spec.root) for problem in problems]


def _size(image: Path) -> tuple[int, int]:
    refuse_odd_file(image)
    header = read_header(image)
    if cut_short(image, header.kind):
        message = f"the {header.kind} ends early, its last part is missing"
        raise RuleError("image-cut-short", message)
    return header.size_hw


def _refuse_missing_labels(
    spec: DataSpec, split: str, sources: Mapping[Path, Source], images: Sequence[Path]
) -> None:
    wanted = [sources[image].label_file(image) for image in images]
    try:
        missing = [label for label in wanted if not exists(label)]
    except OSError as error:
        raise DataError(
            f"{spec.path}: {split}: {error.filename}: cannot be read: {error.strerror or error}. "
            "Look at the folder's permissions."
        ) from error
    if len(missing) <= MOST_WITHOUT_LABELS * len(images):
        return
    tried = ", ".join(str(label) for label in missing[:EXAMPLES])
    near = _nearest(spec.root, missing[0])
    raise DataError(
        f"{spec.path}: {split}: {len(missing)} of {len(images)} images have no labels; looked for "
        f"{tried}{' …' if len(missing) > EXAMPLES else ''}.{near} "
        "Move the labels there; for images without objects write empty label files."
    )


def _nearest(root: Path, wanted: Path) -> str:
    found = next(islice(root.rglob(wanted.name), 1), None)
    return f" There is {found}." if found else ""


def _refuse_empty(spec: DataSpec, split: str, index: ImageIndex, listed: int) -> None:
    if not len(index):
        raise DataError(
            f"{spec.path}: {split}: none of {listed} images can be used; {index.problems[0]}."
        )
    dropped = [problem for problem in index.problems if problem.effect == "box dropped"]
    if dropped and not len(index.boxes):
        raise DataError(
            f"{spec.path}: {split}: all {len(dropped)} boxes were dropped; {dropped[0]}."
        )


def _log(spec: DataSpec, split: str, index: ImageIndex) -> None:
    log.info("%s, %s: %s", spec.path.name, split, index.summary())
    costly = [problem for problem in index.problems if problem.effect in COSTLY]
    shown = (costly or index.problems)[:EXAMPLES]
    for problem in shown:
        log.warning("%s", problem)
    if len(index.problems) > len(shown):
        log.warning(
            "… and %d more problems; `prunus data check` lists them.",
            len(index.problems) - len(shown),
        )
