"""OpenVINO's pair: a graph in XML, and the weights in a .bin beside it.

Known ways in: XML that expands itself, layers of foreign libraries, constants that reach outside
the weights, a .bin that belongs to another graph. The reader gets bytes, so no path is followed.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from defusedxml import DefusedXmlException, ElementTree

from prunus.core.errors import ExportError
from prunus.export.vetting import read_bounded, refusal

WEIGHTS_SUFFIX = ".bin"
FACTS_NODE = "prunus"
"""Beneath `rt_info`: one entry a fact."""
MAX_XML_BYTES = 64 << 20
"""The graph of yolov5x6, quantized, takes 2 MB."""
LAYERS = frozenset(
    {
        "Add", "AvgPool", "Broadcast", "Clamp", "Concat", "Const", "Convert", "Convolution",
        "ConvolutionBackpropData", "Divide", "FakeQuantize", "Gather", "GroupConvolution",
        "HSigmoid", "HSwish", "Interpolate", "MaxPool", "Minimum", "Multiply", "Pad", "Parameter",
        "Power", "PReLU", "Range", "ReduceMean", "ReLU", "Reshape", "Result", "ShapeOf", "Sigmoid",
        "Slice", "SoftPlus", "Split", "Squeeze", "StridedSlice", "Subtract", "Swish", "Tanh",
        "Transpose", "Unsqueeze", "VariadicSplit",
    }
)  # fmt: skip
"""What detectors of this package are made of: none that holds a graph, keeps state or inflates."""
NUMBER = re.compile(r"[0-9]{1,18}")


def read_vetted(path: Path) -> tuple[tuple[bytes, bytes], dict[str, str]]:
    """Read a graph and its weights once, and vet them.

    Returns:
        The bytes of both, and the facts' entries.

    Raises:
        ExportError: Unreadable, too large, no such graph, or holding what our exporter never does.
    """
    graph = read_bounded(path)
    weights = read_bounded(path.with_suffix(WEIGHTS_SUFFIX))
    if len(graph) > MAX_XML_BYTES:
        raise refusal(path, f"its graph takes {len(graph) / 1e6:,.0f} MB of XML")
    try:
        root = ElementTree.fromstring(graph, forbid_dtd=True)
    except DefusedXmlException as error:
        raise refusal(path, "its XML declares entities or a document type") from error
    except ElementTree.ParseError as error:
        raise ExportError(
            f"{path}: not an OpenVINO graph, or cut short. Export the weights again."
        ) from error
    if root.tag != "net" or root.find("layers") is None:
        raise ExportError(f"{path}: not an OpenVINO graph: it holds no layers.")
    for problem in _problems(root, len(weights)):
        raise refusal(path, problem)
    facts = root.iterfind(f"rt_info/{FACTS_NODE}/*")
    return (graph, weights), {entry.tag: entry.get("value", "") for entry in facts}


def digest(weights: bytes) -> str:
    """Return the fingerprint of the weights that the graph names."""
    return sha256(weights).hexdigest()


def _problems(root: Any, weights: int) -> Iterator[str]:
    """Yield what is wrong, in words that complete 'refused: '."""
    for layer in root.iterfind("layers/layer"):
        kind, version = layer.get("type", ""), layer.get("version", "")
        if not version.startswith("opset"):
            yield f"layer '{layer.get('name')}' is of the foreign set '{version}'"
        if kind not in LAYERS:
            yield f"it uses the layer '{kind}', which no detector of ours has"
        for data in layer.iterfind("data[@offset]"):
            if not _lies_within(data.get("offset", ""), data.get("size", ""), weights):
                yield f"the constant '{layer.get('name')}' reaches outside the weights"
    if root.find("layers/layer//body") is not None:
        yield "a layer holds a graph"


def _lies_within(offset: str, size: str, total: int) -> bool:
    if NUMBER.fullmatch(offset) is None or NUMBER.fullmatch(size) is None:
        return False
    return int(offset) + int(size) <= total
