"""Operations that move values without changing them: the same operation moves the tags.

Where a cut lies is a number in the model's code, which pruning does not change: a slice of the
channels pins them, parts of equal length stay equal.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from prunus.model.channels.arrays import (
    along,
    changing_dimensions,
    compact,
    constants,
    squeeze_repeats,
)
from prunus.model.channels.call import Call
from prunus.model.channels.ties import CONSTANT
from prunus.model.channels.tracer import Bound, Leaf, Tracer

SLICED = "sliced at fixed positions by the model's own code"
ACROSS = "channels lie where pixels are expected"


def move(tracer: Tracer, call: Call) -> Tensor | list[Tensor]:
    """Run the operation on the tags."""
    moved = run_on_tags(tracer, call)
    if isinstance(moved, Tensor):
        return tracer.settle(moved)
    return [tracer.settle(part) for part in moved]


def turn(tracer: Tracer, call: Call) -> Bound | list[Tensor]:
    """Permute dimensions; a turned parameter stays that parameter."""
    source = call.tensor("self")
    leaf = tracer.leaf(source)
    if leaf is None:
        return move(tracer, call)
    # Its lengths say where each dimension went.
    marked = torch.empty(tuple(range(1, source.ndim + 1)), device="meta")
    order = [length - 1 for length in call.function(**{**call.arguments, "self": marked}).shape]
    return Leaf(leaf.name, tuple(leaf.dimensions[dimension] for dimension in order))


def view(tracer: Tracer, call: Call) -> Tensor:
    """Give the tags the result's shape.

    Where channels are split in two dimensions, one of which the code leaves open (-1), that one may
    lose some, since the other's length is a number: whole heads of an attention go.
    """
    tags = _tags(tracer, call.tensor("self")).reshape(call.output().shape)
    return tracer.settle(tags, keep=tracer.open_dimension)


def restride(tracer: Tracer, call: Call) -> Tensor:
    """Let a tensor of the same shape keep its tags (pooling does this); anything else pins."""
    tags, result = _tags(tracer, call.tensor("self")), call.output()
    if tags.shape == result.shape and result.is_contiguous():
        return tags
    tracer.pin(tags, "moved by the positions of its values in memory")
    return constants(result.shape)


def join(tracer: Tracer, call: Call) -> Tensor:
    """Concatenate or stack. Beside one another, pixels of the same channel are tied."""
    moved = run_on_tags(tracer, call)
    assert isinstance(moved, Tensor)
    tensors: Any = call.arguments["tensors"]
    joined = call.integer("dim") % moved.ndim
    stacked = moved.ndim > tensors[0].ndim
    kept = {
        dimension + (stacked and dimension >= joined)
        for tensor in tensors
        if tensor.ndim == tensors[0].ndim
        for dimension in changing_dimensions(_tags(tracer, tensor))
    } - {joined}
    return tracer.settle(moved, keep=min(kept, default=None))


def part(tracer: Tracer, call: Call) -> Tensor | list[Tensor]:
    """Take a part, or pick along dimensions; a part of the channels pins them all."""
    source = call.tensor("self")
    several = isinstance(call.result, (list, tuple))
    whole = not several and call.output().shape == source.shape and call.name == "aten.slice"
    if not whole:
        _pin_along(tracer, source, _touched(call, source))
    return move(tracer, call)


def rearrange(tracer: Tracer, call: Call) -> Tensor | list[Tensor]:
    """Rotate or mirror; along the channels that pins them."""
    source = call.tensor("self")
    given: Any = call.arguments["dims"]
    touched = {dimension % source.ndim for dimension in given} or set(range(source.ndim))
    _pin_along(tracer, source, touched)
    return move(tracer, call)


def split(tracer: Tracer, call: Call) -> list[Tensor]:
    """Split: equal parts have their channels tied, so that they stay equal; unequal ones pin."""
    source = call.tensor("self")
    dimension = call.integer("dim") % source.ndim
    pieces = run_on_tags(tracer, call)
    assert not isinstance(pieces, Tensor)
    if dimension in changing_dimensions(_tags(tracer, source)):
        if "with_sizes" in call.name or len({piece.shape for piece in pieces}) > 1:
            tracer.pin(_tags(tracer, source), SLICED)
        else:
            for piece in pieces[1:]:
                tracer.unite(compact(pieces[0]), compact(piece), SLICED)
    return [tracer.settle(piece) for piece in pieces]


def pad(tracer: Tracer, call: Call) -> Tensor:
    """Surround with zeros: more pixels of the same channel, or channels that are constant."""
    small = squeeze_repeats(_tags(tracer, call.tensor("self")))
    widths: Any = call.arguments["pad"]
    for number in range(len(widths) // 2):
        dimension = small.ndim - 1 - number
        before, after = widths[2 * number : 2 * number + 2]
        if small.size(dimension) == 1 or before == after == 0:
            continue
        if min(before, after) < 0:
            tracer.pin(small, SLICED)
        small = F.pad(small, (0, 0) * number + (before, after), value=CONSTANT)
    return small.expand(call.output().shape)


def interleave(tracer: Tracer, call: Call) -> Tensor:
    """Pixel shuffle: the channels that become one pixel block go together."""
    moved = run_on_tags(tracer, call)
    assert isinstance(moved, Tensor)
    return tracer.settle(moved, keep=moved.ndim - 3)


def shuffle(tracer: Tracer, call: Call) -> Tensor:
    """Channel shuffle: the same place of every group of channels goes together."""
    tags, groups = _tags(tracer, call.tensor("self")), call.integer("groups")
    parts = tracer.settle(tags.view(len(tags), groups, -1, *tags.shape[2:]), keep=2)
    return parts.transpose(1, 2).reshape(tags.shape)


def unfold(tracer: Tracer, call: Call) -> Tensor:
    """Patches as columns: each channel becomes as many as the kernel has places."""
    tags: Any = _tags(tracer, call.tensor("self"))
    channels = tracer.vector(call.tensor("self"), -3, ACROSS)
    result = call.output()
    places = result.size(-2) // tags.size(-3)
    return along(channels.repeat_interleave(places), result.ndim - 2, result.shape)


def fold(tracer: Tracer, call: Call) -> Tensor:
    """Columns to patches: the reverse of `unfold`."""
    channels = tracer.vector(call.tensor("self"), -2, ACROSS)
    result = call.output()
    parts = channels.view(result.size(-3), -1)
    first = tracer.settle(parts, keep=0)[:, 0]
    return along(first, result.ndim - 3, result.shape)


def triangle(tracer: Tracer, call: Call) -> Tensor:
    """Blank a triangle of the last two dimensions; channels that lie there are pinned."""
    source = call.tensor("self")
    _pin_along(tracer, source, {source.ndim - 2, source.ndim - 1})
    return _tags(tracer, source)


def run_on_tags(tracer: Tracer, call: Call) -> Tensor | list[Tensor]:
    """Run the very operation on the tags of its operands; indices are taken as they are."""

    def tagged(name: str, value: object) -> object:
        if isinstance(value, Tensor):
            return value.cpu() if name.startswith("ind") else _tags(tracer, value)
        if isinstance(value, (list, tuple)):
            return [tagged(name, item) for item in value]
        return value

    given = {name: tagged(name, value) for name, value in call.arguments.items()}
    moved = call.function(**given)
    return moved if isinstance(moved, Tensor) else list(moved)


def _touched(call: Call, source: Tensor) -> set[int]:
    """Return the dimensions along which the operation picks."""
    if "indices" in call.arguments:
        indices: Any = call.arguments["indices"]
        return {number for number, index in enumerate(indices) if index is not None}
    if "dim1" in call.arguments:  # a diagonal
        return {call.integer("dim1") % source.ndim, call.integer("dim2") % source.ndim}
    name = "dim" if "dim" in call.arguments else "dimension"
    return {call.integer(name) % source.ndim}


def _pin_along(tracer: Tracer, source: Tensor, touched: set[int]) -> None:
    """Pin channels along the dimensions that an operation picks from.

    The rows of a parameter become one instead, if its channels can lie along another dimension.
    """
    tags = _tags(tracer, source)
    changing = set(changing_dimensions(tags))
    if tracer.leaf(source) is not None and changing - touched:
        tracer.settle(tags, keep=max(changing - touched))
    elif touched & changing:
        tracer.pin(tags, SLICED)


def _tags(tracer: Tracer, tensor: Tensor) -> Tensor:
    tags = tracer.tags(tensor)
    return constants(tensor.shape) if tags is None else tags
