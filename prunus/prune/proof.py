"""The proof of a cut: the pruned network is run once, and must compute what the masked one does."""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.probe import Inputs, call_quietly, running, tensors_in
from prunus.model.channels.table import ChannelTable
from prunus.prune.surgery import mask_, remove

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
)
"""What a network raises when its sizes do not fit."""


class Cut(NamedTuple):
    """A pruned network that computes what the masked one does.

    Attributes:
        model: The smaller network.
        error: Largest difference between the two, relative to the largest output.
    """

    model: nn.Module
    error: float


def cut(model: nn.Module, table: ChannelTable, tags: Tensor, inputs: Inputs) -> Cut:
    """Remove channels and prove it.

    Args:
        model: The network that `table` was traced from; stays as it is.
        table: Its channels.
        tags: (R,) channels to remove.
        inputs: What to run both networks on; noise will do.

    Raises:
        PruningError: A channel must stay, a layer would be left without any, or the smaller network
            fails or computes something else. It is not handed out then.
    """
    smaller = remove(model, table, tags)
    masked = copy.deepcopy(model)
    mask_(masked, table, tags)
    precision, expected, resting = _most_precise(masked, inputs)
    outputs = _run(smaller, inputs, precision)
    error = difference(outputs, expected)
    if not _agree(outputs, expected, resting, precision):
        raise PruningError(
            f"the pruned network differs from the masked one by {error:.1e} (relative), so it is "
            "thrown away. Some operation mixes channels in a way that its rule does not know: "
            "keep the layers in question with --keep, and report the network."
        )
    return Cut(smaller, error)


def difference(outputs: object, expected: object) -> float:
    """Return the largest absolute difference, relative to the largest expected value.

    Args:
        outputs: Any nest of tensors.
        expected: A nest of as many tensors.

    Returns:
        NaN or infinity where shapes differ or values are not finite.
    """
    pairs = list(zip(tensors_in(outputs), tensors_in(expected), strict=True))
    errors = [_difference(one, other) for one, other in pairs]
    return max(errors, key=lambda error: (error != error, error), default=0.0)


def _difference(one: Tensor, other: Tensor) -> float:
    if one.shape != other.shape:
        return float("inf")
    return _largest(one - other) / max(_largest(other), torch.finfo(torch.float64).tiny)


def _agree(outputs: object, expected: object, resting: object, precision: torch.dtype) -> bool:
    """Tell whether outputs are those expected, measured by how far they are from the resting ones.

    NaN and infinity never agree.
    """
    nests = (tensors_in(nest) for nest in (outputs, expected, resting))
    for one, other, rest in zip(*nests, strict=True):
        if one.shape != other.shape:
            return False
        signal = _largest(other - rest) if rest.shape == other.shape else _largest(other)
        rounding = ROUNDINGS * torch.finfo(precision).eps * _largest(other)
        if not _largest(one - other) <= TOLERANCE[precision] * signal + rounding < float("inf"):
            return False
    return True


def _largest(tensor: Tensor) -> float:
    """Return the largest absolute value, 0 of nothing, NaN where there is one."""
    return float(tensor.detach().double().abs().max()) if tensor.numel() else 0.0


def _most_precise(masked: nn.Module, inputs: Inputs) -> tuple[torch.dtype, object, object]:
    """Run the network on the inputs and on zeros, in double precision.

    In single precision where its own code forbids double.
    """
    blank = tuple(
        torch.zeros_like(value) if isinstance(value, Tensor) else value for value in _tuple(inputs)
    )
    precision = torch.float64
    try:
        expected = _call(masked, inputs, precision)
    except FAILURES:
        precision = torch.float32
        expected = _call(masked, inputs, precision)
    return precision, expected, _call(masked, blank, precision)


def _run(smaller: nn.Module, inputs: Inputs, precision: torch.dtype) -> object:
    copied = copy.deepcopy(smaller)
    with running(copied) as module:
        try:
            return _call(copied, inputs, precision)
        except FAILURES as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise PruningError(
                f"module '{module.path}' fails after the cut: {reason}. Its own code counts on the "
                "old number of channels: keep the layers that enter it with --keep."
            ) from error


def _call(model: nn.Module, inputs: Inputs, precision: torch.dtype) -> object:
    """Run the network in this precision, into which it is cast in place."""
    cast = tuple(
        value.to(precision) if isinstance(value, Tensor) and value.is_floating_point() else value
        for value in _tuple(inputs)
    )
    return call_quietly(model.to(precision), cast)


def _tuple(inputs: Inputs) -> tuple[Any, ...]:
    return inputs if isinstance(inputs, tuple) else (inputs,)
