"""OpenVINO: a graph (.xml) and its weights (.bin); the fastest runtime on CPUs of x86.

Made from our ONNX graph, with the same input and output. The facts stand beneath `rt_info/prunus`
in the XML, and with them the fingerprint of the weights, so that a .bin of another model is found
out.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prunus.core.errors import ExportError
from prunus.core.files import write_atomically
from prunus.export.backends import onnx
from prunus.export.backends.opening import Opener
from prunus.export.engines import EngineError
from prunus.export.engines.openvino import openvino_package, the_core
from prunus.export.facts import (
    NO_ORIGIN,
    Facts,
    Origin,
    facts_of,
    from_metadata,
    to_metadata,
)
from prunus.export.form import Form, check_no_suppression
from prunus.export.vetting.openvino import FACTS_NODE, WEIGHTS_SUFFIX, digest, read_vetted
from prunus.model.detector import Detector


def write(detector: Detector, path: Path, form: Form, origin: Origin = NO_ORIGIN) -> None:
    """Write `detector`, fused: `path` (.xml) and the weights beside it; see `backends.Write`.

    Raises:
        ExportError: As `backends.onnx.write`; or OpenVINO is not installed.
    """
    check_no_suppression(form, str(path))
    package(str(path))
    with TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.onnx"
        onnx.write(detector, graph, replace(form, half=False))
        model = the_core().read_model(graph)
    save(model, path, facts_of(detector, form, origin))


def save(model: Any, path: Path, facts: Facts) -> None:
    """Write a graph of OpenVINO's with its facts, the pair or nothing.

    Args:
        model: Of our input and output; what the file says of itself is set in it.
        path: Of the .xml.
        facts: Of the detector; fp16 halves the weights, which the runtime widens again.
    """
    openvino = package(str(path))

    def write_pair(temporary: Path) -> None:
        # Twice, since the graph names the fingerprint of the weights.
        openvino.save_model(model, temporary, compress_to_fp16=facts.precision == "fp16")
        weights = temporary.with_suffix(WEIGHTS_SUFFIX)
        named = facts.model_copy(update={"companion_sha256": digest(weights.read_bytes())})
        for key, value in to_metadata(named).items():
            model.set_rt_info(value, [FACTS_NODE, key])
        openvino.save_model(model, temporary, compress_to_fp16=facts.precision == "fp16")

    write_atomically(path, write_pair, companion=WEIGHTS_SUFFIX)


def _read(path: Path) -> tuple[tuple[bytes, bytes], Facts]:
    content, entries = read_vetted(path)
    facts = from_metadata(entries, str(path))
    if digest(content[1]) != facts.companion_sha256:
        raise ExportError(
            f"{path.with_suffix(WEIGHTS_SUFFIX)}: these are not the weights that {path.name} was "
            "written with. Export the weights again."
        )
    return content, facts


open = Opener("openvino", _read, precisions=("fp32", "bf16"))


def package(where: str) -> Any:
    """Return OpenVINO.

    Raises:
        ExportError: It is not installed.
    """
    try:
        return openvino_package()
    except EngineError as error:
        raise ExportError(f"{where}: {error}.") from error
