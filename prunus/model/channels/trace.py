"""Trace the channels of a network by watching one small forward pass.

Every channel is an integer tag. A `TorchDispatchMode` sees each primitive operation and hands it to
its rule, which moves, ties or pins the tags (design decision 4).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from prunus.core.errors import PruningError
from prunus.model.channels.arrays import compact
from prunus.model.channels.assembly import assemble
from prunus.model.channels.call import Call
from prunus.model.channels.functions import WatchFunctions
from prunus.model.channels.pinning import Pinning
from prunus.model.channels.probe import (
    Inputs,
    Listener,
    Whereabouts,
    call_quietly,
    running,
    tensors_in,
)
from prunus.model.channels.rules import RULES, Rule
from prunus.model.channels.sizes import watch_sizes
from prunus.model.channels.table import ChannelTable
from prunus.model.channels.ties import CONSTANT
from prunus.model.channels.tracer import Bound, Leaf, Tracer

NOTHING: Mapping[str, str] = MappingProxyType({})


def trace(
    model: nn.Module,
    example_inputs: Inputs,
    rules: Mapping[str, Rule] = RULES,
    pinned: Mapping[str, str] = NOTHING,
) -> ChannelTable:
    """Find out which channels of a network must go together.

    The model is run once, in eval mode and without gradients, and left as it was: modes, flags,
    hooks, parameters. Its inputs and outputs keep all their channels.

    Args:
        model: Any network made of primitive operations that have a rule.
        example_inputs: A small input (for a detector, a square of twice its stride), on the model's
            device: one tensor, a tuple of arguments, or a mapping of keyword arguments.
        rules: Operation -> rule; give more to teach it operations of your own.
        pinned: Path of a module -> why all channels that enter it stay. "path.*" stands for all
            that the module's own code computes with, "*" for the model's own code.

    Raises:
        PruningError: An operation has no rule; the message names it and the module that called it.
            Or `pinned` names no module.
    """
    tracer = Tracer(model)
    _watch(model, example_inputs, tracer, rules, pinned)
    return assemble(tracer)


def trace_outputs(
    model: nn.Module, example_inputs: Inputs, rules: Mapping[str, Rule] = RULES
) -> list[tuple[str, list[Tensor | None]]]:
    """Return what each module returned, as tags: in the order in which they ended.

    Returns:
        (path, for each tensor that the module returned: its tags, of its shape, as in the table's
        `tags`; None where it belongs to no channel).
    """
    tracer = Tracer(model)
    heard: list[tuple[str, list[Tensor | None]]] = []

    def listen(path: str, output: object) -> None:
        heard.append((path, [tracer.known_tags(tensor) for tensor in tensors_in(output)]))

    _watch(model, example_inputs, tracer, rules, NOTHING, listen)
    roots = torch.cat((tracer.ties.all_roots(), torch.tensor([CONSTANT])))  # [-1] stays CONSTANT
    return [
        (path, [None if tags is None else roots[compact(tags)].expand_as(tags) for tags in several])
        for path, several in heard
    ]


def _watch(
    model: nn.Module,
    inputs: Inputs,
    tracer: Tracer,
    rules: Mapping[str, Rule],
    pinned: Mapping[str, str],
    listener: Listener | None = None,
) -> None:
    """Run the model once under the eyes of the rules; what it returns is pinned."""
    pinning = Pinning(model, tracer, pinned)
    with (
        running(model, listener) as module,
        pinning.watching(),
        watch_sizes(model, tracer),
        _Watch(tracer, rules, module, pinning),
        WatchFunctions(tracer, module),
    ):
        outputs = call_quietly(model, inputs)
    tracer.where = ""
    for tensor in tensors_in(outputs):
        tags = tracer.tags(tensor)
        if tags is not None:
            tracer.pin(tags, "an output of the model")


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands every operation that touches a channel or a parameter to its rule."""

    def __init__(
        self, tracer: Tracer, rules: Mapping[str, Rule], module: Whereabouts, pinning: Pinning
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tracer, self._rules, self._module = tracer, rules, module
        self._pinning = pinning

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given = tensors_in((args, kwargs))
        if any(self._tracer.knows(tensor) for tensor in given):
            self._tracer.where = self._module.path
            call = _describe(func, args, kwargs, result)
            rule = self._rules.get(call.name)
            if rule is None:
                raise PruningError(_unknown(call.name, self._tracer.where))
            bound = rule(self._tracer, call)
            if func._schema.is_mutable:
                self._tracer.forget_maker(call.output())
            self._bind(result, bound)
            self._pinning.handled(self._module.path, (*given, *tensors_in(result)))
        return result

    def _bind(self, result: object, bound: Bound | Sequence[Bound | None] | None) -> None:
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        tags: list[Bound | None] = (
            [bound] if bound is None or isinstance(bound, (Tensor, Leaf)) else list(bound)
        )
        for index, output in enumerate(outputs):
            if isinstance(output, Tensor):
                self._tracer.bind(output, tags[index] if index < len(tags) else None)


def _describe(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: object) -> Call:
    """Name the arguments as the operation's schema does; where results are written is left out."""
    name, function = str(func.overloadpacket), func
    arguments: dict[str, object] = {}
    for number, argument in enumerate(func._schema.arguments):
        if argument.is_out:
            continue
        if number < len(args):
            arguments[argument.name] = args[number]
        elif argument.name in kwargs:
            arguments[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            arguments[argument.name] = argument.default_value
    if func._schema.is_mutable:  # run on tags, it must not change them in place
        name = name.removesuffix("_")
        function = getattr(torch.ops.aten, name.removeprefix("aten."), func.overloadpacket)
    return Call(name, arguments, result, function)


def _unknown(operation: str, where: str) -> str:
    module = f" in module '{where}'" if where else ""
    return (
        f"{operation}{module}: no rule says what this operation does to channels. Add a function "
        "and its line to RULES in prunus/model/channels/rules, or pass `rules=` to trace."
    )
