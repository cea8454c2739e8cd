"""Whether two networks compute the same, and if not, which module is the first to differ."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from prunus.model.channels.arrays import changing_dimensions
from prunus.model.channels.probe import (
    Inputs,
    call_quietly,
    map_tensors,
    running,
    tensors_in,
)
from prunus.model.channels.rules import RULES, Rule
from prunus.model.channels.trace import trace_outputs

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Largest error that counts as rounding, relative to what the input changes in the output. Double
precision is used wherever the network can: an attention whose scale is off by a few channels
changes 1e-4 of the output."""
ROUNDINGS = 64
"""How many roundings of the largest output are no error, however little the input changes. In an
untrained detector biases drown what comes from the image, by a factor of 1e10."""
FAILURES = (
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    AssertionError,
    ZeroDivisionError,
)
"""What a network raises when its sizes do not fit."""
ENDLESS = 1e30
"""Values from here on stand for "none" in a model's code, such as the largest float: they must be
the same, and say nothing of how large an error is."""


class Reference(NamedTuple):
    """What the masked network says.

    Attributes:
        model: The masked network, in `precision`.
        precision: Double, or single where the network's own code forbids double.
        outputs: On the inputs.
        resting: On inputs of zeros.
    """

    model: nn.Module
    precision: torch.dtype
    outputs: object
    resting: object


def run_reference(masked: nn.Module, inputs: Inputs) -> Reference:
    """Run the masked network on the inputs and on zeros, in the highest precision that it takes."""
    precision = torch.float64
    try:
        outputs = call_in(precision, masked, inputs)
    except FAILURES:
        precision = torch.float32
        outputs = call_in(precision, masked, inputs)
    return Reference(masked, precision, outputs, call_in(precision, masked, _blank(inputs)))


def call_in(precision: torch.dtype, model: nn.Module, inputs: Inputs) -> object:
    """Run the network in this precision, into which it is cast in place."""
    model.to(precision)
    with _default_precision(precision):
        return call_quietly(model, _cast(inputs, precision))


def difference(outputs: object, expected: object) -> float:
    """Return the largest absolute difference, relative to the largest expected value.

    Args:
        outputs: Any nest of tensors.
        expected: Another one.

    Returns:
        NaN or infinity where shapes or the numbers of tensors differ, or values are not finite.
    """
    ones, others = tensors_in(outputs), tensors_in(expected)
    if len(ones) != len(others):
        return float("inf")
    errors = [_difference(one, other) for one, other in zip(ones, others, strict=True)]
    return max(errors, key=lambda error: (error != error, error), default=0.0)


def agree(outputs: object, expected: object, resting: object, precision: torch.dtype) -> bool:
    """Tell whether outputs are those expected, measured by how far they are from the resting ones.

    NaN never agrees; infinity does with the same infinity.
    """
    ones, others, rests = (tensors_in(nest) for nest in (outputs, expected, resting))
    if len(ones) != len(others):
        return False
    rests = rests if len(rests) == len(others) else [torch.zeros(())] * len(others)
    return all(
        one.shape == other.shape and _close(one, other, rest, precision)
        for one, other, rest in zip(ones, others, rests, strict=True)
    )


def first_difference(
    smaller: nn.Module,
    reference: Reference,
    removed: Tensor,
    inputs: Inputs,
    rules: Mapping[str, Rule] = RULES,
) -> str:
    """Return the path of the innermost module whose output is the first to differ.

    What a module of the masked network returned is compared without the removed channels.

    Args:
        smaller: The network without them.
        reference: The masked one.
        removed: (R,) tags of the removed channels.
        inputs: What to run both on.
        rules: Those of the trace.

    Returns:
        "" when only the model's own code can have made the difference.
    """
    precision = reference.precision
    with _default_precision(precision):
        tags = trace_outputs(reference.model, _cast(inputs, precision), rules)
    heard = zip(
        tags,
        _outputs_of_modules(precision, smaller, inputs),
        _outputs_of_modules(precision, reference.model, inputs),
        _outputs_of_modules(precision, reference.model, _blank(inputs)),
        strict=False,
    )
    for (path, held), (other, outputs), (_, expected), (_, resting) in heard:
        if path != other or not len(held) == len(expected) == len(resting):
            break
        shorter = [_without(*pair, removed) for pair in zip(expected, held, strict=True)]
        rest = [_without(*pair, removed) for pair in zip(resting, held, strict=True)]
        if not agree(outputs, shorter, rest, precision):
            return path
    return ""


def _outputs_of_modules(
    precision: torch.dtype, model: nn.Module, inputs: Inputs
) -> list[tuple[str, list[Tensor]]]:
    """Return copies of what each module returned, in the order in which they ended."""
    heard: list[tuple[str, list[Tensor]]] = []

    def listen(path: str, output: object) -> None:
        heard.append((path, [tensor.clone() for tensor in tensors_in(output)]))

    with running(model, listen):
        call_in(precision, model, inputs)
    return heard


def _without(tensor: Tensor, tags: Tensor | None, removed: Tensor) -> Tensor:
    """Return the tensor without the places of removed channels."""
    if tags is None or tags.shape != tensor.shape:
        return tensor
    for dimension in changing_dimensions(tags):
        first = tags.movedim(dimension, 0).flatten(1)[:, 0]
        kept = (~torch.isin(first, removed)).nonzero().flatten()
        tensor = tensor.index_select(dimension, kept.to(tensor.device))
        tags = tags.index_select(dimension, kept)
    return tensor


def _difference(one: Tensor, other: Tensor) -> float:
    if one.shape != other.shape:
        return float("inf")
    return _largest(_apart(one, other)) / max(_scale(other), torch.finfo(torch.float64).tiny)


def _close(one: Tensor, other: Tensor, rest: Tensor, precision: torch.dtype) -> bool:
    signal = _scale(_apart(other, rest)) if rest.shape == other.shape else _scale(other)
    rounding = ROUNDINGS * torch.finfo(precision).eps * _scale(other)
    return _largest(_apart(one, other)) <= TOLERANCE[precision] * signal + rounding


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """Return (n,) float64 differences; 0 where both are the same, infinite or not."""
    one, other = one.detach().double().flatten(), other.detach().double().flatten()
    return torch.where(one == other, torch.zeros(()).to(one), one - other)


def _largest(tensor: Tensor) -> float:
    """Return the largest absolute value, 0 of nothing, NaN where there is one."""
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def _scale(tensor: Tensor) -> float:
    """Return the largest absolute value but for the infinite and the as good as infinite ones."""
    values = tensor.detach().double().abs()
    return _largest(values[values < ENDLESS])


def _blank(inputs: Inputs) -> Inputs:
    """Return inputs that say nothing; numbers of things, such as token ids, stay."""
    return map_tensors(
        inputs,
        lambda tensor: torch.zeros_like(tensor) if tensor.is_floating_point() else tensor,
    )


def _cast(inputs: Inputs, precision: torch.dtype) -> Inputs:
    return map_tensors(
        inputs, lambda tensor: tensor.to(precision) if tensor.is_floating_point() else tensor
    )


@contextmanager
def _default_precision(precision: torch.dtype) -> Iterator[None]:
    """Let the constants that a network's code makes have this precision too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(precision)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
