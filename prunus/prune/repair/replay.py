"""What arrives at a layer, for one layer after another, without running all before it each time.

A network is walked in the order in which its layers run. Modules that are finished, because all of
them ran before the layer in question, hand out what they said the last time. Only what lies between
runs again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from prunus.model.channels.probe import Inputs, call_quietly
from prunus.prune.observe.readers import Arrived

REPLAY_BYTES = 4 << 30
"""Memory for what finished modules said; those that do not fit run again."""


class Replay:
    """A network that is being changed layer by layer, from its inputs on.

    Whoever changes a layer does so in the order of `order`, and never goes back.
    """

    def __init__(self, model: nn.Module, batches: Callable[[], Iterable[Inputs]]) -> None:
        self._model, self._batches = model, batches
        self._modules = {path: module for path, module in model.named_modules() if path}
        self._enters: dict[str, int] = {}
        self._leaves: dict[str, int] = {}
        self._records: dict[str, list[Tensor]] = {}
        self._bytes = 0
        self._watch_once()

    def inputs_of(self, path: str) -> Iterator[Tensor]:
        """Yield what arrives at a layer, batch by batch."""
        finished = self._finished_before(path)
        for stale in [name for name in self._records if name not in finished]:
            self._forget(stale)
        replayed = dict(self._records)
        fresh = [name for name in finished if name not in replayed]
        arrived: list[Tensor] = []

        def arrive(_layer: nn.Module, inputs: Sequence[Tensor]) -> None:
            arrived.append(inputs[0])
            raise Arrived

        hook = self._modules[path].register_forward_pre_hook(arrive)
        try:
            for number, batch in enumerate(self._batches()):
                with self._replaying(replayed, number), self._recording(fresh):
                    try:
                        call_quietly(self._model, batch)
                    except Arrived:
                        yield arrived.pop()
        finally:
            hook.remove()
        whole = max((len(said) for said in self._records.values()), default=0)
        for name in [name for name, said in self._records.items() if len(said) < whole]:
            self._forget(name)

    def _watch_once(self) -> None:
        """Run one batch to see in which order modules begin and end."""
        clock = iter(range(1 << 62))
        often: set[str] = set()

        def enter(path: str) -> Callable[..., None]:
            def note(*_: object) -> None:
                if path in self._enters:
                    often.add(path)
                self._enters[path] = next(clock)

            return note

        def leave(path: str) -> Callable[..., None]:
            def note(_module: nn.Module, _inputs: object, output: object) -> None:
                self._leaves[path] = next(clock)
                if not isinstance(output, Tensor):
                    often.add(path)

            return note

        hooks = []
        for path, module in self._modules.items():
            hooks.append(module.register_forward_pre_hook(enter(path)))
            hooks.append(module.register_forward_hook(leave(path)))
        try:
            call_quietly(self._model, next(iter(self._batches())))
        finally:
            for hook in hooks:
                hook.remove()
        for path in often:
            self._leaves.pop(path, None)

    def _finished_before(self, path: str) -> set[str]:
        """Return the outermost modules that run once, and before this layer begins."""
        begin = self._enters[path]
        done = {name for name, end in self._leaves.items() if end < begin}
        return {name for name in done if name.rpartition(".")[0] not in done}

    @contextmanager
    def _replaying(self, records: dict[str, list[Tensor]], number: int) -> Iterator[None]:
        def again(said: Tensor) -> Callable[..., Tensor]:
            return lambda *_inputs, **_options: said.clone()  # what follows may write into it

        patched = [self._modules[path] for path in records]
        for module, said in zip(patched, records.values(), strict=True):
            module.__dict__["forward"] = again(said[number])
        try:
            yield
        finally:
            for module in patched:
                del module.__dict__["forward"]

    @contextmanager
    def _recording(self, paths: Sequence[str]) -> Iterator[None]:
        def record(path: str) -> Any:
            def note(_module: nn.Module, _inputs: object, output: Tensor) -> None:
                size = output.numel() * output.element_size()
                if self._bytes + size <= REPLAY_BYTES:
                    self._records.setdefault(path, []).append(output.detach().clone())
                    self._bytes += size

            return note

        with ExitStack() as stack:
            for path in paths:
                stack.callback(self._modules[path].register_forward_hook(record(path)).remove)
            yield

    def _forget(self, path: str) -> None:
        said = self._records.pop(path)
        self._bytes -= sum(tensor.numel() * tensor.element_size() for tensor in said)
