"""The demo data set: generated pictures and YOLO labels, with the YAML that names them."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import yaml

from prunus.core.console import log, track
from prunus.core.errors import DataError, PrunusError
from prunus.core.files import write_json, write_text
from prunus.data.scenes.compose import CLASS_NAMES, Scene, render_scene

MARKER = ".prunus-demo.json"
"""Holds the settings of a demo; written first, so that an interrupted demo is known as one."""
YAML_NAME = "demo.yaml"
"""Written last, so that a demo that has one was finished."""
SCENES_VERSION = 1
"""Raise whenever the pictures change: demos of other versions are not reused."""
MIN_IMAGE_SIZE = 64
_FIRST_NUMBERS = {"train": 0, "val": 1_000_000, "test": 2_000_000}
"""Each split has a stretch of the series: more pictures in one leave the others as they are."""
_JPEG_QUALITY = 92


@dataclass(frozen=True)
class _Settings:
    """What a demo is made from; two demos with the same settings are the same."""

    train: int
    val: int
    test: int
    image_size: int
    seed: int
    version: int = SCENES_VERSION


@dataclass(frozen=True)
class _Job:
    """One picture to write."""

    number: int
    image: Path
    label: Path


def write_demo(
    folder: Path,
    *,
    train: int = 240,
    val: int = 60,
    test: int = 60,
    image_size: int = 320,
    seed: int = 0,
) -> Path:
    """Write a generated data set, or find that it is there already.

    Args:
        folder: Where to: new, empty, or holding a demo with the same settings, which is completed.
        train: Pictures to train on.
        val: Pictures to choose the best epoch with.
        test: Pictures to report on; 0 leaves the split out.
        image_size: Side of the square pictures, in pixels.
        seed: Names the series of pictures.

    Returns:
        The data set's YAML file.

    Raises:
        DataError: A setting is out of range, or the folder holds other things or cannot be written.
    """
    settings = _Settings(train, val, test, image_size, seed)
    _check(settings)
    target = folder / YAML_NAME
    if _is_there(folder, settings):
        log.info("%s: there already, with the same settings; reused", target)
        return target
    try:
        write_json(folder / MARKER, asdict(settings))
        jobs = list(_jobs(folder, settings))
        for job in track(jobs, "Painting orchard scenes"):
            _write(job, render_scene(seed, job.number, (image_size, image_size)))
        write_text(target, _yaml_text(settings))
    except (OSError, PrunusError) as error:
        raise DataError(f"{folder}: the demo was not written: {error}") from error
    return target


def label_text(scene: Scene) -> str:
    """Return a scene's YOLO labels: class, then centre and size as shares of width and height."""
    height, width = scene.image.shape[:2]
    lines = []
    for (left, top, right, bottom), kind in zip(
        scene.boxes_xyxy.tolist(), scene.classes, strict=True
    ):
        x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
        lines.append(
            f"{kind} {x:.6f} {y:.6f} {(right - left) / width:.6f} {(bottom - top) / height:.6f}\n"
        )
    return "".join(lines)


def _check(settings: _Settings) -> None:
    """Report the first setting that no demo can be made with."""
    lowest = {"train": 1, "val": 1, "test": 0, "image_size": MIN_IMAGE_SIZE, "seed": 0}
    for name, least in lowest.items():
        value = getattr(settings, name)
        if value < least:
            raise DataError(f"demo: {name} must be at least {least}, got {value}.")
    if max(settings.train, settings.val, settings.test) > _FIRST_NUMBERS["val"]:
        raise DataError(f"demo: a split holds at most {_FIRST_NUMBERS['val']} pictures.")


def _is_there(folder: Path, settings: _Settings) -> bool:
    """Return whether the folder holds this very demo, complete.

    Raises:
        DataError: It holds something else, which is left alone.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: is a file; nothing was written. Name a folder for the demo.")
    if not folder.exists() or not any(folder.iterdir()):
        return False
    earlier = _read_marker(folder)
    if earlier is None:
        raise DataError(
            f"{folder}: holds other things; nothing was written. Name a new or empty folder."
        )
    if earlier != asdict(settings):
        raise DataError(
            f"{folder}: holds another demo ({_difference(earlier, asdict(settings))}); "
            "nothing was written. Name another folder, or delete this one."
        )
    target = folder / YAML_NAME
    return target.is_file() and all(
        path.is_file() and path.stat().st_size > 0
        for job in _jobs(folder, settings)
        for path in (job.image, job.label)
    )


def _read_marker(folder: Path) -> dict[str, object] | None:
    """Return the settings of the demo in a folder, or None when it holds none."""
    try:
        content = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _difference(earlier: dict[str, object], wanted: dict[str, object]) -> str:
    names = [name for name in wanted if earlier.get(name) != wanted[name]]
    return ", ".join(f"{name} {earlier.get(name)} instead of {wanted[name]}" for name in names)


def _jobs(folder: Path, settings: _Settings) -> Iterator[_Job]:
    """Yield every picture of the data set."""
    for split, first in _FIRST_NUMBERS.items():
        for index in range(getattr(settings, split)):
            name = f"{split}_{index:05d}"
            images, labels = folder / "images" / split, folder / "labels" / split
            yield _Job(first + index, images / f"{name}.jpg", labels / f"{name}.txt")


def _write(job: _Job, scene: Scene) -> None:
    for path in (job.image, job.label):
        path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    job.image.write_bytes(jpeg.tobytes())
    job.label.write_text(label_text(scene), encoding="utf-8")


def _yaml_text(settings: _Settings) -> str:
    """Return the data set's YAML; paths are relative to the file itself."""
    splits = {split: f"images/{split}" for split in _FIRST_NUMBERS if getattr(settings, split)}
    content = {"path": ".", **splits, "names": dict(enumerate(CLASS_NAMES))}
    source = f"seed {settings.seed}, {settings.image_size} px"
    return f"# Orchard scenes generated by prunus: {source}.\n" + yaml.safe_dump(
        content, sort_keys=False
    )
