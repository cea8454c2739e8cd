"""Pascal VOC: `ImageSets/Main/train.txt` lists stems, `JPEGImages` and `Annotations` hold them.

Pixel edges are used as given: centre x = (xmin + xmax) / 2 / width of the image as it is on disk.
Objects marked difficult are boxes like any other. An image without an annotation is background.
Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from prunus.core.errors import DataError, suggest
from prunus.data.checks import check_boxes, label_bytes
from prunus.data.formats.source import Extras, Sized, Source, per_image
from prunus.data.formats.voc_file import parse
from prunus.data.labels import Labels
from prunus.data.paths import IMAGE_SUFFIXES, images_in, listed_lines, swap_folder
from prunus.data.problems import Problem, RuleError

SETS, IMAGES, ANNOTATIONS = "ImageSets", "JPEGImages", "Annotations"


def recognises(root: Path, entry: str) -> bool:
    """Say whether the split is an `ImageSets/…` list, or there is an `Annotations` folder."""
    return SETS in Path(entry).parts or (root / ANNOTATIONS).is_dir()


def open_entry(root: Path, entry: str, names: tuple[str, ...]) -> Source:
    """Return the images of an image set or a folder, each with its own XML."""
    source = per_image(list_images(root, entry), label_file, read_labels, names)
    return replace(source, extras=lambda images: _extras(images, names))


def list_images(root: Path, entry: str) -> list[Path]:
    """Return the images of a list of stems, or of a folder.

    The images lie in `JPEGImages` beside the `ImageSets` folder that holds the list
    (`VOC2007/ImageSets/Main/train.txt`: `VOC2007/JPEGImages`). A stem without an image gives a path
    that does not exist.

    Raises:
        DataError: There is no such list or folder, or a stem holds a folder.
    """
    place = root / entry
    if place.is_dir():
        return images_in(place)
    parts = Path(entry).parts
    home = root.joinpath(*parts[: parts.index(SETS)]) if SETS in parts else root
    folder = home / IMAGES
    by_stem = {image.stem: image for image in images_in(folder)} if folder.is_dir() else {}
    images = []
    for number, line in listed_lines(place):
        stem = line if line in by_stem else _stem(line)
        if stem != Path(stem).name:
            raise DataError(
                f"{place}:{number}: '{stem}' is no plain image name. List stems, one a line."
            )
        images.append(by_stem.get(stem, folder / f"{stem}{IMAGE_SUFFIXES[0]}"))
    return images


def _stem(line: str) -> str:
    """Return the name in a line of an image set; per-class sets add a flag, -1, 0 or 1."""
    words = line.split()
    stem = words[0] if len(words) == 2 and words[1] in ("-1", "0", "1") else line
    return stem[: -len(Path(stem).suffix)] if stem.lower().endswith(IMAGE_SUFFIXES) else stem


def label_file(image: Path) -> Path:
    """Return where the annotation of an image is looked for."""
    return swap_folder(image, IMAGES, ANNOTATIONS).with_suffix(".xml")


def read_labels(label_file: Path, size_hw: tuple[int, int], names: tuple[str, ...]) -> Labels:
    """Return the objects of an annotation, and what was found.

    Raises:
        RuleError: The file is there but is no XML, or declares entities.
    """
    content = label_bytes(label_file)
    if content is None:
        return check_boxes((), (), label_file, len(names))
    labels = _labels(parse(content)[1], label_file, size_hw, names)
    return replace(labels, records=())  # the trees of all images would fill the memory


def _extras(images: Sequence[Sized], names: tuple[str, ...]) -> list[Extras | None]:
    """Return the annotation of each image and the objects of its rows, as XML elements."""
    found: list[Extras | None] = []
    for image, size_hw in images:
        file = label_file(image)
        content = label_bytes(file)
        if content is None:
            found.append(None)
            continue
        tree, objects = parse(content)
        found.append(Extras("voc", None, tree, _labels(objects, file, size_hw, names).records))
    return found


def _labels(
    objects: Sequence[tuple[int, Element]],
    label_file: Path,
    size_hw: tuple[int, int],
    names: tuple[str, ...],
) -> Labels:
    """Return the rows of objects, which are their records."""
    records: list[Element] = []
    rows: list[tuple[float, ...]] = []
    places: list[tuple[int | None, str]] = []
    problems: list[Problem] = []
    for number, (line, item) in enumerate(objects, start=1):
        words = f"object {number}: "
        try:
            rows.append(_box(item, size_hw, names))
            places.append((line, words))
            records.append(item)
        except RuleError as fault:
            problems.append(Problem(label_file, line, f"{words}{fault}: box dropped", fault.rule))
    checked = check_boxes(rows, places, label_file, len(names), records=records)
    return replace(checked, problems=problems + checked.problems)


def _box(item: Element, size_hw: tuple[int, int], names: tuple[str, ...]) -> tuple[float, ...]:
    name = (item.findtext("name") or "").strip()
    if name not in names:
        raise RuleError(
            "box-class", f"class '{name}' is not among the data set's names{_hint(name, names)}"
        )
    height, width = size_hw
    left, top, right, bottom = (_number(item, edge) for edge in ("xmin", "ymin", "xmax", "ymax"))
    return (
        float(names.index(name)),
        (left + right) / 2 / width,
        (top + bottom) / 2 / height,
        (right - left) / width,
        (bottom - top) / height,
    )


def _hint(name: str, names: tuple[str, ...]) -> str:
    """Return the nearest name in brackets: the message goes on behind it."""
    return f" ({hint.strip()})" if (hint := suggest(name, names)) else ""


def _number(item: Element, edge: str) -> float:
    text = item.findtext(f"bndbox/{edge}")
    try:
        return float(text or "")
    except ValueError as error:
        fault = f"{edge} is {'missing' if text is None else 'no number'}"
        raise RuleError("box-coordinates", fault) from error
