"""The tree of module records in an official checkpoint, turned into names, tensors and rows."""

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from prunus.core.errors import WeightsError
from prunus.weights.inert import SETS, WRAPPERS, Record, TensorRef, dotted, shown

DETECTORS = frozenset({"models.yolo Model", "models.yolo DetectionModel"})
OLD_BLOCKS = frozenset({"Focus", "BottleneckCSP", "SPP"})
"""Blocks of YOLOv5 v5 and older (specification sheet, section 2.1)."""
MAX_MODULES = 5_000
MAX_CHILDREN = 256
MAX_DEPTH = 16
"""yolov5x6 has about 1,000 modules, at most 34 side by side and 7 deep."""
MAX_YAML_DEPTH = 8
MAX_YAML_VALUES = 10_000
MAX_WORD = 200
MAX_NUMBER = 65_536
MAX_CLASSES = 10_000
UNPRINTABLE = frozenset({"Cc", "Cs"})
"""Unicode's control characters, and halves of surrogate pairs, which no file can hold."""
LEFTOVER = "anchor_grid"
"""A buffer of v5 and of some v6 files; it repeats `anchors`."""


@dataclass(frozen=True)
class OfficialModel:
    """What a checkpoint says of its model.

    Attributes:
        layers: Module records by their name (`model.0.conv`).
        tensors: Parameters and buffers by their official name (`model.0.conv.weight`).
        architecture: The embedded YAML: plain lists, numbers and words.
        names: Class names, by index.
    """

    layers: dict[str, Record]
    tensors: dict[str, TensorRef]
    architecture: dict[str, object]
    names: tuple[str, ...]


def read_model(root: object) -> OfficialModel:
    """Find the model in what a pickle held: EMA before model, unwrapped from DataParallel.

    Raises:
        WeightsError: There is none, or it is not a YOLOv5 v6 detector.
    """
    model = _unwrapped(_chosen(root))
    if model.name not in DETECTORS:
        raise WeightsError(
            f"holds a {shown(dotted(model.name))}, not a detector. Prunus reads YOLOv5 v6.0 to "
            "v7.0 detection checkpoints."
        )
    attributes = _attributes(model)
    layers, tensors = {}, {}
    for name, layer in _walk(model):
        layers[name] = layer
        tensors.update(_own_tensors(name, layer))
    architecture = _architecture(attributes.get("yaml"))
    return OfficialModel(
        layers, tensors, architecture, _names(attributes.get("names"), architecture.get("nc"))
    )


def _chosen(root: object) -> Record:
    candidates = [root]
    if isinstance(root, dict):
        candidates = [root.get("ema"), root.get("model")]
    for candidate in candidates:
        if isinstance(candidate, Record):
            return candidate
    if any(isinstance(c, dict) and _holds_tensors(c) for c in (root, *candidates)):
        raise WeightsError(
            "holds only tensors, no architecture (a state dict). Save the whole checkpoint as "
            "YOLOv5's train.py does."
        )
    raise WeightsError("holds no model. Give a checkpoint written by YOLOv5's train.py.")


def _holds_tensors(values: dict[object, object]) -> bool:
    return any(
        isinstance(value, TensorRef) or (key == "state_dict" and isinstance(value, dict))
        for key, value in values.items()
    )


def _unwrapped(model: Record) -> Record:
    if model.name not in WRAPPERS:
        return model
    inner = _mapping(model, "_modules").get("module")
    if not isinstance(inner, Record):
        raise WeightsError("holds an empty DataParallel wrapper. Save the model inside it.")
    return inner


def _walk(model: Record) -> Iterator[tuple[str, Record]]:
    """Yield (name, module) of all modules below `model`, parents first."""
    waiting = [("", model, 0)]
    count = 0
    while waiting:
        name, layer, depth = waiting.pop()
        count += 1
        if count > MAX_MODULES or depth > MAX_DEPTH:
            raise _too_many()
        yield name, layer
        for key, child in _mapping(layer, "_modules").items():
            if isinstance(child, Record):
                waiting.append((_joined(name, key), child, depth + 1))


def _too_many() -> WeightsError:
    return WeightsError(
        f"has more than {MAX_MODULES:,} modules, {MAX_CHILDREN} side by side, or some that contain "
        "themselves. It is no YOLOv5 checkpoint."
    )


def _own_tensors(name: str, layer: Record) -> dict[str, TensorRef]:
    transient = _transient_names(layer)
    tensors = {}
    for kind in ("_parameters", "_buffers"):
        for key, value in _mapping(layer, kind).items():
            if isinstance(value, TensorRef) and key not in transient and key != LEFTOVER:
                tensors[_joined(name, key)] = value
    return tensors


def _transient_names(layer: Record) -> list[object]:
    """Return the buffers that are no part of the state dict."""
    record = _attributes(layer).get("_non_persistent_buffers_set")
    if not isinstance(record, Record) or record.name not in SETS or len(record.arguments) != 1:
        return []
    (names,) = record.arguments
    return names[:MAX_CHILDREN] if isinstance(names, list) else []


def _mapping(layer: Record, key: str) -> dict[object, object]:
    value = _attributes(layer).get(key)
    if not isinstance(value, dict):
        return {}
    if len(value) > MAX_CHILDREN:
        raise _too_many()
    return value


def _attributes(layer: Record) -> dict[object, object]:
    return layer.state if isinstance(layer.state, dict) else {}


def _joined(name: str, key: object) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= MAX_WORD:
        raise WeightsError("has a module without a usable name. It is no YOLOv5 checkpoint.")
    return f"{name}.{key}" if name else key


def _architecture(yaml: object) -> dict[str, object]:
    """Return the embedded YAML, checked to be plain and of a sane size."""
    if not isinstance(yaml, dict):
        raise WeightsError(
            "holds no architecture (`yaml`) beside its model. Give a checkpoint written by "
            "YOLOv5's train.py."
        )
    wanted = ("nc", "ch", "depth_multiple", "width_multiple", "backbone", "head", "activation")
    plain = _plain({key: yaml[key] for key in wanted if key in yaml}, [0], 0)
    architecture = cast(dict[str, object], plain)
    for key in ("backbone", "head"):
        rows = architecture.get(key)
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, list) and len(row) > 2 and row[2] in OLD_BLOCKS:
                raise WeightsError(
                    f"has a {row[2]} row, a block of YOLOv5 v5 and older. Prunus reads v6.0 to "
                    "v7.0: train again from a v6 or v7 checkpoint."
                )
    if architecture.get("ch", 3) != 3:
        raise WeightsError("takes images of other than 3 channels, which Prunus does not.")
    return architecture


def _plain(value: object, seen: list[int], depth: int) -> object:
    """Copy nested dicts, lists, numbers and words; refuse all else, and too much of it."""
    seen[0] += 1
    if depth > MAX_YAML_DEPTH or seen[0] > MAX_YAML_VALUES:
        raise _odd_architecture()
    if isinstance(value, dict):
        return {key: _plain(item, seen, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, seen, depth + 1) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= MAX_WORD and value.isprintable():
        return value
    if isinstance(value, int | float) and math.isfinite(value) and abs(value) <= MAX_NUMBER:
        return value
    raise _odd_architecture()


def _odd_architecture() -> WeightsError:
    return WeightsError(
        "has an embedded architecture that is no list of YOLOv5 rows. Give a checkpoint written by "
        "YOLOv5's train.py."
    )


def _names(names: object, count: object) -> tuple[str, ...]:
    """Return the class names of a list, of a dict by index, or the indices when there are none."""
    if names is None and isinstance(count, int):
        names = [str(index) for index in range(min(count, MAX_CLASSES + 1))]
    if isinstance(names, dict):
        if any(index not in names for index in range(len(names))):
            raise WeightsError("numbers its class names with gaps. They must run from 0.")
        names = [names[index] for index in range(len(names))]
    return checked_names(names)


def checked_names(names: object) -> tuple[str, ...]:
    """Return class names that are short text without control characters.

    Raises:
        WeightsError: One is not.
    """
    if not isinstance(names, list | tuple) or not 0 < len(names) <= MAX_CLASSES:
        raise WeightsError(f"has no list of class names, or one of more than {MAX_CLASSES:,}.")
    for name in names:
        if not isinstance(name, str) or len(name) > MAX_WORD or _has_controls(name):
            raise WeightsError(
                f"has a class name that is no text of at most {MAX_WORD} characters on one line."
            )
    return tuple(names)


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(letter) in UNPRINTABLE for letter in text)
