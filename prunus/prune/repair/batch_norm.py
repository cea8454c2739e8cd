"""Batch-norm statistics, taken anew from images."""

import copy
from collections.abc import Iterable

import torch
from torch import nn

from prunus.core.errors import PruningError
from prunus.model.channels.probe import Inputs
from prunus.prune.observe.observation import call

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def has_statistics(model: nn.Module) -> bool:
    """Return whether there is a batch norm that keeps statistics."""
    return any(
        isinstance(module, BATCH_NORMS) and module.track_running_stats for module in model.modules()
    )


def recalibrate(model: nn.Module, images: Iterable[Inputs]) -> nn.Module:
    """Return a copy whose batch-norm statistics are those of `images`, averaged over the batches.

    Only batch norms run in training mode, without gradients; modes and momentum are as found.

    Args:
        model: Any network.
        images: Batches that it takes, such as (B, 3, H, W) float in [0, 1]; a few hundred images.

    Raises:
        PruningError: There are no images.
    """
    settled = copy.deepcopy(model)
    norms = [module for module in settled.modules() if isinstance(module, BATCH_NORMS)]
    modes = {module: module.training for module in settled.modules()}
    momenta = [norm.momentum for norm in norms]
    settled.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None  # a cumulative average: every batch counts the same
    count = 0
    with torch.no_grad():
        for batch in images:
            call(settled, batch)
            count += 1
    if count == 0:
        raise PruningError("recalibration: there are no images. Give a data set with images.")
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for module, mode in modes.items():
        module.training = mode
    return settled
