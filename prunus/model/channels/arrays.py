"""Arrays of tags: as large as the tensor they describe, but stored once a channel (stride 0)."""

import torch
from torch import Tensor

from prunus.model.channels.ties import CONSTANT


def compact(tags: Tensor) -> Tensor:
    """Return the same array with length 1 along every dimension that is only repeated."""
    for dimension, stride in enumerate(tags.stride()):
        if stride == 0 and tags.size(dimension) > 1:
            tags = tags.narrow(dimension, 0, 1)
    return tags


def squeeze_repeats(tags: Tensor) -> Tensor:
    """Return the array with length 1 along every dimension where nothing changes."""
    tags = compact(tags)
    for dimension in range(tags.ndim):
        if tags.size(dimension) > 1:
            first = tags.narrow(dimension, 0, 1)
            if bool((tags == first).all()):
                tags = first
    return tags


def changing_dimensions(tags: Tensor) -> list[int]:
    """Return the dimensions along which the tags change."""
    small = squeeze_repeats(tags)
    return [dimension for dimension in range(small.ndim) if small.size(dimension) > 1]


def along(vector: Tensor, dimension: int, shape: torch.Size) -> Tensor:
    """Return an array of `shape` that repeats `vector` everywhere but along `dimension`."""
    view = [1] * len(shape)
    view[dimension] = len(vector)
    return vector.view(view).expand(shape)


def constants(shape: torch.Size) -> Tensor:
    """Return an array that belongs to no channel."""
    return torch.tensor(CONSTANT).expand(shape)


def is_constant(tags: Tensor) -> bool:
    """Tell whether no position belongs to a channel."""
    return bool((compact(tags) == CONSTANT).all())


def distinct(tags: Tensor) -> list[int]:
    """Return the channels in the array, each once, in rising order; constants left out."""
    return sorted(set(tags.flatten().tolist()) - {CONSTANT})
