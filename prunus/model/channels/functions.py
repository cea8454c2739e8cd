"""Functions that read sizes before they fall apart into primitive operations.

What they do with those sizes cannot be seen afterwards, so these are watched by name. Everything
else belongs in `rules`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from prunus.model.channels.tracer import Tracer

Watcher = Callable[..., None]
"""(tracer, the function's own arguments ...)."""


def attention(
    tracer: Tracer, query: Tensor, key: Tensor, *_rest: object, **options: object
) -> None:
    """Pin what an attention compares: unless given, its scale is 1 / sqrt(number of channels)."""
    if options.get("scale") is None:
        for tensor in (query, key):
            tags = tracer.tags(tensor)
            if tags is not None:
                tracer.pin(tags, "their number sets the scale of an attention")


WATCHED: Mapping[object, Watcher] = {F.scaled_dot_product_attention: attention}


class WatchFunctions(TorchFunctionMode):
    """Tells the tracer of the watched functions, then lets them run."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def __torch_function__(
        self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        watcher = WATCHED.get(func)
        if watcher is not None:
            watcher(self._tracer, *args, **kwargs)
        return func(*args, **kwargs)
