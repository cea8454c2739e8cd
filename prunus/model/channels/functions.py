"""Functions that read sizes before they fall apart into primitive operations.

What they do with those sizes cannot be seen afterwards, so these are watched by name. Everything
else belongs in `rules`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from prunus.model.channels.arrays import changing_dimensions
from prunus.model.channels.probe import Whereabouts
from prunus.model.channels.tracer import Tracer

Watcher = Callable[..., object]
"""(tracer, the function, its own arguments ...) -> what the function returns."""
PACKED = ("in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight", "v_proj_weight",
          "bias_k", "bias_v", "out_proj.weight", "out_proj.bias")  # fmt: skip
"""Parameters of nn.MultiheadAttention."""


def attention(
    tracer: Tracer, run: Any, query: Tensor, key: Tensor, *rest: object, **options: object
) -> object:
    """Pin what an attention compares: unless given, its scale is 1 / sqrt(number of channels)."""
    if options.get("scale") is None:
        for tensor in (query, key):
            tags = tracer.tags(tensor)
            if tags is not None and tensor.ndim - 1 in changing_dimensions(tags):
                tracer.pin(tags, "their number sets the scale of an attention")
    return run(query, key, *rest, **options)


def reshape(tracer: Tracer, run: Any, source: Tensor, *sizes: Any, **options: Any) -> object:
    """Note which length is left open (-1): the others are numbers of the model's code."""
    given = sizes[0] if len(sizes) == 1 else sizes or options.get("shape") or options.get("size")
    with tracer.left_open(_open(given)):
        return run(source, *sizes, **options)


def unflatten(tracer: Tracer, run: Any, source: Tensor, *given: Any, **options: Any) -> object:
    """Note which length is left open, as in `reshape`."""
    dimension, sizes = (*given, *(options[name] for name in ("dim", "sizes") if name in options))
    place = _open(sizes)
    if place is not None and isinstance(dimension, int):
        place += dimension % source.ndim
    with tracer.left_open(place):
        return run(source, *given, **options)


def packed_attention(tracer: Tracer, run: Any, *given: Any, **options: Any) -> object:
    """Pin what nn.MultiheadAttention makes: its sizes are compared with numbers that it keeps."""
    module = tracer.where
    result = run(*given, **options)
    tracer.where = module
    for (name, _), tags in tracer.slots.items():
        if name.removeprefix(f"{module}." if module else "") in PACKED:
            tracer.pin(tags, "made by an nn.MultiheadAttention, which remembers its sizes")
    return result


def _open(sizes: object) -> int | None:
    """Return the place of -1 among several sizes."""
    several = isinstance(sizes, (tuple, list))
    return list(sizes).index(-1) if several and -1 in sizes else None  # type: ignore[call-overload,operator]


WATCHED: Mapping[object, Watcher] = {
    F.scaled_dot_product_attention: attention,
    F.multi_head_attention_forward: packed_attention,
    Tensor.view: reshape,
    Tensor.reshape: reshape,
    torch.reshape: reshape,
    Tensor.unflatten: unflatten,
    torch.unflatten: unflatten,
}


class WatchFunctions(TorchFunctionMode):
    """Hands the watched functions to their watchers."""

    def __init__(self, tracer: Tracer, module: Whereabouts) -> None:
        super().__init__()
        self._tracer, self._module = tracer, module

    def __torch_function__(
        self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        watcher = WATCHED.get(func)
        if watcher is None:
            return func(*args, **kwargs)
        self._tracer.where = self._module.path
        return watcher(self._tracer, func, *args, **kwargs)
