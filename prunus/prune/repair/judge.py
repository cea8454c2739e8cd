"""How far a network's outputs are from those of the dense one, on images that judge."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn

from prunus.model.channels.probe import Inputs, call_quietly
from prunus.prune.evidence import Calibration, output_tensors

KEPT_BYTES = 1 << 30
"""What the dense network says of the held-out batches is kept if it fits in this, or else computed
anew for each candidate."""


class _Wanted(NamedTuple):
    """What the dense network says of a batch.

    Attributes:
        outputs: Its tensors.
        weights: How much a squared error of each value matters.
        varied: Weighed sum of squares of the outputs, each tensor less its mean.
    """

    outputs: list[Tensor]
    weights: Sequence[Tensor]
    varied: float


def judge(model: nn.Module, calibration: Calibration, skipped: int) -> Callable[[nn.Module], float]:
    """Return a function from networks to the weighed relative error of their outputs.

    Args:
        model: The dense network, whose outputs are right.
        calibration: The images.
        skipped: So many of the first batches do not judge.
    """

    def batches() -> Iterator[Inputs]:
        return islice(calibration.batches(), skipped, None)

    def wanted() -> Iterator[_Wanted]:
        for batch in batches():
            outputs = output_tensors(call_quietly(model, batch))
            weights = calibration.weigh(outputs)
            varied = sum(
                _weighed(output - output.mean(), weight)
                for output, weight in zip(outputs, weights, strict=True)
            )
            yield _Wanted(outputs, weights, varied)

    kept = _all_that_fit(wanted())

    def error(candidate: nn.Module) -> float:
        lost = varied = 0.0
        for batch, dense in zip(batches(), kept or wanted(), strict=True):
            given = output_tensors(call_quietly(candidate, batch))
            for one, other, weight in zip(given, dense.outputs, dense.weights, strict=True):
                lost += _weighed(one - other, weight)
            varied += dense.varied
        share = lost / max(varied, torch.finfo(torch.float64).tiny)
        return share if math.isfinite(share) else math.inf

    return error


def _all_that_fit(wanted: Iterable[_Wanted]) -> list[_Wanted]:
    """Return what the dense network says of all batches; nothing if that exceeds KEPT_BYTES."""
    kept, size = [], 0
    for one in wanted:
        size += sum(tensor.nbytes for tensor in (*one.outputs, *one.weights))
        if size > KEPT_BYTES:
            return []
        kept.append(one)
    return kept


def _weighed(errors: Tensor, weight: Tensor) -> float:
    """Return the weighed sum of squares."""
    return float(errors.double().square().mul_(weight).sum())
