"""Layers given the form of their tensors: what makes a pruned model load like any other."""

from collections.abc import Mapping

from torch import Tensor, nn

from prunus.core.errors import WeightsError
from prunus.model.blocks import ConvBlock
from prunus.model.detector import Detector
from prunus.model.factors import pair_like


def adopt_shapes_(detector: Detector, tensors: Mapping[str, Tensor]) -> None:
    """Give every convolution and batch norm of `detector` the widths of its tensors, in place.

    Layers that change get new parameters without values; load values into them afterwards.

    Raises:
        WeightsError: A tensor has another kernel or number of dimensions than its layer.
    """
    adopt_pairs_(detector, tensors)
    for name, layer in detector.named_modules():
        if isinstance(layer, nn.Conv2d):
            _adopt_conv(layer, name, tensors)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.num_features = tensors[f"{name}.weight"].numel()
            for key in ("weight", "bias", "running_mean", "running_var"):
                _adopt_row(layer, key, (layer.num_features,), tensors[f"{name}.{key}"], name)
    for name, layer in detector.named_modules():
        if isinstance(layer, ConvBlock) and isinstance(layer.bn, nn.BatchNorm2d):
            _check_width(f"{name}.bn", layer.bn.num_features, layer.conv.out_channels)
    _check_head(detector, tensors)


def adopt_pairs_(detector: Detector, tensors: Mapping[str, Tensor]) -> None:
    """Make two convolutions, in place, of each block's one for which there are the tensors of two.

    Their widths are still to be adopted.
    """
    for name, block in list(detector.named_modules()):
        if not (isinstance(block, ConvBlock) and isinstance(block.conv, nn.Conv2d)):
            continue
        if f"{name}.conv.weight" not in tensors and f"{name}.conv.narrow.weight" in tensors:
            block.conv = pair_like(block.conv, rank=1)


def _adopt_conv(conv: nn.Conv2d, name: str, tensors: Mapping[str, Tensor]) -> None:
    weight = tensors[f"{name}.weight"]
    if weight.ndim != 4 or tuple(weight.shape[2:]) != conv.kernel_size or 0 in weight.shape:
        raise WeightsError(
            f"{name}.weight: its rows need (outputs, inputs, {conv.kernel_size[0]}, "
            f"{conv.kernel_size[1]}), the file has {tuple(weight.shape)}."
        )
    conv.out_channels, conv.in_channels = weight.shape[0], weight.shape[1] * conv.groups
    if tuple(conv.weight.shape) != tuple(weight.shape):
        conv.weight = nn.Parameter(conv.weight.new_empty(weight.shape))
    if conv.bias is not None:
        _adopt_row(conv, "bias", (conv.out_channels,), tensors[f"{name}.bias"], name)


def _adopt_row(
    layer: nn.Module, key: str, shape: tuple[int, ...], tensor: Tensor, name: str
) -> None:
    if tuple(tensor.shape) != shape:
        raise WeightsError(
            f"{name}.{key}: its layer needs {shape}, the file has {tuple(tensor.shape)}."
        )
    old = getattr(layer, key)
    if tuple(old.shape) != shape:
        new = old.new_empty(shape)
        setattr(layer, key, nn.Parameter(new) if isinstance(old, nn.Parameter) else new)


def _check_width(name: str, width: int, expected: int) -> None:
    if width != expected:
        raise WeightsError(f"{name}: has {width} channels, but {expected} arrive.")


def _check_head(detector: Detector, tensors: Mapping[str, Tensor]) -> None:
    """The head's outputs follow from classes and anchors; the file cannot choose them."""
    head = detector.head
    values = 5 + head.classes
    number = len(detector.model) - 1
    for level, conv in enumerate(head.m):
        assert isinstance(conv, nn.Conv2d)
        if conv.out_channels != head.anchors_per_level * values:
            raise WeightsError(
                f"model.{number}.m.{level}: {head.classes} class names and "
                f"{head.anchors_per_level} anchors need {head.anchors_per_level * values} "
                f"channels, the file has {conv.out_channels}."
            )
    anchors = tensors[f"model.{number}.anchors"]
    if anchors.shape != head.anchors.shape:
        raise WeightsError(
            f"model.{number}.anchors: its rows need {tuple(head.anchors.shape)}, the file has "
            f"{tuple(anchors.shape)}."
        )
