"""Channels that somebody outside the trace wants kept: those that meet a module, by its path."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from prunus.core.errors import PruningError, suggest
from prunus.model.channels.probe import tensors_in
from prunus.model.channels.tracer import Tracer

INSIDE = "*"


def inside(path: str) -> str:
    """Return the key of a module's own code: "neck.*"; "*" for that of the whole model."""
    return f"{path}.{INSIDE}" if path else INSIDE


class Pinning:
    """Pins what meets some modules.

    A path stands for what enters the module. A path and ".*" stands for all that the module's own
    code computes with, what its parts return to it included; not for what its parts do inside.
    """

    def __init__(self, model: nn.Module, tracer: Tracer, pinned: Mapping[str, str]) -> None:
        self._tracer = tracer
        self._modules = dict(model.named_modules(remove_duplicate=False))
        self._own = {
            key[: -len(INSIDE)].removesuffix("."): why
            for key, why in pinned.items()
            if key.split(".")[-1] == INSIDE
        }
        self._entering = {
            path: why for path, why in pinned.items() if path.split(".")[-1] != INSIDE
        }
        for path in (*self._own, *self._entering):
            if path not in self._modules:
                raise PruningError(
                    f"pinned: the network has no module '{path}'.{suggest(path, self._modules)}"
                )

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Pin what enters; the modules' own hooks stay."""
        hooks = [
            self._modules[path].register_forward_pre_hook(
                partial(self._enter, path, why), with_kwargs=True
            )
            for path, why in self._entering.items()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def handled(self, path: str, tensors: Iterable[Tensor]) -> None:
        """Pin what an operation of this module's own code has read or made, if it is one."""
        if path in self._own:
            self._pin(path, self._own[path], tensors)

    def _enter(self, path: str, why: str, _module: nn.Module, given: object, named: object) -> None:
        self._pin(path, why, tensors_in((given, named)))

    def _pin(self, path: str, why: str, tensors: Iterable[Tensor]) -> None:
        self._tracer.where = path
        for tensor in tensors:
            tags = self._tracer.known_tags(tensor)
            if tags is not None:
                self._tracer.pin(tags, why)
