"""Trace the channels of a network by watching one small forward pass.

Every channel is an integer tag. A `TorchDispatchMode` sees each primitive operation and hands it to
its rule, which moves, ties or pins the tags (design decision 4).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from prunus.core.errors import PruningError
from prunus.model.channels.assembly import assemble
from prunus.model.channels.call import Call
from prunus.model.channels.functions import WatchFunctions
from prunus.model.channels.probe import Inputs, Whereabouts, call_quietly, running, tensors_in
from prunus.model.channels.rules import RULES, Rule
from prunus.model.channels.table import ChannelTable
from prunus.model.channels.tracer import Bound, Leaf, Tracer


def trace(
    model: nn.Module, example_inputs: Inputs, rules: Mapping[str, Rule] = RULES
) -> ChannelTable:
    """Find out which channels of a network must go together.

    The model is run once, in eval mode and without gradients, and left as it was: modes, flags,
    hooks, parameters. Its inputs and outputs keep all their channels.

    Args:
        model: Any network made of primitive operations that have a rule.
        example_inputs: A small input (for a detector, a square of twice its stride), on the model's
            device.
        rules: Operation -> rule; give more to teach it operations of your own.

    Raises:
        PruningError: An operation has no rule; the message names it and the module that called it.
    """
    tracer = Tracer(model)
    with running(model) as module, _Watch(tracer, rules, module), WatchFunctions(tracer):
        outputs = call_quietly(model, example_inputs)
    tracer.where = ""
    for tensor in tensors_in(outputs):
        tags = tracer.tags(tensor)
        if tags is not None:
            tracer.pin(tags, "an output of the model")
    return assemble(tracer)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands every operation that touches a channel or a parameter to its rule."""

    def __init__(self, tracer: Tracer, rules: Mapping[str, Rule], module: Whereabouts) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tracer, self._rules, self._module = tracer, rules, module

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if any(self._tracer.knows(tensor) for tensor in tensors_in((args, kwargs))):
            self._tracer.where = self._module.path
            call = _describe(func, args, kwargs, result)
            rule = self._rules.get(call.name)
            if rule is None:
                raise PruningError(_unknown(call.name, self._tracer.where))
            bound = rule(self._tracer, call)
            if func._schema.is_mutable:
                self._tracer.forget_maker(call.output())
            self._bind(result, bound)
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
    """Name the arguments as the operation's schema does."""
    name = str(func.overloadpacket)
    if func._schema.is_mutable:
        name = name.removesuffix("_")
    arguments: dict[str, object] = {}
    for number, argument in enumerate(func._schema.arguments):
        if number < len(args):
            arguments[argument.name] = args[number]
        elif argument.name in kwargs:
            arguments[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            arguments[argument.name] = argument.default_value
    return Call(name, arguments, result, func)


def _unknown(operation: str, where: str) -> str:
    module = f" in module '{where}'" if where else ""
    return (
        f"{operation}{module}: no rule says what this operation does to channels. Add a function "
        "and its line to RULES in prunus/model/channels/rules, or pass `rules=` to trace."
    )
