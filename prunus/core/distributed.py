"""The processes that train together, as `torchrun` starts them, or this one alone.

Torch is imported inside the functions that need it, so that the room stays cheap to import.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from prunus.core.errors import ConfigError
from prunus.core.talk import LostError as LostError
from prunus.core.talk import lost
from prunus.core.talk import talking as talking

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

Item = TypeVar("Item")
TIMEOUT = timedelta(seconds=1800)
"""A process waits so long for the others. Those that have died are noticed at once."""
NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
RESTARTS = "TORCHELASTIC_RESTART_COUNT"
MET, ENDED = "met", "ended"
"""Keys of what the processes tell each other outside collectives."""
POLL_SECONDS = 0.1
BUCKET_ELEMENTS = 8 << 20
"""Numbers that are sent at once: 32 MB, so that a large model needs no second copy of itself."""


@dataclass(frozen=True)
class Processes:
    """This process among those that work together.

    Attributes:
        rank: Its number, from 0.
        count: How many there are.
        local_rank: Its number among those of this machine: its GPU's.
        store: Where they leave notes for each other; None for a process alone.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    store: "Store | None" = field(default=None, repr=False, compare=False)

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
        with talking():
            dist.all_reduce(every)
        return own * self.count / every.clamp(min=torch.finfo(every.dtype).tiny)

    def mean(self, values: "Tensor") -> "Tensor":
        """Return the mean over the processes, in double precision on the CPU."""
        own = values.detach().cpu().double()
        if self.count > 1:
            import torch.distributed as dist

            with talking():
                dist.all_reduce(own)
        return own / self.count

    def any(self, flag: bool) -> bool:
        """Return whether the flag is up in any process."""
        import torch

        return flag if self.count == 1 else bool(self.mean(torch.tensor(float(flag))) > 0)

    def meet(self) -> None:
        """Wait until all processes are here, however long that takes: TIMEOUT does not count.

        Raises:
            LostError: One of them has ended.
        """
        if self.store is None:
            return
        with talking():
            arrived = self.store.add(MET, 1)
            wanted = -(-arrived // self.count) * self.count  # nobody comes to the next one before
            while self.store.add(MET, 0) < wanted:
                if self.store.check([ENDED]):
                    raise lost(f"process {self.store.get(ENDED).decode()}")
                time.sleep(POLL_SECONDS)

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this process's part of what is the same list in all of them: every n-th item.

        Of fewer items than processes some are handed out twice, so that nobody has nothing to do.
        """
        return items[self.rank :: self.count] or items[self.rank % len(items) :][:1]

    def average_(self, tensors: Iterable["Tensor"]) -> None:
        """Replace tensors, the same ones in each process, by their means; in buckets."""
        if self.count == 1:
            return
        import torch
        import torch.distributed as dist

        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            with talking():
                dist.all_reduce(flat)
            flat /= self.count
            start = 0
            for tensor in bucket:
                end = start + tensor.numel()
                tensor.copy_(flat[start:end].view_as(tensor))
                start = end

    def gather(self, item: Item) -> list[Item]:
        """Return what each process gave, by rank, to all of them."""
        if self.count == 1:
            return [item]
        import torch.distributed as dist

        items: list[Item | None] = [None] * self.count
        with talking():
            dist.all_gather_object(items, item)
        return items  # type: ignore[return-value]  # all are filled

    def tell(self, item: Item) -> Item:
        """Return what the first process gave, to all of them."""
        if self.count == 1:
            return item
        import torch.distributed as dist

        items = [item]
        with talking():
            dist.broadcast_object_list(items, src=0)
        return items[0]


ALONE = Processes()


def _buckets(tensors: Iterable["Tensor"]) -> Iterator[list["Tensor"]]:
    """Group tensors of one dtype, up to BUCKET_ELEMENTS each."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        full = sum(map(_elements, bucket)) + _elements(tensor) > BUCKET_ELEMENTS
        if bucket and (full or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _elements(tensor: "Tensor") -> int:
    return tensor.numel()


def started_together() -> bool:
    """Return whether `torchrun` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def restarted() -> bool:
    """Return whether `torchrun` started this process anew after one had died."""
    return int(os.environ.get(RESTARTS, "0")) > 0


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
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    if missing := [name for name in NEEDED if name not in os.environ]:
        raise ConfigError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} not set. Start "
            "with torchrun, or unset WORLD_SIZE."
        )
    rank, count, local_rank = (int(os.environ[name]) for name in NEEDED[:3])
    if device_type == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"process {local_rank} of this machine has no GPU: there are "
                f"{torch.cuda.device_count()}. Lower --nproc-per-node, or give --device cpu."
            )
        torch.cuda.set_device(local_rank)
    backend = "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"
    with talking():
        store, rank, count = next(rendezvous("env://", timeout=TIMEOUT))
        # The store may still hold the addresses of those who died.
        store = PrefixStore(f"prunus/{os.environ.get(RESTARTS, '0')}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=TIMEOUT)
    try:
        yield Processes(rank, count, local_rank, store)
    except BaseException:
        with suppress(RuntimeError):  # who keeps the notes may have ended
            store.set(ENDED, str(rank))
        raise
    finally:
        dist.destroy_process_group()
