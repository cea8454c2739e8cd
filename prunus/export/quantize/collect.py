"""Run an ONNX graph on images and look inside: ranges of its tensors, errors of its layers."""

from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from prunus.core.errors import ExportError
from prunus.export.quantize.histogram import Histogram

Maps = NDArray[np.float32]
"""(B, C, H, W); images lie in [0, 1]."""


def collect(
    model: onnx.ModelProto, tensors: Sequence[str], calibration: Iterable[Maps]
) -> dict[str, Histogram]:
    """Return what each tensor holds over all images, which are run once.

    Memory: one histogram a tensor, and all maps of one batch.

    Raises:
        ExportError: There are no images, or a tensor holds a value that is not finite.
    """
    found = {name: Histogram() for name in tensors}
    for maps in run_inside(model, tensors, calibration):
        for name, values in zip(tensors, maps, strict=True):
            if not np.isfinite(values).all():
                raise ExportError(f"'{name}' is not finite on a calibration image.")
            found[name].add(values)
    if not tensors or found[tensors[0]].low > found[tensors[0]].high:
        raise ExportError("there are no calibration images.")
    return found


def noise_share(right: Sequence[list[Maps]], found: Iterable[list[Maps]]) -> float:
    """Return the energy of the difference over that of the right maps; 0.001 is -30 dB.

    Args:
        right: Maps of each batch, as `run_inside` yields them.
        found: The same of another graph.
    """
    noise = signal = 0.0
    for wanted, got in zip(right, found, strict=True):
        for value, other in zip(wanted, got, strict=True):
            noise += float(np.square(value - other, dtype=np.float64).sum())
            signal += float(np.square(value, dtype=np.float64).sum())
    return noise / signal if signal else 0.0


def run_inside(
    model: onnx.ModelProto, tensors: Sequence[str], images: Iterable[Maps]
) -> Iterator[list[Maps]]:
    """Yield, for each batch, the tensors of these names."""
    (image,) = (end.name for end in model.graph.input)
    inner = [name for name in tensors if name != image]
    session = _session(_showing(model, inner))
    for batch in images:
        maps = dict(zip(inner, session.run(inner, {image: batch}), strict=True))
        yield [batch if name == image else maps[name] for name in tensors]


def _showing(model: onnx.ModelProto, tensors: Collection[str]) -> onnx.ModelProto:
    """Return a copy that puts these tensors out too."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    present = {end.name for end in model.graph.output}
    shown.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in tensors if name not in present
    )
    return shown


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
