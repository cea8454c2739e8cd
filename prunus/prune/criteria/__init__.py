"""The table of criteria: how channels are ranked.

A new criterion is one file here with a `score` function (see `members.Criterion`) and its line.
"""

from collections.abc import Mapping

from prunus.prune.criteria import bn_scale, l1, l2
from prunus.prune.criteria.members import Criterion

CRITERIA: Mapping[str, Criterion] = {
    "bn_scale": bn_scale.score,
    "l1": l1.score,
    "l2": l2.score,
}
