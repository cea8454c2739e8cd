"""Rows + tensors → detector. The widths are the tensors', so pruned models need nothing special."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from prunus.core.errors import WeightsError
from prunus.model.build import build_detector
from prunus.model.detector import Detector
from prunus.model.spec import ArchSpec, arch_from_mapping
from prunus.weights.fit import UNBUILDABLE, first_line, prove_fit
from prunus.weights.inert import shown
from prunus.weights.widths import adopt_pairs_, adopt_shapes_

WHERE = "its architecture"
MAX_MULTIPLE = 8.0


def assemble(
    architecture: Mapping[str, object], names: Sequence[str], tensors: Mapping[str, Tensor]
) -> Detector:
    """Build the rows and load the tensors strictly, giving every layer the shape of its tensors.

    The tensors are taken over, not copied. Torch's random state stays as it was.

    Args:
        architecture: The official YAML's keys, as `ArchSpec.to_mapping` gives them; the anchors
            are read from `tensors`.
        names: Class names.
        tensors: By official name: float32, counters int64.

    Returns:
        The detector in eval mode, proved to run.

    Raises:
        WeightsError: The rows are wrong, or a tensor is missing, surplus, of another kind than its
            layer, or not finite; the first such one is named.
    """
    spec = _read_rows(architecture, tensors)
    try:
        with _Weightless():
            detector = build_detector(spec, names)
    except UNBUILDABLE as error:
        raise WeightsError(f"{WHERE} cannot be built: {first_line(error)}") from error
    adopt_pairs_(detector, tensors)
    _check_same_names(detector, tensors)
    adopt_shapes_(detector, tensors)
    _check_values(detector, tensors)
    detector.load_state_dict(dict(tensors), strict=True, assign=True)
    detector.eval()
    prove_fit(detector)
    return with_own_anchors(detector)


def with_own_anchors(detector: Detector) -> Detector:
    """Return the detector with its spec's anchors set to those that it really has, in pixels."""
    strides = torch.tensor(detector.strides, dtype=torch.float32).view(-1, 1, 1)
    pixels = (detector.anchors.detach().float().cpu() * strides).tolist()
    anchors = tuple(tuple((width, height) for width, height in level) for level in pixels)
    detector.spec = replace(detector.spec, anchors_px=anchors)
    return detector


class _Weightless(TorchFunctionMode):
    """While active, `torch.empty` makes shapes without memory, and initialising draws no numbers.

    Parameters of layers start as `torch.empty`; a file's rows can then ask for any width.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def _read_rows(architecture: Mapping[str, object], tensors: Mapping[str, Tensor]) -> ArchSpec:
    """Read the rows; their repeats must not ask for more modules than there are tensors."""
    for key in ("depth_multiple", "width_multiple"):
        value = architecture.get(key, 1.0)
        if not isinstance(value, int | float) or not 0 < value <= MAX_MULTIPLE:
            raise WeightsError(f"{WHERE} has a {key} that is no number up to {MAX_MULTIPLE:g}.")
    anchors = _placeholder_anchors(tensors)
    try:
        spec = arch_from_mapping({**architecture, "anchors": anchors}, WHERE)
    except UNBUILDABLE as error:
        raise WeightsError(first_line(error)) from error
    repeats = sum(max(row.repeats * spec.depth_multiple, 1) for row in spec.rows)
    if repeats > len(tensors) + len(spec.rows):
        raise WeightsError(f"{WHERE} has more blocks than the file has tensors.")
    return spec


def _placeholder_anchors(tensors: Mapping[str, Tensor]) -> list[list[float]]:
    """Return anchors of the right number; the file's own are in cells of strides yet unknown."""
    name = next((name for name in tensors if name.endswith(".anchors")), None)
    if name is None:
        raise WeightsError("has no anchors. Give a checkpoint of a YOLOv5 detector.")
    anchors = tensors[name]
    if anchors.ndim != 3 or anchors.shape[2] != 2 or not 0 < anchors.numel() <= 1000:
        raise WeightsError(f"{name}: expected (levels, anchors, 2), got {tuple(anchors.shape)}.")
    if not (anchors.isfinite() & (anchors > 0)).all():
        raise WeightsError(f"{name}: anchors must be finite and larger than 0.")
    return [[1.0] * (2 * anchors.shape[1])] * anchors.shape[0]


def _check_same_names(detector: Detector, tensors: Mapping[str, Tensor]) -> None:
    expected = detector.state_dict()
    missing = next((name for name in expected if name not in tensors), None)
    if missing is not None:
        if not any(".bn." in name for name in tensors):
            raise WeightsError(
                "is fused: its batch norms are folded away. Use it as it was before fusing."
            )
        raise WeightsError(
            f"lacks the tensor {missing}, which its rows need: it was made by other code than "
            "YOLOv5 v6.0 to v7.0."
        )
    surplus = next((name for name in tensors if name not in expected), None)
    if surplus is not None:
        raise WeightsError(
            f"has the tensor {shown(surplus)}, which its rows do not use: it was made by other "
            "code than YOLOv5 v6.0 to v7.0."
        )


def _check_values(detector: Detector, tensors: Mapping[str, Tensor]) -> None:
    for name, expected in detector.state_dict().items():
        tensor = tensors[name]
        if tensor.dtype != expected.dtype or tensor.shape != expected.shape:
            raise WeightsError(
                f"{name}: its layer needs {_kind(expected)}, the file has {_kind(tensor)}."
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise WeightsError(
                f"{name}: holds NaN or infinite values: the training that made it failed. Use an "
                "earlier checkpoint."
            )


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).partition('.')[2]} {tuple(tensor.shape)}"
