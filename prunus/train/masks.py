"""From settings to a `ZeroHolder`: zeros that are kept, or that a ramp brings, by share or by N:M.

A pattern N:M is reached step by step like a share: on the way to 2:4, one weight of each group of 4
goes first, then the second ("structure decay": Kao et al., "Training Recipe for N:M Structured
Sparsity with Decaying Pruning Mask", 2022, arXiv:2209.07617).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from prunus.core.console import log
from prunus.core.errors import TrainingError
from prunus.core.shares import Pattern
from prunus.model.nm import speed_note, why_not
from prunus.model.zeros import beyond, lowest, lowest_of_each, weights_of
from prunus.train.holder import ZeroHolder
from prunus.train.ramp import ROUNDING, Ramp

ZEROS_AT_LEAST = 0.01
"""Share below which zeros are accidents: the official yolov5n has 4 among 1.9 million weights."""


def hold_zeros(weights: Mapping[str, Tensor], averages: Mapping[str, Tensor]) -> ZeroHolder:
    """Return what holds the zeros that there are.

    Raises:
        TrainingError: There are hardly any, as in a dense network.
    """
    holder = ZeroHolder(weights, averages, None, lowest_of_each)
    if holder.share < ZEROS_AT_LEAST:
        raise TrainingError(
            f"keep_zeros: only {holder.share:.1%} of the weights are zero. Make zeros with "
            "`prunus sparsify`, or let this training make them with --weight-sparsity or --nm."
        )
    log.info("zeros: %.1f %% of the weights are held at zero", holder.share * 100)
    return holder


def approach_share(
    weights: Mapping[str, Tensor],
    averages: Mapping[str, Tensor],
    ramp: Ramp,
    scope: Literal["layer", "global"],
) -> ZeroHolder:
    """Return what brings every layer, or all together, to the ramp's share of zeros.

    Raises:
        TrainingError: There are more zeros already.
    """
    if scope == "layer":
        shares = {name: _share([weight]) for name, weight in weights.items()}
    else:
        shares = {"the network": _share(list(weights.values()))}
    for name, (zeros, count) in shares.items():
        if zeros > round(ramp.final * count):
            raise TrainingError(
                f"weight_sparsity: {name} has {zeros / count:.1%} zeros already, more than "
                f"{ramp.final:.1%}. Ask for more, or hold what is zero with --keep-zeros."
            )
    choose = lowest_of_each if scope == "layer" else lowest
    _announce(f"{ramp.final:.1%} of the weights of {len(weights)} layers", ramp, None)
    return ZeroHolder(weights, averages, ramp, choose)


def approach_pattern(
    weights: Mapping[str, Tensor], averages: Mapping[str, Tensor], ramp: Ramp, goal: Pattern
) -> ZeroHolder:
    """Return what brings to N:M every layer that N:M fits; the others stay dense, and are named.

    Args:
        weights: What learns.
        averages: The averages of the same weights.
        ramp: Ends at the pattern's share of zeros.
        goal: N:M.

    Raises:
        TrainingError: It fits no layer.
    """
    reasons = {name: why_not(weight, goal) for name, weight in weights.items()}
    fitting = {name: weight for name, weight in weights.items() if not reasons[name]}
    if not fitting:
        raise TrainingError(
            f"nm: no layer that learns has a multiple of {goal.group} input channels. Give an N:M "
            "with a smaller M, such as 2:4."
        )

    def choose(sizes: Sequence[Tensor], share: float) -> list[Tensor]:
        kept = max(goal.kept, math.ceil(goal.group * (1 - share) - ROUNDING))
        if kept == goal.group:
            return [torch.zeros_like(size, dtype=torch.bool) for size in sizes]
        return [beyond(size, Pattern(kept, goal.group)) for size in sizes]

    _announce(f"weights of {len(fitting)} layers, down to {goal},", ramp, goal)
    for name, reason in reasons.items():
        if reason:
            log.info("zeros: %s stays dense (%s)", name, reason)
    return ZeroHolder(fitting, averages, ramp, choose)


def learning_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of convolutions and linear layers that learn, by the layer's name.

    Raises:
        TrainingError: There are none.
    """
    weights = {name: w for name, w in weights_of(model).items() if w.requires_grad}
    if not weights:
        raise TrainingError("zeros: no weight learns that could become zero. Freeze fewer rows.")
    return weights


def _share(weights: Sequence[Tensor]) -> tuple[int, int]:
    return sum(int((w == 0).sum()) for w in weights), sum(w.numel() for w in weights)


def _announce(what: str, ramp: Ramp, pattern: Pattern | None) -> None:
    when = (
        f"at {ramp.begin:.0%}"
        if ramp.shape == "constant"
        else f"{ramp.begin:.0%} to {ramp.end:.0%}"
    )
    log.info(
        "zeros: %s become zero (%s, %s of the run). %s", what, ramp.shape, when, speed_note(pattern)
    )
