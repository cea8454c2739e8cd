"""Modules that remember how many channels they get, but hold no tensor of that length."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from prunus.model.channels.ties import CONSTANT
from prunus.model.channels.tracer import Tracer

COUNTING = (nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


@contextmanager
def watch_sizes(model: nn.Module, tracer: Tracer) -> Iterator[None]:
    """Note the channels that enter norms without weights; the modules' own hooks stay."""
    hooks = [
        module.register_forward_pre_hook(partial(_note, tracer, path))
        for path, module in model.named_modules()
        if isinstance(module, COUNTING) and module._parameters.get("weight") is None
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _note(tracer: Tracer, path: str, _module: nn.Module, given: tuple[Tensor, ...]) -> None:
    tags = tracer.known_tags(given[0]) if given else None
    if tags is None or tags.ndim < 2:
        return
    channels = tracer.vector(given[0], 1, "channels lie where a norm expects pixels")
    before = tracer.sizes.setdefault(path, channels)
    if before is not channels and bool(((before == CONSTANT) == (channels == CONSTANT)).all()):
        tracer.unite(before, channels, "normalised by a layer that remembers their number")
