"""Batch norm whose statistics are those of all processes' images, on any device.

Torch's own `SyncBatchNorm` computes the same, but on a GPU only. Formulas: Ioffe and Szegedy,
"Batch Normalization", ICML 2015, arXiv:1502.03167, algorithm 1, over the union of the batches.
"""

import torch
from torch import Tensor, nn

from prunus.core.distributed import Processes
from prunus.core.sums import sum_of_several


class SyncedBatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` that averages over the images of all processes while training."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        dimensions = (0, 2, 3)
        x = input.float()
        count = sum_of_several(x.new_tensor([x.numel() / x.shape[1]]))
        mean = sum_of_several(x.sum(dimensions)) / count
        centred = x - mean.view(1, -1, 1, 1)
        variance = sum_of_several(centred.square().sum(dimensions)) / count
        with torch.no_grad():
            self._follow(mean, variance * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        out = centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return out.to(input.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)


def synchronise_norms_(module: nn.Module, processes: Processes) -> None:
    """Let all batch norms of a network average over all processes; alone, nothing changes.

    Parameters and buffers stay the same objects.
    """
    if processes.count == 1:
        return
    for child in module.modules():
        if type(child) is nn.BatchNorm2d:
            child.__class__ = SyncedBatchNorm
