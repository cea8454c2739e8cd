"""The table of criteria: how channels are ranked.

A new criterion is one file here and its line in CRITERIA. What looks at weights only is written for
one group of channels, `(group, tensors) -> (n,) scores`, and lifted by `members.per_group`; what
looks at images or labels is a `members.Criterion` itself and streams once over all groups (see
`activation`). Say in the docstring what a score measures: a global selection compares the scores of
all layers and adds them up. The line has its tests: tests/prune/test_prune_criteria.py runs over
the whole table.
"""

from collections.abc import Mapping

from prunus.core.errors import PruningError, suggest
from prunus.prune.criteria import (
    activation,
    bn_scale,
    fpgm,
    group_l2,
    l1,
    l2,
    lamp,
    random,
    reconstruction,
    taylor,
)
from prunus.prune.criteria.members import Criterion
from prunus.prune.evidence import Calibration

CRITERIA: Mapping[str, Criterion] = {
    "bn_scale": bn_scale.score,
    "bn_scale_layer": bn_scale.score_by_layer,
    "bn_scale_next": bn_scale.score_by_next,
    "l1": l1.score,
    "l2": l2.score,
    "group_l2": group_l2.score,
    "lamp": lamp.score,
    "fpgm": fpgm.score,
    "taylor": taylor.score,
    "activation": activation.score,
    "reconstruction": reconstruction.score,
    "random": random.score,
}

AUTO = "auto"
WITH_IMAGES, WITHOUT_IMAGES = "reconstruction", "l2"
"""What "auto" means. On the official yolov5n, -20 % FLOPs, without training, reconstruction keeps
three quarters of mAP50-95 (`benchmarks/results/pruning_vs_torch_pruning.jsonl`). Without images, l2
needs nothing but weights, whatever the network."""


def find_criterion(criterion: str | Criterion, calibration: Calibration | None) -> Criterion:
    """Return a criterion by its name; a function is one already.

    Raises:
        PruningError: There is none of that name.
    """
    if not isinstance(criterion, str):
        return criterion
    if criterion == AUTO:
        criterion = WITHOUT_IMAGES if calibration is None else WITH_IMAGES
    if criterion not in CRITERIA:
        known = (AUTO, *sorted(CRITERIA))
        raise PruningError(
            f"--criterion: no criterion '{criterion}'.{suggest(criterion, known)} Known: "
            f"{', '.join(known)}."
        )
    return CRITERIA[criterion]
