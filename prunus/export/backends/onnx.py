"""ONNX, run by ONNX Runtime.

Input `images` (B, 3, H, W) float32 in [0, 1]; output `output0` (B, N, 5 + K), decoded, so that
others can read the file too. torch's older exporter is used: the newer one takes ten times as long
for as many nodes (dependencies.md) and cannot write opset 17.
"""

import io
import warnings
from pathlib import Path

import onnx
import torch

import prunus
from prunus.core.device import select_device
from prunus.core.errors import ExportError
from prunus.core.files import write_atomically
from prunus.export.backends.opening import Opener
from prunus.export.config import OPSETS
from prunus.export.engines import first_line
from prunus.export.engines.onnx import INPUT, OUTPUT, has_cuda
from prunus.export.facts import (
    NO_ORIGIN,
    Facts,
    Origin,
    check_multiple,
    facts_of,
    from_metadata,
    to_metadata,
)
from prunus.export.form import Form
from prunus.export.onnx_half import halve_
from prunus.export.onnx_suppression import DETECTIONS, add_suppression_
from prunus.export.tracing import decoded
from prunus.export.vetting.onnx import read_vetted
from prunus.model.detector import Detector

DYNAMIC_AXES = {
    INPUT: {0: "batch", 2: "height", 3: "width"},
    OUTPUT: {0: "batch", 1: "candidates"},
}


def write(detector: Detector, path: Path, form: Form, origin: Origin = NO_ORIGIN) -> None:
    """Write `detector`, fused, with weights and facts inside the one file; see `backends.Write`.

    Raises:
        ExportError: The size is no multiple of the stride, the opset is not to be had, or an
            operator has no form in it.
    """
    check_multiple(form.size_hw, detector.stride, str(path))
    if not OPSETS[0] <= form.opset <= OPSETS[1]:
        raise ExportError(
            f"{path}: opset must lie in {OPSETS[0]} to {OPSETS[1]}, got {form.opset}."
        )
    facts = facts_of(detector, form, origin)
    model = _trace(detector, form, str(path))
    if form.half:
        halve_(model)
    if form.suppression is not None:
        add_suppression_(model, form, facts.values)
    model.producer_name, model.producer_version = "prunus", prunus.__version__
    onnx.helper.set_model_props(model, to_metadata(facts))
    # The tracer gives the last dimension a made-up name where the others are free.
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = facts.values
    content = model.SerializeToString()
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def _trace(detector: Detector, form: Form, where: str) -> onnx.ModelProto:
    graph, images = decoded(detector), torch.zeros(form.batch, 3, *form.size_hw)
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # that this exporter is the older one
            torch.onnx.export(
                graph,
                (images,),
                buffer,  # type: ignore[arg-type]  # the older exporter takes any binary file
                dynamo=False,
                opset_version=form.opset,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes=DYNAMIC_AXES if form.dynamic else None,
            )
    except (torch.onnx.OnnxExporterError, ValueError) as error:
        raise ExportError(
            f"{where}: not exported at opset {form.opset}: {first_line(error)}"
        ) from error
    return onnx.load_model_from_string(buffer.getvalue())


def check_ends(model: onnx.ModelProto, facts: Facts, where: str) -> None:
    """Check that the graph's input and output are those that the facts promise."""
    height, width = facts.size_hw or (None, None)
    expected = (
        ("input", model.graph.input, INPUT, [facts.batch, 3, height, width]),
        ("output", model.graph.output, OUTPUT, [facts.batch, None, facts.values]),
    )
    for role, ends, name, shape in expected:
        if [end.name for end in ends] not in ([name], [name, DETECTIONS]):
            found = ", ".join(end.name for end in ends) or "none"
            raise ExportError(f"{where}: expected one {role} '{name}', found {found}.")
        tensor = ends[0].type.tensor_type
        sizes = [dim.dim_value or None for dim in tensor.shape.dim]
        agrees = len(sizes) == len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, sizes, strict=True)
        )
        if tensor.elem_type != onnx.TensorProto.FLOAT or not agrees:
            raise ExportError(
                f"{where}: {role} '{name}' is {sizes}, but its metadata promise {shape} float32. "
                "Export the weights again."
            )


def _device(device: str, where: str) -> str:
    """Return the device's name for the engine: a GPU only where ONNX Runtime knows it."""
    chosen = select_device(device)
    if chosen.type == "cuda" and has_cuda():
        return str(chosen)
    if chosen.type == "cuda" and device.strip().lower() not in ("", "auto"):
        raise ExportError(
            f"{where}: this ONNX Runtime has no CUDA. Use --device cpu, or install onnxruntime-gpu."
        )
    return "cpu"


def _read(path: Path) -> tuple[list[bytes], Facts]:
    content, model = read_vetted(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    facts = from_metadata(metadata, str(path))
    check_ends(model, facts, str(path))
    return [content], facts


open = Opener("onnx", _read, place=_device)
