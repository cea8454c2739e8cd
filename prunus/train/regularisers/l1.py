"""The sum of all absolute gammas: each is pulled alone, all equally.

Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017,
arXiv:1708.06519. Its proximal step is the soft threshold.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def shrink(gammas: Sequence[Tensor], channels: Sequence[Tensor], pull: float) -> list[Tensor]:  # noqa: ARG001 - the protocol's
    """Return sign(gamma) · max(|gamma| - pull, 0)."""
    return [F.softshrink(gamma, pull) for gamma in gammas]
