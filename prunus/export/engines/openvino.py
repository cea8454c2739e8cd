"""OpenVINO, on the CPU."""

import io
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from prunus.export.engines import Candidates, Engine, EngineError, Options, Pictures, first_line

HINTS = {"fp32": "f32", "bf16": "bf16"}


def start(content: Sequence[bytes], options: Options) -> Engine:
    """Compile a graph (.xml) with its weights (.bin); see `engines.Start`."""
    openvino, core = openvino_package(), the_core()
    settings = {
        "INFERENCE_NUM_THREADS": options.threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": HINTS[options.precision],
    }
    try:
        model = core.read_model(io.BytesIO(content[0]), io.BytesIO(content[1]))
        model = _taking_bytes(openvino, model, options.divide_by)
        request = core.compile_model(model, "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise EngineError(f"OpenVINO refuses it: {_told(error)}") from error

    def run(images: Pictures) -> Candidates:
        try:
            request.infer([images], share_inputs=True)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed: {_told(error)}") from error
        return np.array(request.get_output_tensor(0).data, dtype=np.float32)

    return run


def openvino_package() -> Any:
    """Return the package, which is optional and takes 280 ms to import.

    Raises:
        EngineError: It is not installed.
    """
    try:
        return import_module("openvino")
    except ImportError as error:
        raise EngineError("OpenVINO is not installed. Run: pip install openvino") from error


@cache
def the_core() -> Any:
    """Return the one `Core` of this process, which lives as long.

    With a Core goes its CPU plugin, and with that the stack which it has given to signal handlers:
    the next Ctrl-C would then end in a segmentation fault (OpenVINO 2026.4).

    Raises:
        EngineError: OpenVINO is not installed.
    """
    return openvino_package().Core()


def _taking_bytes(openvino: Any, model: Any, divide_by: float) -> Any:
    """Let the graph itself turn uint8 into the floats that it takes."""
    steps = openvino.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(openvino.Type.u8)
    steps.input().preprocess().convert_element_type(openvino.Type.f32).scale(divide_by)
    return steps.build()


def _told(error: Exception) -> str:
    """Return the last thing that is said: before it stand C++ files and lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else first_line(error)
