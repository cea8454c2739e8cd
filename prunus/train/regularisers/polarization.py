"""Polarization: gammas below the mean are pulled to zero, those above it are left alone or grow.

Zhuang et al., "Neuron-level Structured Pruning using Polarization Regularizer", NeurIPS 2020:

    R = T · sum |gamma| - sum | |gamma| - mean |

It opens a gap, so that no threshold has to be guessed. The convex term is taken as a proximal step,
the concave one before it as a gradient step.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

T = 1.0
"""Weight of the L1 term: at 1 a gamma above the mean is never pulled down, one below it at least as
much as by L1."""
CEILING = 1.0
"""No gamma is made larger than this, where batch norms start: the paper's bound a."""


def shrink(gammas: Sequence[Tensor], channels: Sequence[Tensor], pull: float) -> list[Tensor]:
    """Return the gammas after one step; those of channels that stay count for nothing."""
    every = torch.cat(list(gammas))
    member = torch.cat(list(channels)) >= 0
    sizes = every.abs()
    side = torch.sign(sizes - sizes[member].mean())
    push = pull * (side - side[member].mean())
    moved = (sizes + push - pull * T).clamp(min=0)
    moved = torch.minimum(moved, sizes.clamp(min=CEILING))
    moved = torch.where(member, moved * every.sign(), every)
    return list(torch.split(moved, [len(gamma) for gamma in gammas]))
