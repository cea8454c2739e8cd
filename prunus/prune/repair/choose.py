"""Which repair a cut network gets: whatever brings its outputs nearest to the dense one's.

Judged on calibration images that no repair was fitted to, without labels, so that a validation
split stays untouched. A single batch is all there is to fit to and to judge by; then no layer is
refitted on its own.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from torch import Tensor, nn

from prunus.core.console import log
from prunus.model.channels.table import ChannelTable
from prunus.prune.evidence import Calibration, Observation
from prunus.prune.observe.observation import observe
from prunus.prune.repair.batch_norm import has_statistics, recalibrate
from prunus.prune.repair.judge import judge
from prunus.prune.repair.ridge import cut_layers, solve_from_dense_
from prunus.prune.repair.walk import Refit, walk_

Method = Literal["none", "bn", "ridge"]
JUDGING_SHARE = 8
"""One batch in so many judges."""


@dataclass(frozen=True)
class Repair:
    """What was tried on a cut network, and what was kept.

    Attributes:
        errors: By step, the error of the outputs on held-out images, as a share of what the dense
            outputs vary: "as cut", "ridge", "walk", "batch norm".
        kept: The step whose network was kept; each includes those before it that helped.
        layers: What the walk did to each layer.
    """

    errors: dict[str, float]
    kept: str
    layers: tuple[Refit, ...] = ()

    def summary(self) -> str:
        """Return one line."""
        tried = ", ".join(f"{step} {error:.4f}" for step, error in self.errors.items())
        return (
            f"repair: relative error of the outputs on held-out images: {tried}; kept: {self.kept}"
        )


def repair(
    smaller: nn.Module,
    model: nn.Module,
    table: ChannelTable,
    tags: Tensor,
    calibration: Calibration,
    method: Method,
    observation: Observation | None = None,
) -> tuple[nn.Module, Repair]:
    """Return the better of a cut network and its repaired versions.

    Args:
        smaller: `model` without the channels.
        model: The dense network.
        table: Its channels.
        tags: (R,) the removed ones.
        calibration: The images.
        method: "bn": batch-norm statistics only; "ridge": layers solved anew, then those; "none":
            nothing, the error is measured.
        observation: Of the dense network, for "ridge"; made here if there is none yet.

    Raises:
        PruningError: There are no images.
    """
    if method == "ridge" and observation is None:
        observation = observe(model, table, calibration)
    total = _count(calibration, observation)
    fitting = fitting_batches(total)
    error = held_out_error(model, calibration, total)
    best = smaller
    errors = {"as cut": error(smaller)}
    kept = "as cut"
    layers: tuple[Refit, ...] = ()

    def consider(step: str, candidate: nn.Module) -> None:
        nonlocal best, kept
        errors[step] = error(candidate)
        if errors[step] < errors[kept]:
            best, kept = candidate, step

    if method == "ridge" and observation is not None:
        solved = copy.deepcopy(smaller)
        cuts = cut_layers(solved, model, table, tags, observation)
        solve_from_dense_(cuts, solved, model, observation, fitting)
        consider("ridge", solved)
        if fitting < total:
            walked = copy.deepcopy(solved)
            cuts = cut_layers(walked, model, table, tags, observation)
            layers = tuple(walk_(cuts, walked, model, observation, fitting))
            consider("walk", walked)
    if method != "none" and has_statistics(best):
        consider("batch norm", recalibrate(best, islice(calibration.batches(), fitting)))
    outcome = Repair(errors, kept, layers)
    log.info("%s", outcome.summary())
    return best, outcome


def fitting_batches(total: int) -> int:
    """Return how many of the first batches a repair is fitted to; the others judge it."""
    return total - max(1, total // JUDGING_SHARE) if total > 1 else total


def held_out_error(
    model: nn.Module, calibration: Calibration, total: int
) -> Callable[[nn.Module], float]:
    """Return `judge.judge` on the batches that nothing is fitted to; a single batch is all."""
    fitting = fitting_batches(total)
    return judge(model, calibration, fitting if fitting < total else 0)


def _count(calibration: Calibration, observation: Observation | None) -> int:
    """Return how many batches there are; images are decoded for it only if nobody knows."""
    if observation is not None:
        return observation.batches
    return calibration.total or sum(1 for _ in calibration.batches())
