"""ONNX files.

Known ways in (spec/reliability.md §4.3): weights read from other files (CVE-2022-25882 and its
successors), operators of other domains, chains of local functions, tensors with two payloads of
which the checker sees one, sparse tensors with a path of their own, operators that blow a small
file up (Tile, ConstantOfShape). Our exporters emit none of these, so none is let in.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

from prunus.core.errors import ExportError
from prunus.export.vetting import read_bounded, refusal

DOMAINS = ("", "ai.onnx")
OPERATORS = frozenset(
    {
        "Add", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant",
        "Conv", "ConvTranspose", "DequantizeLinear", "Div", "Equal", "Expand", "Flatten", "Gather",
        "GatherND", "GlobalAveragePool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
        "MaxPool", "Min", "Mul", "NonMaxSuppression", "OneHot", "Pad", "Pow", "QuantizeLinear",
        "Range", "Relu", "Reshape", "Resize", "Shape", "Sigmoid", "Slice", "Softplus",
        "SpaceToDepth", "Split", "Squeeze", "Sub", "Tanh", "TopK", "Transpose", "Unsqueeze",
        "Where",
    }
)  # fmt: skip
"""What detectors of this package are made of."""
NESTED = (
    AttributeProto.GRAPH,
    AttributeProto.GRAPHS,
    AttributeProto.SPARSE_TENSOR,
    AttributeProto.SPARSE_TENSORS,
)
PAYLOADS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def read_vetted(path: Path) -> tuple[bytes, ModelProto]:
    """Read an ONNX file once and vet it.

    Returns:
        The bytes, to be handed to the runtime (a second read could find another file), and what
        they say.

    Raises:
        ExportError: Unreadable, too large, not ONNX, or holding what our exporter never writes.
    """
    content = read_bounded(path)
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise ExportError(
            f"{path}: not an ONNX file, or cut short. Export the weights again."
        ) from error
    if not model.ir_version or not model.graph.node:
        raise ExportError(f"{path}: not an ONNX file: it holds no graph.")
    for problem in _problems(model):
        raise refusal(path, problem)
    return content, model


def _problems(model: ModelProto) -> Iterator[str]:
    """Yield what is wrong, in words that complete 'refused: '."""
    if model.functions:
        yield "it defines functions of its own"
    if model.training_info:
        yield "it holds a training graph"
    if model.graph.sparse_initializer:
        yield "it holds sparse tensors"
    domains = {entry.domain for entry in model.opset_import}
    domains.update(node.domain for node in model.graph.node)
    for domain in sorted(domains.difference(DOMAINS)):
        yield f"it uses operators of the domain '{domain}'"
    yield from _problems_of_nodes(model.graph)
    for tensor in _tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            yield f"the weights of '{tensor.name}' lie in another file"
        if _payloads(tensor) > 1:
            yield f"the tensor '{tensor.name}' holds two sets of values"


def _problems_of_nodes(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        if any(_is_nested(attribute) for attribute in node.attribute):
            yield f"node '{node.name}' holds a graph or a sparse tensor"
    for kind in sorted({node.op_type for node in graph.node}.difference(OPERATORS)):
        yield f"it uses the operator '{kind}', which no detector of ours has"


def _is_nested(attribute: AttributeProto) -> bool:
    """Go by the type and by what the fields hold, since either may lie."""
    single = attribute.HasField("g") or attribute.HasField("sparse_tensor")
    several = attribute.graphs or attribute.sparse_tensors
    return single or bool(several) or attribute.type in NESTED


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _payloads(tensor: TensorProto) -> int:
    filled: Sequence[bool] = [bool(getattr(tensor, name)) for name in PAYLOADS]
    return sum(filled) + bool(tensor.raw_data)
