"""An earlier cut made again on other weights of the same architecture, such as earlier ones.

Weights of an early epoch, cut by a plan that a later one gave, are what Frankle et al. rewind to
("Stabilizing the Lottery Ticket Hypothesis", arXiv:1903.01611): what is kept has its early values,
to the last bit.
"""

import torch
from torch import Tensor

from prunus.model.channels.table import ChannelTable
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.prune.blocks.remove import remove_blocks
from prunus.prune.detectors import probe
from prunus.prune.evidence import Calibration
from prunus.prune.plan import Plan, apply_plan
from prunus.prune.repair.choose import Method, Repair
from prunus.prune.repair.choose import repair as repair_network


def replay(
    plan: Plan,
    detector: Detector,
    calibration: Calibration | None = None,
    repair: Method = "none",
) -> tuple[Detector, Repair | None]:
    """Cut a detector as a plan says.

    Args:
        plan: Of an earlier cut.
        detector: Left as it is; it may have other classes than the one that was cut.
        calibration: Images to repair on.
        repair: As in `run.prune`; "none" keeps every value that is not cut.

    Returns:
        The smaller detector, and how it was repaired; None where it was not.

    Raises:
        PruningError: The detector does not fit the plan.
    """
    smaller = apply_plan(plan, detector)
    if calibration is None or repair == "none":
        return smaller, None
    lighter = remove_blocks(detector, plan.blocks)
    table = trace(lighter, probe(lighter))
    tags = removed_tags(plan, table)
    repaired, outcome = repair_network(smaller, lighter, table, tags, calibration, repair)
    assert isinstance(repaired, Detector)
    return repaired, outcome


def removed_tags(plan: Plan, table: ChannelTable) -> Tensor:
    """Return (R,) the channels of a table that a plan takes away, ascending.

    Args:
        plan: What goes.
        table: Of a network that the plan fits, without the plan's blocks.
    """
    gone = [
        table.tags[item.tensor, item.dimension][list(item.removed)] for item in plan.shortenings
    ]
    return torch.unique(torch.cat(gone)) if gone else torch.zeros(0, dtype=torch.long)
