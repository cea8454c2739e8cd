"""A sum over the processes that gradients pass through."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from prunus.core.distributed import Processes
from prunus.core.talk import talking


class _SumOfAll(torch.autograd.Function):
    """Each process's result depends on the values of all, so its gradient goes to all."""

    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        return _total(value)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return _total(gradient)


def sum_of_all(value: Tensor, processes: Processes) -> Tensor:
    """Return the sum of a tensor over the processes, to all of them; alone, the tensor itself."""
    return value if processes.count == 1 else sum_of_several(value)


def sum_of_several(value: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes, of which there are several."""
    total: Tensor = _SumOfAll.apply(value)  # type: ignore[no-untyped-call]
    return total


def _total(own: Tensor) -> Tensor:
    total = own.clone()
    with talking():
        dist.all_reduce(total)
    return total
