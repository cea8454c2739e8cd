"""What is lost without a block: how far the network's raw outputs move, without any labels.

One streaming pass over calibration images: for each batch the network is run whole, and once
without each block (its input takes its place). No gradients; memory for two outputs.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from prunus.core.console import track
from prunus.core.errors import PruningError
from prunus.model.channels.probe import call_quietly, tensors_in
from prunus.prune.blocks.find import survey
from prunus.prune.blocks.remove import left_out

Distance = Callable[[object, object], float]
"""(outputs without a block, outputs of the whole network) -> how far apart; 0 when equal."""


def block_damage(
    model: nn.Module,
    paths: Iterable[str],
    images: Iterable[Tensor],
    distance: Distance | None = None,
) -> dict[str, float]:
    """Return what is lost without each of these blocks, by path; 0 is nothing.

    The mean over images of `distance`. Blocks are judged one at a time: two that stand in for each
    other look harmless, and without both the loss can be larger than the sum.

    Args:
        model: Any; stays as it is.
        paths: Of blocks that `find.removable_blocks` lists.
        images: Batches (B, ...) that the network takes, on its device; iterated once.
        distance: Default: `relative_squared_difference`.

    Raises:
        PruningError: A path is no such block, there are no images, or outputs are not finite.
    """
    measure = distance or relative_squared_difference
    totals = dict.fromkeys(paths, 0.0)
    count = 0
    for batch in track(images, "judging blocks"):
        if count == 0:
            survey(model, batch[:1]).check(totals)
        whole = call_quietly(model, batch)
        for path in totals:
            with left_out(model, [path]):
                totals[path] += len(batch) * measure(call_quietly(model, batch), whole)
        count += len(batch)
    if count == 0:
        raise PruningError("block damage: there are no images. Give a data set with images.")
    for path, total in totals.items():
        if not math.isfinite(total):
            raise PruningError(f"{path}: outputs without it are not finite. It has to stay.")
    return {path: total / count for path, total in totals.items()}


def relative_squared_difference(outputs: object, whole: object) -> float:
    """Return the mean over output tensors of sum((y' - y)^2) / sum((y - mean(y))^2).

    y: an output tensor (a detector's level) of the whole network for a batch; y': the same without
    the block. 1 is as far off as an output that always says the mean.
    """
    pairs = list(zip(tensors_in(outputs), tensors_in(whole), strict=True))
    return sum(_relative(one.double(), other.double()) for one, other in pairs) / len(pairs)


def _relative(one: Tensor, other: Tensor) -> float:
    spread = (other - other.mean()).square().sum()
    tiny = torch.finfo(spread.dtype).tiny
    return float((one - other).square().sum() / spread.clamp(min=tiny))
