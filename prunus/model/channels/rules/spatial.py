"""Pooling, interpolation and the like: many pixels of a channel give one pixel of that channel."""

from collections.abc import Callable

from torch import Tensor

from prunus.model.channels.arrays import changing_dimensions, squeeze_repeats
from prunus.model.channels.call import Call
from prunus.model.channels.tracer import Tracer

Rule = Callable[[Tracer, Call], list[Tensor] | Tensor | None]


def spatial(dimensions: int) -> Rule:
    """Return the rule of an operation over the last `dimensions` dimensions."""

    def rule(tracer: Tracer, call: Call) -> list[Tensor] | Tensor | None:
        source = call.tensors()[0]
        tags = tracer.tags(source)
        if tags is None:
            return None
        first = range(source.ndim - dimensions, source.ndim)
        if set(first) & set(changing_dimensions(tags)):
            tracer.pin(tags, "channels lie where pixels are expected")
        for dimension in first:
            tags = tags.narrow(dimension, 0, 1)
        if isinstance(call.result, Tensor):
            return tags.expand(call.result.shape)
        assert isinstance(call.result, (tuple, list))
        return [tags.expand(result.shape) for result in call.result]

    return rule


def sampled(dimensions: int) -> Rule:
    """Return the rule of an interpolation at places that are computed: those are pinned."""

    def rule(tracer: Tracer, call: Call) -> list[Tensor] | Tensor | None:
        places = tracer.tags(call.tensors()[1])
        if places is not None:
            tracer.pin(places, "places at which another tensor is read")
        return spatial(dimensions)(tracer, call)

    return rule


def unpooled(dimensions: int) -> Rule:
    """Return the rule of the reverse of max pooling: places and values have the same channels."""

    def rule(tracer: Tracer, call: Call) -> list[Tensor] | Tensor | None:
        values, places = (tracer.tags(tensor) for tensor in call.tensors()[:2])
        if values is not None and places is not None:
            tracer.unite(
                squeeze_repeats(values), squeeze_repeats(places), "beside places of fixed number"
            )
        return spatial(dimensions)(tracer, call)

    return rule


OVER_1D = (
    "adaptive_avg_pool1d adaptive_max_pool1d avg_pool1d max_pool1d max_pool1d_with_indices "
    "reflection_pad1d replication_pad1d upsample_linear1d upsample_nearest1d "
    "_upsample_nearest_exact1d"
)
OVER_2D = (
    "_adaptive_avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d avg_pool2d "
    "fractional_max_pool2d max_pool2d max_pool2d_with_indices reflection_pad2d replication_pad2d "
    "upsample_bicubic2d _upsample_bicubic2d_aa upsample_bilinear2d _upsample_bilinear2d_aa "
    "upsample_nearest2d _upsample_nearest_exact2d"
)
OVER_3D = (
    "_adaptive_avg_pool3d adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d "
    "fractional_max_pool3d max_pool3d max_pool3d_with_indices reflection_pad3d replication_pad3d "
    "upsample_nearest3d _upsample_nearest_exact3d upsample_trilinear3d"
)
