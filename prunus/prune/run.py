"""The `prune` verb on a detector in memory: score, select, cut, prove, repair."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from prunus.core.console import log, table
from prunus.core.errors import PruningError, suggest
from prunus.model.channels.table import ChannelTable
from prunus.model.channels.trace import trace
from prunus.model.cost import count_flops, count_parameters
from prunus.model.detector import Detector
from prunus.prune.criteria import CRITERIA
from prunus.prune.criteria.members import Criterion
from prunus.prune.proof import cut
from prunus.prune.repair import Fold, fold_constants_, recalibrate
from prunus.prune.selection import Scope, Selection, protected_by, select
from prunus.prune.surgery import named_tensors

PROBE_SEED = 0
PROBE_IMAGES = 2


@dataclass(frozen=True)
class Calibration:
    """Images to re-estimate batch norm on, and the judge of whether that helped.

    Attributes:
        images: Batches (B, 3, H, W) float in [0, 1], on the detector's device; training images.
        score: Detector -> how good it is, such as mAP on other images than those.
    """

    images: Iterable[Tensor]
    score: Callable[[Detector], float]


@dataclass(frozen=True)
class Recalibration:
    """Scores before and after the batch norms were re-estimated, and whether that was kept."""

    before: float
    after: float

    @property
    def kept(self) -> bool:
        return self.after > self.before


@dataclass(frozen=True)
class PruneResult:
    """A smaller detector and what was done to it.

    Attributes:
        detector: The smaller one.
        selection: What went, with the widths before and after and the layers that were clamped.
        params: Parameters, before and after.
        flops: For one 640 x 640 image, before and after.
        error: Largest relative difference from the masked network: the proof.
        fold: What became of the removed channels' constants.
        recalibration: None when there were no images to try it on.
    """

    detector: Detector
    selection: Selection
    params: tuple[int, int]
    flops: tuple[int, int]
    error: float
    fold: Fold
    recalibration: Recalibration | None

    def table(self) -> str:
        """Return the widths before and after, as text."""
        rows = [
            (
                width.name,
                width.before,
                width.after,
                f"{width.after / width.before:.0%}",
                width.reason,
            )
            for width in self.selection.widths
        ]
        title = (
            f"{self.selection.achieved:.1%} of the prunable channels removed "
            f"({self.selection.asked:.1%} asked)"
        )
        return table(title, ("layers", "before", "after", "kept", "why"), rows)


def prune(  # noqa: PLR0913  one argument a setting of the verb
    detector: Detector,
    *,
    criterion: str | Criterion = "bn_scale",
    percent: float = 0.5,
    scope: Scope = "global",
    round_to: int = 8,
    min_channels: int = 8,
    keep: Sequence[int] = (),
    calibration: Calibration | None = None,
) -> PruneResult:
    """Remove the least important channels of a detector, which stays as it is.

    Args:
        detector: Any; `requires_grad` and modes do not matter and are kept.
        criterion: A name in CRITERIA, or a function like those.
        percent: Share of the prunable channels to remove, in (0, 1).
        scope: One threshold for the whole network ("global"), or the same share of each layer.
        round_to: Kept channels are a multiple of this.
        min_channels: No layer keeps fewer.
        keep: Rows whose layers keep all their channels.
        calibration: Re-estimate batch norm, and keep that if it helps.

    Raises:
        PruningError: Unknown criterion or row, nothing was removed, or the proof failed.
    """
    rank = _criterion(criterion)
    paths = _paths(detector, keep)
    probe = _probe(detector)
    channels = trace(detector, probe[:1])
    selection = select(
        _scores(detector, channels, rank, paths),
        channels,
        percent=percent,
        scope=scope,
        round_to=round_to,
        min_channels=min_channels,
        keep=paths,
    )
    _check_something_goes(selection)
    pruned, error = cut(detector, channels, selection.tags, probe)
    fold = fold_constants_(pruned, detector, channels, selection.tags, probe)
    smaller, recalibration = _recalibrated(cast(Detector, pruned), calibration)
    return PruneResult(
        smaller,
        selection,
        (count_parameters(detector), count_parameters(smaller)),
        (count_flops(detector), count_flops(smaller)),
        error,
        fold,
        recalibration,
    )


def _criterion(criterion: str | Criterion) -> Criterion:
    if not isinstance(criterion, str):
        return criterion
    if criterion not in CRITERIA:
        known = ", ".join(sorted(CRITERIA))
        raise PruningError(
            f"criterion: no criterion '{criterion}'.{suggest(criterion, CRITERIA)} Known: {known}."
        )
    return CRITERIA[criterion]


def _paths(detector: Detector, rows: Sequence[int]) -> list[str]:
    """Return the paths of rows."""
    count = len(detector.model)
    for row in rows:
        if not 0 <= row < count:
            raise PruningError(f"keep: no row {row}; the detector has rows 0 to {count - 1}.")
    return [f"model.{row}" for row in rows]


def _probe(detector: Detector) -> Tensor:
    """Return the noise that the detector is traced and proved on: small squares."""
    like = next(detector.parameters())
    side = 2 * detector.stride
    noise = torch.Generator().manual_seed(PROBE_SEED)
    return torch.rand(PROBE_IMAGES, 3, side, side, generator=noise).to(like)


def _scores(
    detector: Detector, channels: ChannelTable, criterion: Criterion, keep: Sequence[str]
) -> Mapping[str, Tensor]:
    tensors = named_tensors(detector)
    scores = {}
    for group in channels.free_groups:
        if not protected_by(group, keep):
            scores[group.name] = criterion(group, tensors)
            if not bool(scores[group.name].isfinite().all()):
                raise PruningError(
                    f"{group.name}: its weights are not finite. The file is damaged."
                )
    return scores


def _check_something_goes(selection: Selection) -> None:
    if len(selection.tags) == 0:
        raise PruningError(
            f"nothing was removed: {selection.asked:.1%} of the channels is less than the rounding "
            "leaves in every layer. Raise --percent, or lower --round-to and --min-channels."
        )


def _recalibrated(
    detector: Detector, calibration: Calibration | None
) -> tuple[Detector, Recalibration | None]:
    """Return the better of the detector and the same with re-estimated batch norms."""
    if calibration is None:
        return detector, None
    settled = cast(Detector, recalibrate(detector, calibration.images))
    outcome = Recalibration(calibration.score(detector), calibration.score(settled))
    log.info(
        "batch norm re-estimated: %.4f -> %.4f, %s",
        outcome.before,
        outcome.after,
        "kept" if outcome.kept else "not kept",
    )
    return (settled if outcome.kept else detector), outcome
