"""A pickle interpreter that makes data and nothing else.

`pickletools` splits the bytes into instructions; the few that `torch.save` writes are carried out
by `pickle_machine`. All instructions and all names are checked in a first pass, so that a file is
refused before anything of it is carried out.
"""

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass

from prunus.core.errors import WeightsError
from prunus.weights.inert import StorageRef, check_name, dotted, shown
from prunus.weights.pickle_machine import INSTRUCTIONS, Machine, damaged

MAX_INSTRUCTIONS = 1_000_000
"""An official file has 34,000 (n, stripped) to about 300,000 (x6 with EMA and optimizer)."""
PROTOCOLS = (2, 3)
"""`torch.save` writes protocol 2."""


@dataclass(frozen=True)
class Pickled:
    """What a pickle holds.

    Attributes:
        root: None, bool, int, float, str, bytes, tuple, list, dict, or a record of `inert`.
        storages: All storages that it refers to, by key.
    """

    root: object
    storages: dict[str, StorageRef]


def read_pickle(data: bytes) -> Pickled:
    """Return the pickle's contents; nothing that it names is imported or called.

    Raises:
        WeightsError: It uses an instruction or a name that no YOLOv5 checkpoint needs, or is
            damaged.
    """
    for name, argument in _instructions(data):
        _check(name, argument)
    machine = Machine()
    for name, argument in _instructions(data):
        INSTRUCTIONS[name](machine, argument)
    if len(machine.stack) != 1 or machine.marked:
        raise damaged("it ends in the middle of a value")
    return Pickled(machine.stack[0], machine.storages)


def _instructions(data: bytes) -> Iterator[tuple[str, object]]:
    """Yield (name, argument) of each instruction up to the last byte, which must be STOP."""
    count, end = 0, 0
    try:
        for opcode, argument, position in pickletools.genops(data):
            count += 1
            end = position or 0
            if count > MAX_INSTRUCTIONS:
                raise WeightsError(
                    f"its pickle has more than {MAX_INSTRUCTIONS:,} instructions, several times a "
                    "large model's. It is no YOLOv5 checkpoint."
                )
            yield opcode.name, argument
    except ValueError as error:
        raise damaged("an instruction is cut off or unknown") from error
    if end + 1 != len(data):
        raise damaged("bytes follow its end")


def _check(name: str, argument: object) -> None:
    if name not in INSTRUCTIONS:
        detail = f" ({shown(dotted(argument))})" if isinstance(argument, str) and argument else ""
        raise WeightsError(
            f"uses the pickle instruction {name}{detail}, which torch.save does not write for a "
            "YOLOv5 checkpoint. Nothing of the file was run. If it is your own, save it again with "
            "torch.save and its default protocol."
        )
    if name == "PROTO" and argument not in PROTOCOLS:
        raise WeightsError(
            f"is pickled with protocol {argument}; torch.save writes 2 by default. If it is your "
            "own, save it again without pickle_protocol."
        )
    if name == "GLOBAL":
        check_name(str(argument))
