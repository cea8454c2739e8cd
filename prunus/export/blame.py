"""Which layer of an exported file is the first to compute something else than torch."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunus.export.engines.onnx import RUNTIME_ERRORS
from prunus.export.engines.openvino import the_core
from prunus.export.parity import MAX_RELATIVE
from prunus.model.detector import Detector
from prunus.model.fuse import fuse

Outputs = dict[str, NDArray[np.float32]]
"""Convolution, as torch names it -> what it puts out."""
TENSOR = re.compile(r"/detector/(?P<layer>.+)/Conv_output_0")
"""How torch's exporter names what a convolution puts out; OpenVINO keeps the names."""


def first_layer_off(detector: Detector, path: Path, images: Tensor) -> str:
    """Name the first convolution of a file that differs from torch's, in one sentence.

    Args:
        detector: That the file was made of.
        path: Of the file.
        images: (B, 3, H, W) uint8 that the file takes.

    Returns:
        "" where the insides cannot be seen, or no convolution differs.
    """
    taps = TAPS.get(path.suffix)
    if taps is None:
        return ""
    scaled = images.float() / 255
    try:
        found = taps(path, scaled.numpy())
    except (RuntimeError, *RUNTIME_ERRORS):
        return ""
    for layer, expected in _outputs_of_torch(detector, scaled).items():
        if layer in found and not (off := _distance(found[layer], expected)) <= MAX_RELATIVE:
            return f"The first layer that differs is {layer}, by {off:.3g} relative. "
    return ""


def _distance(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the largest difference, as a share of the largest value or of 1; may be NaN."""
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1))


def _outputs_of_torch(detector: Detector, images: Tensor) -> Outputs:
    outputs: Outputs = {}
    network = fuse(detector).cpu().float().eval()

    def keep(layer: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            outputs[layer] = output.clone().numpy()  # the activation works in place

        return hook

    for layer, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(keep(layer))
    with torch.inference_mode():
        network(images)
    return outputs


def _of_onnx(path: Path, images: NDArray[np.float32]) -> Outputs:
    model = onnx.load(path)
    layers = _layers(name for node in model.graph.node for name in node.output)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in layers)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (taken,) = session.get_inputs()
    found = session.run(list(layers), {taken.name: images})
    return dict(zip(layers.values(), found, strict=True))


def _of_openvino(path: Path, images: NDArray[np.float32]) -> Outputs:
    core = the_core()
    model = core.read_model(path)
    names = (name for op in model.get_ops() for end in op.outputs() for name in end.get_names())
    layers = _layers(names)
    model.add_outputs(list(layers))
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result = compiled(images)
    return {layer: np.array(result[name]) for name, layer in layers.items()}


def _layers(names: Iterable[str]) -> dict[str, str]:
    """Return tensor -> layer for the tensors that convolutions put out."""
    matches = (TENSOR.fullmatch(name) for name in names)
    return {match[0]: match["layer"].replace("/", ".") for match in matches if match}


TAPS = {".onnx": _of_onnx, ".xml": _of_openvino}
"""Suffix -> what reads the insides of such a file."""
