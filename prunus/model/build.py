"""Rows → network: modules, strides, anchors in grid cells, and the head's first biases."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from prunus.core.errors import ModelError, suggest
from prunus.model.blocks import Detect
from prunus.model.detector import Detector
from prunus.model.families import FAMILIES
from prunus.model.shapes import ShapesAlone
from prunus.model.spec import ArchSpec
from prunus.model.swap import end_in_

DRY_RUN_SIDE = 256
IMAGE_SIDE = 640
"""The side at which the objectness bias expects about 8 objects in an image (spec sheet §2.1)."""
OBJECTS_PER_IMAGE = 8
CLASS_PRIOR = 0.6


def build_detector(spec: ArchSpec, names: Sequence[str]) -> Detector:
    """Build a detector with fresh weights (torch's default initialisation; seed torch beforehand).

    Raises:
        ModelError: Unknown family or block, wrong arguments, or rows that do not fit together.
    """
    if spec.family not in FAMILIES:
        raise ModelError(f"no architecture family '{spec.family}'.{suggest(spec.family, FAMILIES)}")
    if not names:
        raise ModelError("a detector needs at least one class name.")
    rows = _build_rows(spec, len(names))
    end_in_(rows, spec.activation)
    detector = Detector(spec, names, rows, strides=[1] * len(spec.anchors_px))
    detector.strides = _find_strides(detector)
    head = detector.head
    head.anchors = _anchors_in_cells(head.anchors, detector.strides)
    _set_first_biases(head, detector.strides)
    return detector


def renew_(detector: Detector) -> None:
    """Give a detector of any widths fresh weights, in place, as `build_detector` does.

    Seed torch beforehand. The anchors stay: they were fitted to data.
    """
    for module in detector.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            module.reset_parameters()
    _set_first_biases(detector.head, detector.strides)


def dry_run(detector: Detector, height: int, width: int) -> list[Tensor]:
    """Run the detector on shapes alone (meta tensors: no arithmetic, no memory), in eval mode.

    Raises:
        RuntimeError: The rows do not fit together.
    """
    tensors = {
        name: torch.empty_like(tensor, device="meta")
        for name, tensor in [*detector.named_parameters(), *detector.named_buffers()]
    }
    modes = {module: module.training for module in detector.modules()}
    detector.eval()
    try:
        with torch.no_grad(), ShapesAlone():
            image = torch.empty(1, 3, height, width, device="meta")
            maps: list[Tensor] = functional_call(detector, tensors, (image,))
    finally:
        for module, mode in modes.items():
            module.training = mode
    return maps


def _build_rows(spec: ArchSpec, classes: int) -> nn.Sequential:
    channels: list[int] = []
    modules = []
    for number, row in enumerate(spec.rows):
        sources = [source if source >= 0 else number + source for source in row.sources]
        inputs = [channels[source] if source >= 0 else 3 for source in sources]
        try:
            module, outputs = FAMILIES[spec.family](spec, row, inputs, classes)
        except ModelError as error:
            raise ModelError(f"row {number}: {error}") from error
        modules.append(module)
        channels.append(outputs)
    if not isinstance(modules[-1], Detect):
        raise ModelError(
            f"row {len(modules) - 1}: the last row must be Detect, not {spec.rows[-1].block}."
        )
    return nn.Sequential(*modules)


def _find_strides(detector: Detector) -> tuple[int, ...]:
    try:
        maps = dry_run(detector, DRY_RUN_SIDE, DRY_RUN_SIDE)
    except (RuntimeError, IndexError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"the architecture's rows do not fit together: {reason}") from error
    return tuple(DRY_RUN_SIDE // raw.shape[2] for raw in maps)


def _anchors_in_cells(anchors_px: Tensor, strides: Sequence[int]) -> Tensor:
    """Divide by the strides; levels whose anchors run against their strides are turned round."""
    areas = anchors_px.prod(dim=-1).mean(dim=-1)
    if len(strides) > 1 and (areas[-1] - areas[0]) * (strides[-1] - strides[0]) < 0:
        anchors_px = anchors_px.flip(0)
    return anchors_px / torch.tensor(strides, dtype=anchors_px.dtype).view(-1, 1, 1)


def _set_first_biases(head: Detect, strides: Sequence[int]) -> None:
    """Expect few objects, so that the first losses are not swamped by background."""
    for conv, stride in zip(head.m, strides, strict=True):
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        bias = conv.bias.detach().view(head.anchors_per_level, -1)
        bias[:, 4] += math.log(OBJECTS_PER_IMAGE / (IMAGE_SIDE / stride) ** 2)
        bias[:, 5:] += math.log(CLASS_PRIOR / (head.classes - 0.99999))
