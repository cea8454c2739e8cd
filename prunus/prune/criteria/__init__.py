"""The table of criteria: how channels are ranked.

A new criterion is one file here and its line in CRITERIA. What looks at weights only is written for
one group of channels, `(group, tensors) -> (n,) scores`, and lifted by `members.per_group`; what
looks at images or labels is a `members.Criterion` itself and streams once over all groups (see
`activation`). Say in the docstring what a score measures: a global selection compares the scores of
all layers and adds them up. The line has its tests: tests/prune/test_prune_criteria.py runs over
the whole table.
"""

from collections.abc import Mapping

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
