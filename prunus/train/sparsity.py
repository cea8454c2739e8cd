"""Pull batch-norm gammas to zero while training, so that channels can be removed afterwards.

Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017,
arXiv:1708.06519, with the L1 term applied as a proximal step after each optimizer step:

    gamma <- sign(gamma) * max(|gamma| - lr * strength / (1 - momentum), 0)

The classic sub-gradient `sr * sign(gamma)` passes through the momentum, which multiplies it by
1 / (1 - momentum), 16 at 0.937. The same factor stands here, so that a strength is the field's `sr`
and pulls as far as there, with any optimizer. Over a run, a gamma that the loss does not hold
moves by

    budget = strength / (1 - momentum) * (sum of lr over the optimizer steps that pull)

Gammas start near 1: a run with a budget far below 1 cannot prune anything, whatever the network.

Other regularisers than L1 are the files in `train/regularisers`.

The running statistics of batch norms lag behind gammas that move, layer upon layer, so that
accuracy seems lost until they stand still (mAP50 .03 while moving, .78 soon after, on BCCD). So
they follow faster here, and the last steps of a run do not pull: they hold at zero what has arrived
there, and the rest settles without it.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from prunus.core.console import log
from prunus.core.errors import TrainingError
from prunus.model.detector import Detector
from prunus.train.gammas import STAYS, Gammas
from prunus.train.regularisers import Regulariser, l1

TARGET_BUDGET = 1.0
"""What `auto` aims at: enough to bring a gamma of 1, where batch norms start, to zero."""
STRONGEST = 0.015
"""`auto` pulls no harder, unless BUDGET_AT_LEAST asks for it: beyond, no gamma can hold against it.

On BCCD, 40 epochs after an adaptation to mAP50-95 .62: a strength of .028 emptied 61 % of all
channels and left .24 to .45, one of .015 left .59.
"""
BUDGET_AT_LEAST, BUDGET_AT_MOST = 0.3, 5.0
STATISTICS_MOMENTUM = 0.1
"""Of the batch norms that are pulled on, instead of YOLOv5's 0.03: a lag of 10 steps, not 33."""
PULLING_SHARE = 0.8
"""Share of a run's optimizer steps that pull."""
ROUNDING = 1e-9
"""Relative error of a sum of a run's pulls."""
NEARLY_ZERO = (1e-3, 1e-2)
CUTS = (0.3, 0.5, 0.7)


def pulling_rates(step_rates: Sequence[float]) -> Sequence[float]:
    """Return the learning rates of the steps that pull, out of those of the whole run."""
    return step_rates[: max(1, round(len(step_rates) * PULLING_SHARE))]


def choose_strength(
    request: float | Literal["auto"], step_rates: Sequence[float], momentum: float
) -> float:
    """Return the strength of the pull, and say in the log what it can do.

    Args:
        request: A strength, or "auto" for a budget of TARGET_BUDGET, as far as STRONGEST allows.
        step_rates: The learning rate at every optimizer step that pulls.
        momentum: The optimizer's, in [0, 1).

    Raises:
        TrainingError: The budget of the requested strength is too small to bring gammas to zero.
    """
    total = sum(step_rates) / (1 - momentum)
    auto = min(TARGET_BUDGET / total, max(STRONGEST, BUDGET_AT_LEAST / total))
    strength = auto if request == "auto" else request
    budget = strength * total
    if budget < BUDGET_AT_LEAST * (1 - ROUNDING):
        raise TrainingError(
            f"sparsity: strength {strength:g} can move a gamma by only {budget:.2g} in this run's "
            f"{len(step_rates)} optimizer steps, and gammas start near 1. Give --sparsity "
            f"{auto:.3g} or auto, or train longer."
        )
    log.info(
        "sparsity: strength %.4g, which can move each gamma by %.2f in %d optimizer steps",
        strength,
        budget,
        len(step_rates),
    )
    if budget > BUDGET_AT_MOST:
        log.warning(
            "sparsity: a budget of %.1f may empty whole layers. --sparsity %.3g gives 1.",
            budget,
            TARGET_BUDGET / total,
        )
    return strength


class GammaShrinker:
    """Pulls on gammas after each optimizer step, and counts what it has spent.

    Attributes:
        gammas: What is pulled on.
        names: Its batch norms.
        strength: The field's `sr`.
        budget: The whole run's pull.
        spent: The pull so far.
    """

    def __init__(
        self,
        gammas: Gammas,
        strength: float,
        step_rates: Sequence[float],
        momentum: float,
        *,
        regularise: Regulariser = l1.shrink,
        beta_share: float = 0.0,
    ) -> None:
        """Prepare; the batch norms' statistics follow faster from now on.

        Args:
            gammas: What to pull on.
            strength: The field's `sr`.
            step_rates: The learning rate at every optimizer step that pulls.
            momentum: The optimizer's, in [0, 1).
            regularise: How.
            beta_share: Pull on all betas, in pulls on gammas.
        """
        self.gammas, self.names = gammas, tuple(gammas.norms)
        self.strength = strength
        self._pull_per_rate = strength / (1 - momentum)
        self.budget = self._pull_per_rate * sum(step_rates)
        self.spent = 0.0
        self._regularise, self._beta_share = regularise, beta_share
        norms = list(gammas.norms.values())
        self._gammas, self._betas = [n.weight for n in norms], [n.bias for n in norms]
        device = self._gammas[0].device
        self._channels = [gammas.channels[name].to(device) for name in self.names]
        self._held: list[Tensor] = []
        for norm in norms:
            norm.momentum = STATISTICS_MOMENTUM

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Pull once, at the rate of the optimizer step just made; without budget left, hold."""
        if self._held:
            for gamma, held in zip(self._gammas, self._held, strict=True):
                gamma.masked_fill_(held, 0)
            return
        pull = lr * self._pull_per_rate
        moved = self._regularise(self._gammas, self._channels, pull)
        for gamma, new, channels in zip(self._gammas, moved, self._channels, strict=True):
            gamma.copy_(torch.where(channels == STAYS, gamma, new))
        self._pull_betas(pull)
        self.go_on_from(self.spent + pull)

    def _pull_betas(self, pull: float) -> None:
        """Pull on the betas of channels at zero, which are constants by now, and on all if asked.

        What a removed channel emitted then needs no repair.
        """
        for gamma, beta, channels in zip(self._gammas, self._betas, self._channels, strict=True):
            strength = torch.where(gamma == 0, max(1.0, self._beta_share), self._beta_share)
            strength = torch.where(channels == STAYS, 0.0, strength)
            beta.copy_(beta.sign() * (beta.abs() - pull * strength).clamp(min=0))

    def go_on_from(self, spent: float) -> None:
        """Set what has been spent; when that is all, hold the gammas that are zero by now."""
        self.spent, self._held = spent, []
        if spent >= self.budget * (1 - ROUNDING):
            self._held = [
                (gamma.detach() == 0) & (channels != STAYS)
                for gamma, channels in zip(self._gammas, self._channels, strict=True)
            ]


def gamma_sizes(detector: Detector, names: Sequence[str]) -> dict[str, Tensor]:
    """Return the absolute gammas of the named batch norms, each (C,)."""
    state = detector.state_dict()
    return {name: state[f"{name}.weight"].abs() for name in names}


def gamma_summary(sizes: Mapping[str, Tensor]) -> dict[str, float]:
    """Return shares of gammas near zero, and the size below which 30, 50 and 70 % of the channels
    lie.

    A cut at 50 % that lies near zero will cost little; one that lies among working gammas will cost
    much.
    """
    every = torch.cat(list(sizes.values())).float()
    summary = {f"below_{limit:g}": float((every < limit).float().mean()) for limit in NEARLY_ZERO}
    cuts = torch.quantile(every, every.new_tensor(CUTS))
    summary.update({f"cut_at_{cut:.0%}": float(size) for cut, size in zip(CUTS, cuts, strict=True)})
    return summary
