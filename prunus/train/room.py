"""Room in the memory for an optimizer step, which must not fail when it is half done.

torch's steps change the groups of parameters one after the other, and allocate in between: SGD a
copy of the gradients to add the decay to, Adam the roots of its second moments, both their moments
at the first step. So that much is taken and given back beforehand: where it cannot be had, nothing
has been written yet, and the step can be made later.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from prunus.core.distributed import Processes
from prunus.core.errors import TrainingError
from prunus.train.memory import Attempt


def step_where_room(
    step: Callable[[], bool], optimizer: Optimizer, processes: Processes, where: str
) -> bool | None:
    """Make a step.

    Args:
        step: Makes it, and returns whether the gradients were finite.
        optimizer: Whose.
        processes: Who else makes it.
        where: The epoch and batch, for errors.

    Returns:
        What `step` returned; None where memory was short, here or in another process, and nothing
        was written but gradients.

    Raises:
        TrainingError: Memory was short when more had been written.
    """
    with Attempt() as room:
        make_room(optimizer)
    if processes.any(room.short):
        return None
    untouched, finite = Untouched(optimizer), False
    with Attempt() as attempt:
        finite = step()
    if not attempt.short:
        return finite
    if processes.count == 1 and untouched.restore_():  # else others may have made theirs
        return None
    raise TrainingError(
        f"{where}: memory ran out in the midst of an optimizer step, which cannot be undone. The "
        "last save is whole: free memory on the device, and go on from it with --resume."
    )


def make_room(optimizer: Optimizer) -> None:
    """Take the memory that the coming step will need, and give it back to the allocator.

    Raises:
        torch.OutOfMemoryError: There is not so much.
    """
    moments = 1 if "momentum" in optimizer.defaults else 2
    taken = []
    for parameter in _learning(optimizer):
        copies = 1 if optimizer.state.get(parameter) else 1 + moments
        taken += [torch.empty_like(parameter) for _ in range(copies)]


class Untouched:
    """Remembers what a step would write, to tell afterwards whether it has written anything."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._versions = {
            parameter: [tensor._version for tensor in self._written(parameter)]
            for parameter in _learning(optimizer)
        }

    def restore_(self) -> bool:
        """Forget moments that were just begun; return whether nothing else was written."""
        for parameter, versions in self._versions.items():
            if len(versions) == 1:  # it had no moments
                self._optimizer.state.pop(parameter, None)
        return all(
            [tensor._version for tensor in self._written(parameter)] == versions
            for parameter, versions in self._versions.items()
        )

    def _written(self, parameter: Tensor) -> list[Tensor]:
        moments = self._optimizer.state.get(parameter, {}).values()
        return [parameter, *(moment for moment in moments if isinstance(moment, Tensor))]


def _learning(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
