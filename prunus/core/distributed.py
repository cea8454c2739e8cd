"""The processes that train together, as `torchrun` starts them, or this one alone.

Torch is imported inside the functions that need it, so that the room stays cheap to import.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Item = TypeVar("Item")
TIMEOUT = timedelta(seconds=1800)
"""A process waits so long for the others. Those that have died are noticed at once."""


@dataclass(frozen=True)
class Processes:
    """This process among those that work together.

    Attributes:
        rank: Its number, from 0.
        count: How many there are.
        local_rank: Its number among those of this machine: its GPU's.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the one that speaks and writes."""
        return self.rank == 0

    def weights(self, amounts: "Tensor") -> "Tensor":
        """Return what means over this process's amounts weigh, so that all average to the whole's.

        Args:
            amounts: (N,) what each of N means was taken over here.

        Returns:
            (N,) own amount · processes / amount of all; 1 for a process alone.
        """
        import torch
        import torch.distributed as dist

        own = amounts.double()
        if self.count == 1:
            return torch.ones_like(own)
        every = own.clone()
        dist.all_reduce(every)
        return own * self.count / every.clamp(min=torch.finfo(every.dtype).tiny)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is up in any process."""
        if self.count == 1:
            return flag
        return any(self.gather(flag))

    def gather(self, item: Item) -> list[Item]:
        """Return what each process gave, by rank, to all of them."""
        if self.count == 1:
            return [item]
        import torch.distributed as dist

        items: list[Item | None] = [None] * self.count
        dist.all_gather_object(items, item)
        return items  # type: ignore[return-value]  # all are filled

    def tell(self, item: Item) -> Item:
        """Return what the first process gave, to all of them."""
        return self.gather(item)[0]


ALONE = Processes()


def started_together() -> bool:
    """Return whether `torchrun` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def processes(device_type: str) -> Iterator[Processes]:
    """Join the processes that `torchrun` has started, until the context ends.

    Args:
        device_type: "cuda" to talk through NCCL, else through gloo.
    """
    if not started_together():
        yield ALONE
        return
    import torch
    import torch.distributed as dist

    rank, count, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    found = Processes(rank, count, local)
    if device_type == "cuda":
        torch.cuda.set_device(found.local_rank)
    backend = "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield found
    finally:
        dist.destroy_process_group()
