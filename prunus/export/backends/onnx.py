"""ONNX, run by ONNX Runtime.

Input `images` (B, 3, H, W) float32 in [0, 1]; output `output0` (B, N, 5 + K), decoded, so that
others can read the file too. torch's older exporter is used: the newer one takes ten times as long
for as many nodes (dependencies.md) and cannot write opset 17.
"""

import io
import warnings
from pathlib import Path

import onnx
import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
from torch import Tensor, nn

import prunus
from prunus.core.device import select_device
from prunus.core.errors import ExportError
from prunus.core.files import write_atomically
from prunus.core.records import Runner, Size
from prunus.export.config import OPSETS
from prunus.export.facts import (
    NO_ORIGIN,
    Facts,
    Origin,
    check_multiple,
    facts_of,
    from_metadata,
    to_metadata,
)
from prunus.export.vetting import read_vetted
from prunus.model.detector import Detector
from prunus.model.fuse import fuse

INPUT, OUTPUT = "images", "output0"
DYNAMIC_AXES = {
    INPUT: {0: "batch", 2: "height", 3: "width"},
    OUTPUT: {0: "batch", 1: "candidates"},
}
RUNTIME_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    ort_errors.EPFail,
)


def write(
    detector: Detector,
    path: Path,
    *,
    size_hw: Size,
    batch: int = 1,
    dynamic: bool = False,
    opset: int = 17,
    origin: Origin = NO_ORIGIN,
) -> None:
    """Write `detector`, fused, with weights and facts inside the one file; see `backends.Write`.

    Raises:
        ExportError: The size is no multiple of the stride, the opset is not to be had, or an
            operator has no form in it.
    """
    check_multiple(size_hw, detector.stride, str(path))
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ExportError(f"{path}: opset must lie in {OPSETS[0]} to {OPSETS[1]}, got {opset}.")
    facts = facts_of(detector, None if dynamic else size_hw, None if dynamic else batch, origin)
    model = _trace(detector, torch.zeros(batch, 3, *size_hw), dynamic, opset, str(path))
    model.producer_name, model.producer_version = "prunus", prunus.__version__
    onnx.helper.set_model_props(model, to_metadata(facts))
    # The tracer gives the last dimension a made-up name where the others are free.
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = facts.values
    content = model.SerializeToString()
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def open(
    path: Path, *, device: str = "", precision: str = "auto", threads: int | None = None
) -> Runner:
    """Open an ONNX file that `write` wrote, in ONNX Runtime; see `backends.Open`.

    Raises:
        ExportError: The file is refused, damaged, foreign, or of another precision.
    """
    if precision not in ("auto", "fp32"):
        raise ExportError(
            f"{path}: computes in float32 as it was written, not in {precision}. "
            "Leave --precision at auto."
        )
    content, model = read_vetted(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    facts = from_metadata(metadata, str(path))
    _check_ends(model, facts, str(path))
    providers = _providers(device, str(path))
    threads = torch.get_num_threads() if threads is None else threads
    return OnnxRunner(str(path), content, facts, providers, threads)


class OnnxRunner:
    """An ONNX file as a `Runner`.

    Attributes:
        facts: What the file says of itself.
    """

    def __init__(
        self, where: str, content: bytes, facts: Facts, providers: list[str], threads: int
    ) -> None:
        """Start a session.

        Args:
            where: The file, for errors.
            content: Its bytes, vetted.
            facts: Read off its metadata.
            providers: ONNX Runtime's execution providers, the preferred one first.
            threads: CPU threads inside one operator.

        Raises:
            ExportError: The runtime cannot load the graph.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait slow down whatever else runs: 6x measured (anchors.md).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=providers)
        except RUNTIME_ERRORS as error:
            raise ExportError(f"{where}: ONNX Runtime refuses it: {_first_line(error)}") from error
        self._where = where
        self.facts = facts
        self.names = facts.names
        self.stride = facts.stride
        self.size_hw: Size | None = facts.size_hw
        self.batch = facts.batch

    def __call__(self, images: Tensor) -> Tensor:
        """Return (B, N, 5 + K) float32 candidates, on the CPU, for (B, 3, H, W) uint8 images.

        Raises:
            ExportError: The file cannot take so many images, or of this size, or the runtime fails.
        """
        self.facts.check_input(tuple(images.shape), self._where)
        scaled = images.cpu().float().div_(self.facts.letterbox.divide_by).numpy()
        try:
            (candidates,) = self._session.run([OUTPUT], {INPUT: scaled})
        except RUNTIME_ERRORS as error:
            raise ExportError(
                f"{self._where}: ONNX Runtime failed: {_first_line(error)}"
            ) from error
        return torch.from_numpy(candidates)


class _Decoded(nn.Module):
    """The graph to be traced: rows, then boxes."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        return self.detector.decode(self.detector(images))


def _trace(
    detector: Detector, images: Tensor, dynamic: bool, opset: int, where: str
) -> onnx.ModelProto:
    graph = _Decoded(fuse(detector).cpu().float()).eval()
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # that this exporter is the older one
            torch.onnx.export(
                graph,
                (images,),
                buffer,  # type: ignore[arg-type]  # the older exporter takes any binary file
                dynamo=False,
                opset_version=opset,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes=DYNAMIC_AXES if dynamic else None,
            )
    except (torch.onnx.OnnxExporterError, ValueError) as error:
        raise ExportError(
            f"{where}: not exported at opset {opset}: {_first_line(error)}"
        ) from error
    return onnx.load_model_from_string(buffer.getvalue())


def _check_ends(model: onnx.ModelProto, facts: Facts, where: str) -> None:
    """Check that the graph's input and output are those that the facts promise."""
    height, width = facts.size_hw or (None, None)
    expected = (
        ("input", model.graph.input, INPUT, [facts.batch, 3, height, width]),
        ("output", model.graph.output, OUTPUT, [facts.batch, None, facts.values]),
    )
    for role, ends, name, shape in expected:
        if [end.name for end in ends] != [name]:
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


def _providers(device: str, where: str) -> list[str]:
    available = onnxruntime.get_available_providers()
    wants_gpu = select_device(device).type == "cuda"
    if wants_gpu and "CUDAExecutionProvider" in available:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]
    if wants_gpu and device.strip().lower() not in ("", "auto"):
        raise ExportError(
            f"{where}: this ONNX Runtime has no CUDA. Use --device cpu, or install onnxruntime-gpu."
        )
    return ["CPUExecutionProvider"]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
