"""What arrives at a layer, for one layer after another, without running all before it each time.

A network is walked in the order in which its layers run. Modules that are finished, because all of
them ran before the layer in question, hand out what they said the last time. Only what lies between
runs again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

from torch import Tensor, nn

from prunus.model.channels.probe import Inputs, call_quietly, tensors_in
from prunus.prune.observe.readers import given_to

REPLAY_BYTES = 4 << 30
"""Memory for what finished modules said; those that do not fit run again."""


class Arrived(Exception):  # noqa: N818 - no error: it ends a forward pass early
    """Ends a forward pass whose rest is not needed."""


class Replay:
    """A network that is being changed layer by layer, in the order in which they run.

    Whoever asks for a layer has made all changes to those before it, and never goes back.
    """

    def __init__(self, model: nn.Module, batches: Callable[[], Iterable[Inputs]]) -> None:
        self._model, self._batches = model, batches
        self._modules = {path: module for path, module in model.named_modules() if path}
        self._enters: dict[str, int] = {}
        self._leaves: dict[str, int] = {}
        self._records: dict[str, list[Tensor]] = {}
        self._written: set[str] = set()
        self._bytes = 0
        self._watch_once()

    def inputs_of(self, path: str) -> Iterator[Tensor]:
        """Yield what arrives at a layer, batch by batch."""
        finished = self._finished_before(path)
        for stale in [name for name in self._records if name not in finished]:
            self._forget(stale)
        replayed = dict(self._records)
        fresh = [name for name in finished if name not in replayed]
        whole, number = 0, -1
        try:
            for number, batch in enumerate(self._batches()):
                with self._replaying(replayed, number), self._recording(fresh):
                    given = self._arriving(path, batch)
                yield given
            whole = number + 1
        finally:
            for name in fresh:
                if name in self._records and len(self._records[name]) != whole:
                    self._forget(name)
            for name, said in replayed.items():
                if any(_versions(said)):  # what follows wrote into it: right once, no more
                    self._written.add(name)
                    self._forget(name)

    def _arriving(self, path: str, batch: Inputs) -> Tensor:
        """Run the network as far as the layer."""
        arrived: list[Tensor] = []

        def arrive(_layer: nn.Module, inputs: Sequence[Any], named: Mapping[str, Any]) -> None:
            arrived.append(given_to(inputs, named))
            raise Arrived

        hook = self._modules[path].register_forward_pre_hook(arrive, with_kwargs=True)
        try:
            call_quietly(self._model, batch)
        except Arrived:
            pass
        finally:
            hook.remove()
        return arrived[0]

    def _watch_once(self) -> None:
        """Run one batch to see in which order modules begin and end, and which can be replayed.

        Those that run once, put out a tensor and write into nothing that they were given.
        """
        clock = count()
        versions: dict[str, list[int]] = {}
        never: set[str] = set()

        def enter(path: str) -> Callable[..., None]:
            def note(_module: nn.Module, *given: object) -> None:
                if path in self._enters:
                    never.add(path)
                self._enters[path] = next(clock)
                versions[path] = _versions(given)

            return note

        def leave(path: str) -> Callable[..., None]:
            def note(_module: nn.Module, *given: object) -> None:
                self._leaves[path] = next(clock)
                if versions[path] != _versions(given[:-1]) or not isinstance(given[-1], Tensor):
                    never.add(path)

            return note

        with ExitStack() as stack:
            for path, module in self._modules.items():
                begins = module.register_forward_pre_hook(enter(path), with_kwargs=True)
                ends = module.register_forward_hook(leave(path), with_kwargs=True)
                stack.callback(begins.remove)
                stack.callback(ends.remove)
            call_quietly(self._model, next(iter(self._batches())))
        for path in never:
            self._leaves.pop(path, None)

    def _finished_before(self, path: str) -> set[str]:
        """Return the outermost modules that can be replayed and end before this layer begins."""
        begin = self._enters[path]
        done = {name for name, end in self._leaves.items() if end < begin}
        return {name for name in done if name.rpartition(".")[0] not in done}

    @contextmanager
    def _replaying(self, records: Mapping[str, list[Tensor]], number: int) -> Iterator[None]:
        def again(path: str, said: Tensor) -> Callable[..., Tensor]:
            copied = path in self._written
            return lambda *_inputs, **_options: said.clone() if copied else said

        with ExitStack() as stack:
            for path, said in records.items():
                own = self._modules[path].__dict__
                stack.callback(_put_back, own, own.get("forward"))
                own["forward"] = again(path, said[number])
            yield

    @contextmanager
    def _recording(self, paths: Sequence[str]) -> Iterator[None]:
        def record(path: str) -> Callable[..., None]:
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


def _put_back(own: dict[str, Any], forward: object) -> None:
    """Undo a patch of a module's forward, which may have been somebody's patch before."""
    if forward is None:
        del own["forward"]
    else:
        own["forward"] = forward


def _versions(given: object) -> list[int]:
    """Return how often each tensor was written into."""
    return [tensor._version for tensor in tensors_in(given)]
