"""Official YOLOv5 `.pt` checkpoints, v6.0 to v7.0, read as data.

Specification sheet, section 2.12. The pickle's records give the tensors and the embedded YAML; our
own modules are built from the YAML and compared with what the records say of theirs, so that a
checkpoint of altered code is refused rather than computed wrongly.
"""

from pathlib import Path

from torch import nn

from prunus.core.errors import WeightsError
from prunus.model.blocks import Bottleneck
from prunus.model.detector import Detector
from prunus.weights.archive import open_archive
from prunus.weights.assemble import assemble
from prunus.weights.inert import Record, dotted, shown
from prunus.weights.module_tree import read_model
from prunus.weights.pickle_reader import read_pickle

OFFICIAL_LICENCE = (
    "AGPL-3.0 for weights published by Ultralytics and weights trained from them: they keep their "
    "own terms, whatever program reads them"
)
ACTIVATION = "act"
COMPARED: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: ("stride", "padding", "dilation", "groups"),
    nn.BatchNorm2d: ("eps",),
    nn.MaxPool2d: ("kernel_size", "stride", "padding"),
    nn.Upsample: ("scale_factor", "mode"),
    nn.LeakyReLU: ("negative_slope",),
    Bottleneck: ("add",),
}
"""Attributes that change what a layer computes, beside its tensors."""


def read_official(path: Path) -> Detector:
    """Read a `.pt` checkpoint without running or importing anything of it.

    Returns:
        The detector in eval mode, float32; the EMA's weights where there are some.

    Raises:
        WeightsError: The file is unsafe, damaged, or no YOLOv5 v6.0 to v7.0 detector.
    """
    with open_archive(path) as archive:
        pickled = read_pickle(archive.pickle())
        archive.check(pickled.storages)
        model = read_model(pickled.root)
        tensors = {name: archive.tensor(ref) for name, ref in model.tensors.items()}
    detector = assemble(model.architecture, model.names, tensors)
    _check_rows(detector, model.layers)
    _check_layers(detector, model.layers)
    return detector


def _check_rows(detector: Detector, layers: dict[str, Record]) -> None:
    """Each row must be of the class that the embedded YAML says."""
    for number, row in enumerate(detector.spec.rows):
        found = layers[f"model.{number}"].name.rpartition(" ")[2]
        if found != row.block.rpartition(".")[2]:
            raise WeightsError(
                f"model.{number}: its rows say {row.block}, the file has a {shown(found)}: it was "
                "made by other code than YOLOv5 v6.0 to v7.0."
            )


def _check_layers(detector: Detector, layers: dict[str, Record]) -> None:
    """Each layer must compute what ours does: same strides, paddings, epsilon, activation."""
    for name, layer in detector.named_modules():
        record = layers.get(name)
        if name.rpartition(".")[2] == ACTIVATION:
            _check_activation(name, layer, record)
        state = record.state if record is not None else None
        for key in COMPARED.get(type(layer), ()):
            found = state.get(key) if isinstance(state, dict) else None
            if not _same(getattr(layer, key), found):
                raise WeightsError(
                    f"{name}: its rows need {key} {getattr(layer, key)}, the file has another: it "
                    "was made by other code than YOLOv5 v6.0 to v7.0."
                )


def _check_activation(name: str, layer: nn.Module, record: Record | None) -> None:
    """The activation must be the one that the embedded YAML names; SiLU where it names none."""
    ours = type(layer).__name__
    if record is None or record.name != f"torch.nn.modules.activation {ours}":
        theirs = "none" if record is None else shown(dotted(record.name))
        raise WeightsError(f"{name}: its rows need {ours}, the file has {theirs}.")


def _same(ours: object, theirs: object) -> bool:
    """Compare numbers, words or pairs of numbers; 2 and (2, 2) say the same."""
    if isinstance(ours, tuple) and isinstance(theirs, int | float):
        return ours == (theirs,) * len(ours)
    if isinstance(theirs, tuple) and isinstance(ours, int | float):
        return len(theirs) <= 2 and theirs == (ours,) * len(theirs)
    if isinstance(theirs, int | float | str) or (isinstance(theirs, tuple) and len(theirs) <= 2):
        return ours == theirs
    return False
