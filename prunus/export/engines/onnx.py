"""ONNX Runtime."""

from collections.abc import Sequence

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from prunus.export.engines import Candidates, Engine, EngineError, Options, Pictures, first_line

INPUT, OUTPUT = "images", "output0"
RUNTIME_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    ort_errors.EPFail,
)


def start(content: Sequence[bytes], options: Options) -> Engine:
    """Start a session on the one file's bytes; see `engines.Start`."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    # Threads that spin while they wait slow down whatever else runs: 6x measured (anchors.md).
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            content[0], settings, providers=_providers(options.device)
        )
    except RUNTIME_ERRORS as error:
        raise EngineError(f"ONNX Runtime refuses it: {first_line(error)}") from error

    def run(images: Pictures) -> Candidates:
        scaled = images.astype(np.float32)
        scaled /= options.divide_by
        try:
            (candidates,) = session.run([OUTPUT], {INPUT: scaled})
        except RUNTIME_ERRORS as error:
            raise EngineError(f"ONNX Runtime failed: {first_line(error)}") from error
        found: Candidates = candidates
        return found

    return run


def has_cuda() -> bool:
    """Return whether this ONNX Runtime computes on GPUs of NVIDIA."""
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _providers(device: str) -> list[object]:
    if not device.startswith("cuda"):
        return ["CPUExecutionProvider"]
    number = int(device.partition(":")[2] or 0)
    return [("CUDAExecutionProvider", {"device_id": number}), "CPUExecutionProvider"]
