"""ONNX graphs in 8 bits: static, QDQ, unsigned activations and signed weights per channel."""

from collections.abc import Collection, Iterable, Mapping

import onnx
from onnx import NodeProto

from prunus.core.errors import ExportError, suggest
from prunus.export.quantize.collect import Maps, collect, noise_share, run_inside
from prunus.export.quantize.graph import Plan, plan_of
from prunus.export.quantize.histogram import Histogram
from prunus.export.quantize.insert import insert
from prunus.export.quantize.ranges import METHODS, Range
from prunus.export.quantize.rounding import rounded_tensors
from prunus.export.quantize.stem import fold_stem, images_of

AUTO = "auto"
SAME_RANGE = ("MaxPool", "Resize")
"""They only pick values: output and input share one scale, or the runtime computes in float."""
KNOWN_RANGES: dict[str, Range] = {"Sigmoid": (0.0, 1.0)}
IMAGE_RANGE: Range = (0.0, 1.0)
"""Pixels are 0 to 255 over 255: with this range they are exact."""


def quantize_onnx(
    model: onnx.ModelProto,
    calibration: Iterable[Maps],
    *,
    method: str = AUTO,
    floating: Collection[str] = (),
) -> onnx.ModelProto:
    """Return the model in 8 bits; its head's arithmetic stays in float.

    Args:
        model: In float, with names on its nodes; left as it is.
        calibration: (B, 3, H, W) images in [0, 1], of the training split; read once.
        method: Name in `ranges.METHODS`, or "auto": the one that disturbs the head least.
        floating: Names of convolutions that stay in float, with their activations.

    Raises:
        ExportError: No images, no such method or layer, or a graph that cannot be quantized.
    """
    return CalibratedOnnx(model, calibration, method).quantize(floating)


class CalibratedOnnx:
    """A graph whose ranges are known: it can be quantized again and again, with other layers.

    Attributes:
        plan: What may become integers.
        method: How the ranges were chosen; never "auto".
        noise: Per method that was tried, the share of noise in what the head reads.
    """

    def __init__(
        self, model: onnx.ModelProto, calibration: Iterable[Maps], method: str = AUTO
    ) -> None:
        """Run the images through the graph and choose ranges; see `quantize_onnx`."""
        if method not in (AUTO, *METHODS):
            hint = suggest(method, (AUTO, *METHODS))
            raise ExportError(f"--method: no method '{method}'.{hint}")
        self._model = fold_stem(model)
        self.plan: Plan = plan_of(self._model)
        self._looked_at: list[Maps] = []
        rounded = rounded_tensors(self._model, self.plan.nodes)
        histograms = collect(self._model, rounded, self._keeping(calibration))
        self._heard = list(dict.fromkeys(node.output[0] for node in self.plan.head))
        self._right = list(run_inside(self._model, self._heard, self._looked_at))
        self._ranges: dict[str, dict[str, Range]] = {
            name: self._choose(histograms, name) for name in METHODS if method in (AUTO, name)
        }
        self.noise = {
            name: self._noise(self.plan.without(()), ranges)
            for name, ranges in self._ranges.items()
        }
        self.method = min(self.noise, key=lambda name: self.noise[name])

    @property
    def layers(self) -> tuple[str, ...]:
        """Return the names of the layers that become integers unless told otherwise, in order."""
        return tuple(layer.name for layer in self.plan.layers)

    def quantize(self, floating: Collection[str] = ()) -> onnx.ModelProto:
        """Return the graph in integers but for these layers.

        Raises:
            ExportError: There is no such layer.
        """
        for name in floating:
            if name not in self.layers:
                hint = suggest(name, self.layers)
                raise ExportError(f"no layer '{name}' can be kept in float.{hint}")
        return insert(self._model, self.plan.without(floating), self._ranges[self.method])

    def layer_noise(self) -> dict[str, float]:
        """Return, for each layer, the share of noise at the head if it alone is integer."""
        ranges = self._ranges[self.method]
        return {
            layer.name: self._noise({name: self.plan.nodes[name] for name in layer.nodes}, ranges)
            for layer in self.plan.layers
        }

    def _keeping(self, calibration: Iterable[Maps]) -> Iterable[Maps]:
        """Yield the images, and keep few: the 1st, 2nd, 3rd, 5th, 9th … batch.

        On these, methods and layers are compared: noise settles far sooner than ranges.
        """
        for number, batch in enumerate(calibration):
            if number & (number - 1) == 0:
                self._looked_at.append(batch)
            yield batch

    def _choose(self, histograms: Mapping[str, Histogram], method: str) -> dict[str, Range]:
        ranges = {name: METHODS[method](histogram) for name, histogram in histograms.items()}
        ranges.update(dict.fromkeys(images_of(self._model), IMAGE_RANGE))
        for node in self.plan.nodes.values():
            if node.op_type in SAME_RANGE:
                ranges[node.output[0]] = ranges[node.input[0]]
            elif node.op_type in KNOWN_RANGES:
                ranges[node.output[0]] = KNOWN_RANGES[node.op_type]
        return ranges

    def _noise(self, nodes: Mapping[str, NodeProto], ranges: Mapping[str, Range]) -> float:
        quantized = insert(self._model, nodes, ranges)
        return noise_share(self._right, run_inside(quantized, self._heard, self._looked_at))
