"""The open table of quantizers: which formats can be written in 8 bits, and how.

All start from the ONNX graph that `export` writes, and keep its names for layers. A new one is a
class here or beside, and its line in QUANTIZERS.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import onnx

from prunus.core.errors import ExportError, suggest
from prunus.core.files import write_atomically
from prunus.export.backends import openvino as openvino_backend
from prunus.export.engines.openvino import the_core
from prunus.export.facts import Facts, to_metadata
from prunus.export.quantize.collect import Maps
from prunus.export.quantize.graph import plan_of
from prunus.export.quantize.onnx import AUTO, CalibratedOnnx
from prunus.export.quantize.openvino import quantize_openvino

ALIKE = "mse"
"""The method that disturbed the head least on yolov5n; only the order of the layers hangs on it."""
CONV_SUFFIX = "/WithoutBiases"
"""OpenVINO splits an ONNX convolution in two and gives the product this name."""


class Calibrated(Protocol):
    """A detector that has seen the calibration images and can be written with any layers in float.

    Attributes:
        method: How ranges were chosen.
        layers: Names of the layers that become integers unless told otherwise, in order.
    """

    @property
    def method(self) -> str: ...
    @property
    def layers(self) -> Sequence[str]: ...

    def layer_noise(self) -> dict[str, float]:
        """Return, for each layer, what it does to the head's numbers if it alone is integer."""
        ...

    def save_float(self, path: Path, facts: Facts) -> None:
        """Write what the graph is in float, whole or not at all; arguments as for `save`."""
        ...

    def save(self, path: Path, facts: Facts, floating: Collection[str]) -> None:
        """Write the file, whole or not at all.

        Args:
            path: With the suffix of the format.
            facts: Of the float file.
            floating: Names of layers that stay in float.
        """
        ...


class QuantizedOnnx:
    """Writes ONNX files for ONNX Runtime; see `Calibrated`."""

    def __init__(self, model: onnx.ModelProto, calibration: Iterable[Maps], method: str) -> None:
        """Measure the ranges."""
        self._float = model
        self._calibrated = CalibratedOnnx(model, calibration, method)
        self.method, self.layers = self._calibrated.method, self._calibrated.layers

    def layer_noise(self) -> dict[str, float]:
        return self._calibrated.layer_noise()

    def save_float(self, path: Path, facts: Facts) -> None:
        _write(self._float, path, facts)

    def save(self, path: Path, facts: Facts, floating: Collection[str]) -> None:
        _write(self._calibrated.quantize(floating), path, in_8_bits(facts))


class QuantizedOpenvino:
    """Writes OpenVINO's pairs; see `Calibrated`.

    NNCF cannot say what a layer costs, so noise is that of ONNX Runtime's arithmetic: the same
    layers with nearly the same rounding.
    """

    method = "nncf"

    def __init__(self, model: onnx.ModelProto, calibration: Iterable[Maps], method: str) -> None:
        """Keep the images: NNCF measures anew for each file."""
        if method != AUTO:
            raise ExportError("--method: NNCF chooses the ranges for openvino. Leave it at auto.")
        self._onnx, self._calibration = model, calibration
        self._model = _as_openvino(model)
        self.layers = tuple(layer.name for layer in plan_of(model).layers)

    def layer_noise(self) -> dict[str, float]:
        return CalibratedOnnx(self._onnx, self._calibration, ALIKE).layer_noise()

    def save_float(self, path: Path, facts: Facts) -> None:
        openvino_backend.save(self._model.clone(), path, facts)

    def save(self, path: Path, facts: Facts, floating: Collection[str]) -> None:
        names = [f"{name}{CONV_SUFFIX}" for name in floating]
        quantized = quantize_openvino(self._model, self._calibration, floating=names)
        openvino_backend.save(quantized, path, in_8_bits(facts))


Calibrate = Callable[[onnx.ModelProto, Iterable[Maps], str], Calibrated]
QUANTIZERS: dict[str, Calibrate] = {"onnx": QuantizedOnnx, "openvino": QuantizedOpenvino}


def find_quantizer(format_name: str) -> Calibrate:
    """Return what quantizes for a format.

    Raises:
        ExportError: Nothing does.
    """
    if format_name not in QUANTIZERS:
        raise ExportError(
            f"--format: '{format_name}' is not quantized here, only {', '.join(QUANTIZERS)} are."
            f"{suggest(format_name, QUANTIZERS)}"
        )
    return QUANTIZERS[format_name]


def in_8_bits(facts: Facts) -> Facts:
    """Return the facts of the quantized file."""
    return facts.model_copy(update={"precision": "int8"})


def _write(model: onnx.ModelProto, path: Path, facts: Facts) -> None:
    onnx.helper.set_model_props(model, to_metadata(facts))
    content = model.SerializeToString()
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def _as_openvino(model: onnx.ModelProto) -> Any:
    openvino_backend.package("--format openvino")
    return the_core().read_model(model.SerializeToString(), b"")
