"""Layers with weights: they read the channels of their input and make new ones."""

import torch
from torch import Tensor

from prunus.model.channels.arrays import along, changing_dimensions, constants, squeeze_repeats
from prunus.model.channels.call import Call
from prunus.model.channels.ties import CONSTANT
from prunus.model.channels.tracer import Leaf, Tracer

COMPUTED = "read by a layer whose weight is computed"
ACROSS = "channels lie where a layer expects pixels"


def convolution(tracer: Tracer, call: Call) -> Tensor | None:
    """Convolution of 1 to 3 dimensions: plain, grouped, depthwise, transposed."""
    image, weight, bias = call.tensor("input"), call.tensor("weight"), call.optional("bias")
    reads = tracer.vector(image, 1, ACROSS)
    leaf = _own_weight(tracer, weight, reads)
    if leaf is None:
        return None
    groups, channels = call.integer("groups"), call.output().size(1)
    if groups == len(reads) > 1:
        made = _depthwise(tracer, leaf, reads, channels, bool(call.arguments["transposed"]))
    elif call.arguments["transposed"]:  # its weight is (in, out / groups, ...)
        _tie_parts(tracer, reads, groups)
        tracer.fill(leaf.name, 0, reads, "column")
        made = tracer.issue(leaf.name, 1, channels // groups, "filter").repeat(groups)
    else:
        tracer.fill(leaf.name, 1, _tie_parts(tracer, reads, groups), "column")
        made = tracer.issue(leaf.name, 0, channels, "filter")
        _tie_parts(tracer, made, groups)
    tracer.attach(bias, made, "bias")
    tracer.made_by(call.output(), leaf.name)
    return along(made, 1, call.output().shape)


def linear(tracer: Tracer, call: Call) -> Tensor | None:
    """Linear layer, weight (out, in), over the last dimension."""
    image, weight, bias = call.tensor("input"), call.tensor("weight"), call.optional("bias")
    leaf = _own_weight(tracer, weight, tracer.tags(image))
    return None if leaf is None else _dense(tracer, call, image, leaf, bias)


def matrix_product(tracer: Tracer, call: Call) -> Tensor | None:
    """Product of two matrices, or of two stacks of matrices; by a parameter: a linear layer."""
    adds = call.name in ("aten.addmm", "aten.baddbmm")
    left, right = call.tensors()[-2:]
    added = call.tensor("self") if adds else None
    leaf = tracer.leaf(right)
    if leaf is not None and right.ndim == 2:
        turned = Leaf(leaf.name, leaf.dimensions[::-1])  # (in, out) -> (out, in)
        return _dense(tracer, call, left, turned, added)
    result = contract(tracer, left, right, call.output())
    for tags in (tracer.tags(added) if added is not None else None, result):
        if adds and tags is not None:
            tracer.pin(tags, "added to a product of two activations")
    return result


def contract(tracer: Tracer, left: Tensor, right: Tensor, result: Tensor) -> Tensor | None:
    """Tie what is summed over; pass on the rows of `left` or the columns of `right`.

    A result can carry the channels of one of them only; those of the other are pinned.
    """
    why = "mixed in a matrix product"
    stacked = _stacked(tracer, (left, right))
    if stacked is not None:
        return stacked.expand(result.shape)
    rows, summed = _sides(tracer, left, kept=-2, summed=-1)
    columns, partner = _sides(tracer, right, kept=-1, summed=-2)
    if summed is not None and partner is not None:
        tracer.unite(summed, partner, why)
    else:
        for lonely in (summed, partner):
            if lonely is not None:
                tracer.pin(lonely, why)
    if columns is None:
        return None if rows is None else along(rows, result.ndim - 2, result.shape)
    if rows is not None:
        tracer.pin(rows, why)
    return along(columns, result.ndim - 1, result.shape)


def attention(tracer: Tracer, call: Call) -> list[Tensor | None]:
    """Scaled dot-product attention, (..., heads, tokens, channels): the values' channels pass.

    Where heads may go, those of query, key and value are tied.
    """
    query, key, value = call.tensor("query"), call.tensor("key"), call.tensor("value")
    why = "mixed by an attention"
    shape = call.output().shape
    stacked = _stacked(tracer, (query, key, value))
    for mask in call.tensors()[3:]:
        _add_mask(tracer, mask, stacked)
    if stacked is not None:
        return [stacked.expand(shape)]
    tracer.unite(tracer.vector(query, -1, why), tracer.vector(key, -1, why), why)
    channels = tracer.vector(value, -1, why)
    return [along(channels, value.ndim - 1, shape)]


def embedding(tracer: Tracer, call: Call) -> Tensor | None:
    """Pick rows of a parameter: new channels along the last dimension."""
    leaf = _own_weight(tracer, call.tensor("weight"), None)
    if leaf is None:
        return None
    result = call.output()
    made = tracer.issue(leaf.name, 1, result.size(-1), "filter")
    return along(made, result.ndim - 1, result.shape)


def _depthwise(
    tracer: Tracer, leaf: Leaf, reads: Tensor, channels: int, transposed: bool
) -> Tensor:
    """Return the input's own channels: each is filtered alone, perhaps several times."""
    if bool((reads == CONSTANT).all()):
        made = tracer.issue(leaf.name, 0, channels, "filter")
        tracer.pin(made, "each made from one channel of an input, whose number is fixed")
        return made
    made = reads.repeat_interleave(channels // len(reads))
    tracer.fill(leaf.name, 0, reads if transposed else made, "filter")
    return made


def _tie_parts(tracer: Tracer, tags: Tensor, groups: int) -> Tensor:
    """Tie the same place of every group of a grouped layer; return the first group's tags."""
    parts = tags.reshape(groups, -1)
    for part in parts[1:]:
        tracer.unite(parts[0], part, "lies beside a constant in a grouped layer")
    return parts[0]


def _own_weight(tracer: Tracer, weight: Tensor, reads: Tensor | None) -> Leaf | None:
    """Return the parameter that a weight is; a computed one pins all that it meets."""
    leaf = tracer.leaf(weight)
    if leaf is not None and leaf.dimensions == tuple(range(weight.ndim)):
        return leaf
    for tags in (reads, tracer.tags(weight)):
        if tags is not None:
            tracer.pin(tags, COMPUTED)
    return None


def _dense(
    tracer: Tracer, call: Call, image: Tensor, leaf: Leaf, bias: Tensor | None
) -> Tensor | None:
    """Apply the (out, in) parameter over the last dimension of `image`."""
    out_dimension, in_dimension = leaf.dimensions
    result, last = call.output(), image.ndim - 1
    tags = tracer.tags(image)
    made = tracer.issue(leaf.name, out_dimension, result.size(-1), "filter")
    tracer.attach(bias, made, "bias")
    if tags is not None and set(changing_dimensions(tags)) - {last}:
        # Channels lie along another dimension (a mixer): they pass, what it makes must stay.
        tracer.pin(made, "made from the pixels of other channels")
        constant = constants(image.shape[-1:])
        tracer.fill(leaf.name, in_dimension, constant, "column")
        return tags.narrow(last, 0, 1).expand(result.shape)
    tracer.fill(leaf.name, in_dimension, tracer.vector(image, last, ACROSS), "column")
    tracer.made_by(result, leaf.name)
    return along(made, last, result.shape)


def _stacked(tracer: Tracer, matrices: tuple[Tensor, ...]) -> Tensor | None:
    """Tie stacks of matrices, one a channel (a head of an attention), if that is what they are.

    Returns:
        The tags of the stack, of length 1 along the matrices' own two dimensions.
    """
    several = [tracer.tags(matrix) for matrix in matrices]
    small = [squeeze_repeats(tags) for tags in several if tags is not None]
    stacked = [tags.numel() > 1 and tags.shape[-2:] == (1, 1) for tags in small]
    if len(small) < len(matrices) or not all(stacked):
        return None
    if len({tags.shape for tags in small}) > 1:
        return None
    for other in small[1:]:
        tracer.unite(small[0], other, "lies beside a constant in a matrix product")
    return small[0]


def _add_mask(tracer: Tracer, mask: Tensor, stacked: Tensor | None) -> None:
    """Tie what is added to the scores of heads to these; pin what does not fit."""
    why = "added to the scores of an attention"
    tags = tracer.tags(mask)
    if stacked is None:
        if tags is not None:
            tracer.pin(tags, why)
        return
    sizes = (1,) * (stacked.ndim - mask.ndim) + tuple(mask.shape)
    spans = any(sizes[dimension] > 1 for dimension in changing_dimensions(stacked))
    if tags is None:
        if spans:
            tracer.pin(stacked, why)
        return
    small = squeeze_repeats(tags.reshape(sizes))
    if spans:
        both = torch.broadcast_shapes(small.shape, stacked.shape)  # type: ignore[no-untyped-call]
        tracer.unite(small.expand(both), stacked.expand(both), why)
    else:
        tracer.pin(tags, why)


def _sides(
    tracer: Tracer, matrix: Tensor, kept: int, summed: int
) -> tuple[Tensor | None, Tensor | None]:
    """Return the tags along the dimension that stays, or else along the one that is summed."""
    tags = tracer.tags(matrix)
    if tags is None:
        return None, None
    changing = [dimension - matrix.ndim for dimension in changing_dimensions(tags)]
    if changing not in ([kept], [summed]):
        tracer.pin(tags, "mixed in a matrix product")
        return None, None
    vector = tracer.vector(matrix, changing[0], "mixed in a matrix product")
    return (vector, None) if changing == [kept] else (None, vector)
