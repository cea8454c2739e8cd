"""Operations that write into a tensor, or into a part of it."""

from typing import Any

import torch
from torch import Tensor

from prunus.model.channels.arrays import along, changing_dimensions
from prunus.model.channels.call import Call
from prunus.model.channels.rules.elementwise import combine
from prunus.model.channels.tracer import Tracer

PART = "written into a part of another tensor"


def copy_into(tracer: Tracer, call: Call) -> Tensor | None:
    """Let a copy into a whole tensor bring its tags; tie them to those that the target has.

    A part takes them if it holds all channels of its tensor, which they then belong to.
    """
    target, source = call.tensor("self"), call.tensor("src")
    brought = tracer.tags(source)
    if brought is None and tracer.tags(target) is None:
        return None
    if brought is None or tracer.tags(target) is not None:
        return combine(tracer, call)
    brought = brought.expand(target.shape)
    base = target._base
    if base is not None and not _belongs_to(tracer, base, target, brought):
        tracer.pin(brought, PART)
    return brought


def place(tracer: Tracer, call: Call) -> Tensor | None:
    """Scatter and the like: what is written belongs to the channels that it is written among.

    Where channels themselves are picked, all of them are pinned.
    """
    target = call.tensor("self")
    held = tracer.tags(target)
    changing = set(changing_dimensions(held)) if held is not None else set()
    touched = _touched(call, target)
    for other in call.every_tensor()[1:]:  # what is written, and the places
        brought = tracer.tags(other)
        if brought is None and not _spans(other, target, changing):
            continue
        fits = len(changing) == 1 and not touched & changing and other.ndim == target.ndim
        if held is not None and brought is not None and fits:
            _tie(tracer, held, brought, min(changing))
            continue
        for tags in (held, brought):
            if tags is not None:
                tracer.pin(tags, PART)
    if held is not None and touched & changing:
        tracer.pin(held, PART)
    return held


def _spans(other: Tensor, target: Tensor, changing: set[int]) -> bool:
    """Tell whether a constant has a value of its own for each channel of the target."""
    return other.ndim == target.ndim and any(other.size(dimension) > 1 for dimension in changing)


def _tie(tracer: Tracer, held: Tensor, brought: Tensor, dimension: int) -> None:
    """Tie two arrays along one dimension; pin both where they are not alike there."""
    if (
        set(changing_dimensions(brought)) - {dimension}
        or len({tags.size(dimension) for tags in (held, brought)}) > 1
    ):
        tracer.pin(brought, PART)
        tracer.pin(held, PART)
        return
    first, second = (tags.movedim(dimension, 0).flatten(1)[:, 0] for tags in (held, brought))
    tracer.unite(first, second, PART)


def _belongs_to(tracer: Tracer, base: Tensor, part: Tensor, brought: Tensor) -> bool:
    """Give a tensor the channels of what is written into a part of it, if it has room for all."""
    changing = changing_dimensions(brought)
    if len(changing) != 1 or base.ndim != part.ndim or tracer.leaf(base) is not None:
        return False
    dimension = changing[0]
    if base.size(dimension) != part.size(dimension):
        return False
    channels = along(brought.movedim(dimension, 0).flatten(1)[:, 0], dimension, base.shape)
    held = tracer.tags(base)
    if held is None:
        tracer.bind(base, channels)
    else:
        tracer.unite(held, channels, PART)
    return True


def _touched(call: Call, target: Tensor) -> set[int]:
    """Return the dimensions along which only some places are written."""
    if "dim" in call.arguments:
        return {call.integer("dim") % max(target.ndim, 1)}
    indices: Any = call.arguments.get("indices")
    if indices is None or any(index is not None and index.dtype == torch.bool for index in indices):
        return set(range(target.ndim))
    return {number for number, index in enumerate(indices) if index is not None}


PLACES = (
    "index_add index_copy index_fill index_put _index_put_impl masked_scatter put scatter "
    "scatter_add scatter_reduce select_scatter slice_scatter _unsafe_index_put"
)
