"""The instructions of a pickle that are carried out, on inert records.

Nothing here copies, hashes or prints a value whose size the file chooses, so that time and memory
grow with the number of instructions only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeGuard

from prunus.core.errors import WeightsError
from prunus.weights.inert import (
    CALLED,
    ORDERED_DICT,
    REBUILD_PARAMETER,
    REBUILD_TENSOR,
    STORAGES,
    Global,
    Record,
    StorageRef,
    TensorRef,
    dotted,
    is_class,
    shown,
)

MAX_MEMO_INDEX = 1_000_000
MAX_DIMENSIONS = 8
INT64_BITS = 63


def damaged(fact: str) -> WeightsError:
    return WeightsError(f"its pickle is damaged: {fact}. Download or copy the file again.")


@dataclass
class Machine:
    """The state of one reading: the values at hand, those that wait behind a mark, the memo."""

    stack: list[object] = field(default_factory=list)
    marked: list[list[object]] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)
    storages: dict[str, StorageRef] = field(default_factory=dict)

    def pop(self) -> object:
        if not self.stack:
            raise damaged("a value is missing")
        return self.stack.pop()

    def pop_many(self, count: int) -> list[object]:
        if len(self.stack) < count:
            raise damaged("a value is missing")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def pop_to_mark(self) -> list[object]:
        if not self.marked:
            raise damaged("a mark is missing")
        values, self.stack = self.stack, self.marked.pop()
        return values

    def top(self) -> object:
        if not self.stack:
            raise damaged("a value is missing")
        return self.stack[-1]


def _nothing(_machine: Machine, _argument: object) -> None:
    """PROTO and STOP change no value."""


def _push(machine: Machine, argument: object) -> None:
    machine.stack.append(argument)


def _push_long(machine: Machine, argument: object) -> None:
    if not isinstance(argument, int) or argument.bit_length() > INT64_BITS:
        raise damaged("a number has more than 64 bits")
    machine.stack.append(argument)


def _constant(make: Callable[[], object]) -> "Instruction":
    return lambda machine, _argument: machine.stack.append(make())


def _mark(machine: Machine, _argument: object) -> None:
    machine.marked.append(machine.stack)
    machine.stack = []


def _tuple(machine: Machine, _argument: object) -> None:
    values = machine.pop_to_mark()
    machine.stack.append(tuple(values))


def _tuple_of(count: int) -> "Instruction":
    return lambda machine, _argument: machine.stack.append(tuple(machine.pop_many(count)))


def _append(machine: Machine, _argument: object) -> None:
    _extend(machine, machine.pop_many(1))


def _appends(machine: Machine, _argument: object) -> None:
    _extend(machine, machine.pop_to_mark())


def _extend(machine: Machine, values: list[object]) -> None:
    target = machine.top()
    if not isinstance(target, list):
        raise damaged("something is appended to what is no list")
    target.extend(values)


def _set_item(machine: Machine, _argument: object) -> None:
    _update(machine, machine.pop_many(2))


def _set_items(machine: Machine, _argument: object) -> None:
    _update(machine, machine.pop_to_mark())


def _update(machine: Machine, values: list[object]) -> None:
    target = machine.top()
    if not isinstance(target, dict) or len(values) % 2:
        raise damaged("a key is set in what is no dict")
    for key, value in zip(values[::2], values[1::2], strict=True):
        if not isinstance(key, str | int):
            raise damaged("a dict's key is neither text nor a whole number")
        target[key] = value


def _put(machine: Machine, argument: object) -> None:
    if not isinstance(argument, int) or argument >= MAX_MEMO_INDEX:
        raise damaged(f"a memo index lies beyond {MAX_MEMO_INDEX:,}")
    machine.memo[argument] = machine.top()


def _get(machine: Machine, argument: object) -> None:
    if not isinstance(argument, int) or argument not in machine.memo:
        raise damaged("it refers to a memo index that was never set")
    machine.stack.append(machine.memo[argument])


def _global(machine: Machine, argument: object) -> None:
    machine.stack.append(Global(str(argument)))


def _new_object(machine: Machine, _argument: object) -> None:
    made, arguments = machine.pop_many(2)
    if not isinstance(made, Global) or not is_class(made.name):
        raise WeightsError(f"makes an object of {_told(made)}. Nothing of the file was run.")
    if arguments != ():
        raise damaged("an object is made with arguments")
    machine.stack.append(Record(made.name))


def _reduce(machine: Machine, _argument: object) -> None:
    called, arguments = machine.pop_many(2)
    if not isinstance(called, Global) or called.name not in CALLED:
        raise WeightsError(f"calls {_told(called)}. Nothing of the file was run.")
    if not isinstance(arguments, tuple):
        raise damaged("a call's arguments are no tuple")
    call = CALLS.get(called.name)
    machine.stack.append(call(arguments) if call else Record(called.name, arguments))


def _build(machine: Machine, _argument: object) -> None:
    state = machine.pop()
    target = machine.top()
    if isinstance(target, dict) and isinstance(state, dict):
        return  # attributes of an OrderedDict, such as a state dict's `_metadata`
    if not isinstance(target, Record) or target.state is not None:
        raise damaged("attributes are given to what takes none")
    target.state = state


def _persistent_id(machine: Machine, _argument: object) -> None:
    """A storage: ("storage", type, key, device, count)."""
    match machine.pop():
        case ("storage", Global(name), str(key), str(), int(count)) if (
            name in STORAGES and key.isascii() and key.isdigit() and count >= 0
        ):
            storage = StorageRef(key, STORAGES[name], count)
        case _:
            raise damaged("a reference to a storage has the wrong form")
    if machine.storages.setdefault(key, storage) != storage:
        raise damaged(f"storage {shown(key)} is described in two ways")
    machine.stack.append(storage)


def _rebuild_tensor(arguments: tuple[object, ...]) -> TensorRef:
    """Check (storage, offset, size, stride, …): the view must lie inside its storage."""
    if len(arguments) < 4:
        raise damaged("a tensor has no storage")
    storage, offset, size, stride = arguments[:4]
    if not isinstance(storage, StorageRef):
        raise damaged("a tensor has no storage")
    if not isinstance(offset, int) or not _are_counts(size) or not _are_counts(stride):
        raise damaged("a tensor's offset, size or stride is no whole number of 0 or more")
    if offset < 0 or len(size) != len(stride):
        raise damaged("a tensor's offset, size and stride do not belong together")
    numbers = 1
    for length in size:
        numbers *= length
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if numbers and (last >= storage.count or numbers > storage.count):
        raise damaged("a tensor reaches beyond its storage")
    return TensorRef(storage, offset, size, stride)


def _rebuild_parameter(arguments: tuple[object, ...]) -> TensorRef:
    if not arguments or not isinstance(arguments[0], TensorRef):
        raise damaged("a parameter holds no tensor")
    return arguments[0]


def _ordered_dict(arguments: tuple[object, ...]) -> dict[str | int, object]:
    if arguments:
        raise damaged("an OrderedDict is made with arguments")
    return {}


def _are_counts(values: object) -> TypeGuard[tuple[int, ...]]:
    return (
        isinstance(values, tuple)
        and len(values) <= MAX_DIMENSIONS
        and all(type(value) is int and value >= 0 for value in values)
    )


def _told(value: object) -> str:
    name = f"'{shown(dotted(value.name))}'" if isinstance(value, Global) else "a value"
    return f"{name}, which no YOLOv5 checkpoint does"


Instruction = Callable[[Machine, object], None]

CALLS: dict[str, Callable[[tuple[object, ...]], object]] = {
    ORDERED_DICT: _ordered_dict,
    REBUILD_TENSOR: _rebuild_tensor,
    REBUILD_PARAMETER: _rebuild_parameter,
}
"""Calls with a meaning here; every other name in `CALLED` becomes a `Record`."""

INSTRUCTIONS: dict[str, Instruction] = {
    "PROTO": _nothing,
    "STOP": _nothing,
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_TUPLE": _constant(tuple),
    "EMPTY_LIST": _constant(list),
    "EMPTY_DICT": _constant(dict),
    "BININT": _push,
    "BININT1": _push,
    "BININT2": _push,
    "BINFLOAT": _push,
    "BINUNICODE": _push,
    "BINBYTES": _push,
    "SHORT_BINBYTES": _push,
    "LONG1": _push_long,
    "MARK": _mark,
    "TUPLE": _tuple,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "GLOBAL": _global,
    "NEWOBJ": _new_object,
    "REDUCE": _reduce,
    "BUILD": _build,
    "BINPERSID": _persistent_id,
}
"""All instructions that are carried out; a file with any other is refused."""
