"""Operations that work place by place: channels that meet are tied."""

import torch
from torch import Tensor

from prunus.model.channels.arrays import squeeze_repeats
from prunus.model.channels.call import Call
from prunus.model.channels.tracer import Bound, Tracer

FIXED = "meets a constant or an input, whose length is fixed"
SPREAD = "is spread over all channels of another tensor"


def same(tracer: Tracer, call: Call) -> Tensor | None:
    """Pass on the tags of the first tensor: activations."""
    return tracer.tags(call.tensors()[0])


def copy(tracer: Tracer, call: Call) -> Bound | None:
    """Pass on the tags; a copy of a parameter is that parameter."""
    source = call.tensors()[0]
    return tracer.leaf(source) or tracer.tags(source)


def combine(tracer: Tracer, call: Call) -> Tensor:
    """Tie the channels that meet in an addition, a multiplication and the like.

    An operand with one value for many channels (a spatial mask) keeps its own; a constant of one
    value a channel keeps theirs, since nobody would shorten it.
    """
    operands = call.tensors()
    shape = call.output().shape
    known = [tags for tags in map(tracer.tags, operands) if tags is not None]
    tagged = [squeeze_repeats(tags.reshape(_aligned(tags, shape))) for tags in known]
    lead = min(tagged, key=lambda tags: abs(len(_changing(tags)) - 1))  # one dimension of channels
    for other in tagged:
        if any(other.size(dimension) == 1 for dimension in _changing(lead)):
            tracer.pin(other, SPREAD)
        elif other is not lead:
            both = torch.broadcast_shapes(lead.shape, other.shape)  # type: ignore[no-untyped-call]
            tracer.unite(lead.expand(both), other.expand(both), FIXED)
    for constant in operands:
        sizes = _aligned(constant, shape)
        if not tracer.knows(constant) and any(sizes[d] > 1 for d in _changing(lead)):
            tracer.pin(lead, FIXED)
    return lead.expand(shape)


def fresh(tracer: Tracer, call: Call) -> Tensor | None:
    """Make a constant; one of the shape of a tensor with channels has as many as that."""
    source = call.tensor("self")
    return tracer.tags(source) if source.shape == call.output().shape else None


def _aligned(tensor: Tensor, shape: torch.Size) -> tuple[int, ...]:
    """Return the tensor's shape with as many dimensions as the result's."""
    return (1,) * (len(shape) - tensor.ndim) + tuple(tensor.shape)


def _changing(squeezed: Tensor) -> list[int]:
    return [dimension for dimension, size in enumerate(squeezed.shape) if size > 1]


COPIES = "alias clone contiguous detach lift lift_fresh _to_copy"
UNARY = (
    "abs acos acosh asin asinh atan atanh bitwise_not ceil celu cos cosh deg2rad elu erf erfc exp "
    "exp2 expm1 floor frac gelu hardshrink hardsigmoid hardswish hardtanh isfinite isinf isnan "
    "isneginf isposinf leaky_relu log log10 log1p log2 log_sigmoid_forward logical_not logit mish "
    "nan_to_num native_dropout neg positive rad2deg reciprocal relu relu6 round rrelu_with_noise "
    "rsqrt selu sgn sigmoid sign signbit silu sin sinc sinh softplus softshrink sqrt square tan "
    "tanh threshold trunc"
)
FILLS = (
    "bernoulli cauchy empty_like exponential fill full_like geometric log_normal normal ones_like "
    "rand_like randint_like randn_like random uniform zero zeros_like"
)
"""New values, but as many as there are channels."""
FRESH = "new_empty new_empty_strided new_full new_ones new_zeros"
"""New values of a shape that the model's code gives."""
NARY = (
    "add addcdiv addcmul atan2 bitwise_and bitwise_or bitwise_xor clamp clamp_max clamp_min "
    "copysign div eq floor_divide fmax fmin fmod ge gt heaviside hypot le lerp logaddexp "
    "logaddexp2 logical_and logical_or logical_xor lt masked_fill maximum minimum mul ne "
    "nextafter pow _prelu_kernel remainder rsub sub where xlogy"
)
