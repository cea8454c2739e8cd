"""Layers that read channels, seen as linear maps from a patch of their input to one place of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunus.core.records import Size
from prunus.model.channels.table import ChannelTable
from prunus.prune.readers import readers_of

LinearMap = nn.Conv2d | nn.Linear
"""A layer without groups, whose output at a place is weight @ patch + bias."""

Note = Callable[[LinearMap, Tensor, Tensor], Tensor | None]
"""(layer, what it read, what it put out) -> what goes on instead, or None."""


def readers(model: nn.Module, table: ChannelTable) -> dict[str, LinearMap]:
    """Return path -> layer for the layers that read channels and can be solved for.

    Left out: grouped and depthwise layers, other paddings than zeros, weights that two layers
    share.
    """
    owners: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    found: dict[str, LinearMap] = {}
    for weight, path, dimension in readers_of(table):
        if weight.rpartition(".")[2] != "weight" or dimension != 1:
            continue
        layer = model.get_submodule(path)
        if _is_linear_map(layer) and owners[id(layer.weight)] == 1:
            found[path] = layer  # type: ignore[assignment]
    return found


def reader_at(model: nn.Module, path: str) -> LinearMap:
    """Return the layer at a path where `readers` found one, in any network of the same paths."""
    layer = model.get_submodule(path)
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        raise TypeError(f"{path}: a {type(layer).__name__} is no reader")
    return layer


def patch_length(layer: LinearMap) -> int:
    """Return how many values of its input one output of a layer sees."""
    return layer.weight[0].numel()


def by_place(layer: LinearMap, output: Tensor) -> Tensor:
    """Return (B, places, O) a layer's output, or its gradient, place by place."""
    if isinstance(layer, nn.Conv2d):
        return output.flatten(2).transpose(1, 2)
    return output.reshape(output.size(0), -1, output.size(-1))


def picture_size(layer: LinearMap, output: Tensor) -> Size | None:
    """Return (height, width) of the places, or None where they lie in no picture."""
    return (output.size(2), output.size(3)) if isinstance(layer, nn.Conv2d) else None


def read_patches(layer: LinearMap, given: Tensor, places: Tensor) -> Tensor:
    """Return what a layer sees at some places of its input.

    Args:
        layer: Convolution or linear layer.
        given: (B, C, H, W) its input; of a linear layer (B, ..., C).
        places: (B, P) flat numbers of output places.

    Returns:
        (B * P, D) patches, in the order of the flattened weight's columns.
    """
    if isinstance(layer, nn.Linear):
        tokens = given.reshape(given.size(0), -1, given.size(-1))
        index = places.unsqueeze(-1).expand(-1, -1, tokens.size(-1))
        return tokens.gather(1, index).flatten(0, 1)
    (high, wide), (step_y, step_x) = layer.kernel_size, layer.stride
    pad_y, pad_x = _padding(layer)
    gap_y, gap_x = layer.dilation
    columns = (given.size(3) + 2 * pad_x - gap_x * (wide - 1) - 1) // step_x + 1
    padded = F.pad(given, (pad_x, pad_x, pad_y, pad_y))
    rows_at = (places // columns) * step_y
    columns_at = (places % columns) * step_x
    reach_y = torch.arange(high, device=given.device) * gap_y
    reach_x = torch.arange(wide, device=given.device) * gap_x
    at = (
        (rows_at[..., None, None] + reach_y[:, None]) * padded.size(3)
        + columns_at[..., None, None]
        + reach_x
    )  # (B, P, h, w)
    batch, count = places.shape
    flat = at.reshape(batch, 1, -1).expand(-1, padded.size(1), -1)
    seen = padded.flatten(2).gather(2, flat).view(batch, padded.size(1), count, high * wide)
    return seen.permute(0, 2, 1, 3).reshape(batch * count, -1)


def given_to(inputs: Sequence[Any], named: Mapping[str, Any]) -> Tensor:
    """Return what a layer was called with, by position or as `input`."""
    given: Tensor = inputs[0] if inputs else named["input"]
    return given


@contextmanager
def watching(layers: Sequence[LinearMap], note: Note) -> Iterator[None]:
    """Call `note` whenever one of the layers has run."""

    def hook(layer: Any, inputs: Sequence[Any], named: Mapping[str, Any], output: Tensor) -> Any:
        return note(layer, given_to(inputs, named), output)

    hooks = [layer.register_forward_hook(hook, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _is_linear_map(layer: nn.Module) -> bool:
    if type(layer) is nn.Linear:
        return True
    return (
        type(layer) is nn.Conv2d
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _padding(conv: nn.Conv2d) -> Size:
    if isinstance(conv.padding, str):
        raise TypeError("a padding by name")
    return conv.padding[0], conv.padding[1]
