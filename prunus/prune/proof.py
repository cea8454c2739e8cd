"""The proof of a cut: the pruned network is run once, and must compute what the masked one does."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from prunus.core.console import log
from prunus.core.errors import PruningError
from prunus.model.channels.pinning import inside
from prunus.model.channels.probe import Inputs, running
from prunus.model.channels.rules import RULES, Rule
from prunus.model.channels.table import ChannelTable
from prunus.model.channels.trace import NOTHING, trace
from prunus.prune.comparison import (
    FAILURES,
    agree,
    call_in,
    difference,
    first_difference,
    run_reference,
)
from prunus.prune.surgery import mask_, remove

ATTEMPTS = 20
"""Cuts that are tried before a network is given up. A block that breaks takes two or three."""


Place = tuple[type[nn.Module], str]
"""(kind of module, path inside it)."""
WHY = "counted on by code that breaks when they are fewer"


class CutError(PruningError):
    """A pruned network fails, or computes something else than the masked one.

    Attributes:
        fact: What happened, in one sentence.
        module: Path of the innermost module that fails, or whose output is the first to differ;
            "" for the model's own code.
    """

    def __init__(self, fact: str, advice: str, module: str) -> None:
        super().__init__(f"{fact}{advice}")
        self.fact = fact
        self.module = module


class Cut(NamedTuple):
    """A pruned network that computes what the masked one does.

    Attributes:
        model: The smaller network.
        error: Largest difference between the two, relative to the largest output.
    """

    model: nn.Module
    error: float


class Proved(NamedTuple):
    """A pruned network that computes what the masked one does, and how it came about.

    Attributes:
        table: The channels of the network as it was.
        tags: (R,) the removed ones.
        model: The smaller network.
        error: Largest difference from the masked one, relative to the largest output.
        pinned: What `trace` was told to keep, with reasons: what was given, and what turned out to
            break after a cut. With the same, `trace` makes the same table again.
    """

    table: ChannelTable
    tags: Tensor
    model: nn.Module
    error: float
    pinned: Mapping[str, str]


def cut(
    model: nn.Module,
    table: ChannelTable,
    tags: Tensor,
    inputs: Inputs,
    rules: Mapping[str, Rule] = RULES,
) -> Cut:
    """Remove channels and prove it.

    Args:
        model: The network that `table` was traced from; stays as it is.
        table: Its channels.
        tags: (R,) channels to remove.
        inputs: What to run both networks on; noise will do.
        rules: Those of the trace.

    Raises:
        PruningError: A channel must stay, or a layer would be left without any.
        CutError: The smaller network fails or computes something else. It is not handed out then.
    """
    smaller = remove(model, table, tags)
    masked = copy.deepcopy(model)
    mask_(masked, table, tags)
    reference = run_reference(masked, inputs)
    copied = copy.deepcopy(smaller)
    outputs = _run(copied, inputs, reference.precision)
    if agree(outputs, reference.outputs, reference.resting, reference.precision):
        return Cut(smaller, difference(outputs, reference.outputs))
    path = first_difference(copied, reference, tags, inputs, rules)
    error = difference(outputs, reference.outputs)
    where = f"module '{path}'" if path else "the model's own code"
    raise CutError(
        f"the pruned network differs from the masked one by {error:.1e} (relative), first in "
        f"{where}, so it is thrown away.",
        " Some operation there mixes channels in a way that its rule does not know: keep the "
        "layers that enter it with --keep, and report the network.",
        path,
    )


def cut_exactly(
    model: nn.Module,
    inputs: Inputs,
    choose: Callable[[ChannelTable], Tensor],
    *,
    rules: Mapping[str, Rule] = RULES,
    pinned: Mapping[str, str] = NOTHING,
) -> Proved:
    """Trace, choose and cut until the smaller network computes what the masked one does.

    Where a cut network breaks or differs, what enters the module in question is pinned, or else all
    that its own code computes with, or else the same of the modules around it; then the channels
    are chosen anew. A warning in the log says so.

    Args:
        model: Any network; stays as it is.
        inputs: What to trace it and to compare on; noise will do.
        choose: Table -> (R,) the channels to remove. It is called anew for every table.
        rules: Operation -> rule.
        pinned: What is to be kept from the beginning, as in `trace`.

    Raises:
        PruningError: An operation has no rule, or `choose` raised it.
        CutError: No network could be made that computes what the masked one does.
    """
    search = _Search(model, inputs, rules, dict(pinned))
    table = search.trace()
    for _ in range(ATTEMPTS - 1):
        tags = choose(table)
        try:
            return Proved(table, tags, *cut(model, table, tags, inputs, rules), search.pins)
        except CutError as failure:
            table = search.pin_more(table, failure)
    tags = choose(table)
    return Proved(table, tags, *cut(model, table, tags, inputs, rules), search.pins)


@dataclass
class _Search:
    """What has been pinned so far to make a cut exact.

    Attributes:
        pins: For `trace`.
        failed: Where something has failed.
    """

    model: nn.Module
    inputs: Inputs
    rules: Mapping[str, Rule]
    pins: dict[str, str]
    failed: set[Place] = field(default_factory=set)

    def trace(self, *more: str) -> ChannelTable:
        """Trace with what is pinned and some more."""
        pins = {**self.pins, **dict.fromkeys(more, WHY)}
        return trace(self.model, self.inputs, self.rules, pins)

    def pin_more(self, table: ChannelTable, failure: CutError) -> ChannelTable:
        """Pin the nearest to the failure that keeps a channel more; return the new table.

        What fails for the second time in a kind of module is pinned wherever the network holds it.

        Raises:
            CutError: The failure, when all is pinned already.
        """
        place = self._place(failure.module)
        paths = self._alike(*place) if place in self.failed else (failure.module,)
        for keys in _keys(failure.module, paths):
            more = self.trace(*keys)
            if _free(more) < _free(table):
                self.failed.add(place)
                self.pins.update(dict.fromkeys(keys, WHY))
                others = f" and {len(keys) - 1} like it" if len(keys) > 1 else ""
                log.warning(
                    "%s What meets '%s'%s is kept, and the cut made again.",
                    failure.fact,
                    keys[0],
                    others,
                )
                return more
        raise failure

    def _place(self, path: str) -> Place:
        """Return the nearest kind of module around a path that is not torch's own, and the rest."""
        names = path.split(".") if path else []
        for count in range(len(names), -1, -1):
            kind = type(self.model.get_submodule(".".join(names[:count])))
            if not kind.__module__.startswith("torch."):
                break
        return kind, ".".join(names[count:])

    def _alike(self, kind: type[nn.Module], rest: str) -> tuple[str, ...]:
        """Return the paths of such places."""
        modules = dict(self.model.named_modules())
        beginnings = (path for path, module in modules.items() if type(module) is kind)
        paths = (f"{path}.{rest}".strip(".") for path in beginnings)
        return tuple(path for path in paths if path in modules)


def _keys(path: str, alike: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield what to pin: the module and those like it, what is around it, the whole model."""
    if path:
        yield tuple(alike)
    yield tuple(inside(other) for other in alike)
    while path:
        path = path.rpartition(".")[0]
        if path:
            yield (path,)
        yield (inside(path),)


def _free(table: ChannelTable) -> int:
    return sum(len(group) for group in table.free_groups)


def _run(smaller: nn.Module, inputs: Inputs, precision: torch.dtype) -> object:
    with running(smaller) as module:
        try:
            return call_in(precision, smaller, inputs)
        except FAILURES as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CutError(
                f"module '{module.path}' fails after the cut: {reason}.",
                " Its own code counts on the old number of channels: keep the layers that enter "
                "it with --keep.",
                module.path,
            ) from error
