"""Operations that move values without changing them: the same operation moves the tags.

Where a cut lies is a number in the model's code, which pruning does not change: a slice of the
channels pins them, parts of equal length stay equal.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from prunus.model.channels.arrays import changing_dimensions, compact, constants, squeeze_repeats
from prunus.model.channels.call import Call
from prunus.model.channels.ties import CONSTANT
from prunus.model.channels.tracer import Bound, Leaf, Tracer

SLICED = "sliced at fixed positions by the model's own code"


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
    """Give the tags the result's shape."""
    return tracer.settle(_tags(tracer, call.tensor("self")).reshape(call.output().shape))


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
        if call.name != "aten.split" or len({piece.shape for piece in pieces}) > 1:
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
    return {call.integer("dim") % source.ndim}


def _pin_along(tracer: Tracer, source: Tensor, touched: set[int]) -> None:
    tags = _tags(tracer, source)
    if touched & set(changing_dimensions(tags)):
        tracer.pin(tags, SLICED)


def _tags(tracer: Tracer, tensor: Tensor) -> Tensor:
    tags = tracer.tags(tensor)
    return constants(tensor.shape) if tags is None else tags
