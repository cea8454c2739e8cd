"""How many channels each pair gets in between: a share, an energy, or a budget of operations."""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from prunus.core.errors import PruningError
from prunus.prune.low_rank.bases import Basis

ROUNDING = 1e-12


@dataclass(frozen=True)
class Candidate:
    """A convolution that could become two.

    Attributes:
        shape: (O, I, k, k) of its weight.
        flops: Operations of one image.
        basis: The directions of its outputs.
    """

    shape: Sequence[int]
    flops: int
    basis: Basis

    def flops_at(self, rank: int) -> int:
        """Return the operations of a pair of this rank."""
        outputs, inputs, height, width = self.shape
        patch = inputs * height * width
        return round(self.flops * rank * (patch + outputs) / (outputs * patch))

    def saves(self, rank: int) -> bool:
        """Return whether a pair of this rank has fewer operations than the layer."""
        return self.flops_at(rank) < self.flops


def by_share(candidate: Candidate, share: float, round_to: int) -> int:
    """Return the multiple of `round_to` that is nearest to a share of the full rank."""
    full = candidate.basis.full_rank
    return min(max(round(share * full / round_to), 1) * round_to, full)


def by_energy(candidate: Candidate, energy: float, round_to: int) -> int:
    """Return the smallest multiple of `round_to` at which this share of the energy is kept."""
    basis, most = candidate.basis, 1 - energy + ROUNDING
    enough = (rank for rank in range(basis.full_rank) if basis.lost_share(rank) <= most)
    rank = next(enough, basis.full_rank)
    return min(max(math.ceil(rank / round_to), 1) * round_to, basis.full_rank)


def by_budget(
    candidates: Mapping[str, Candidate], total: int, goal: float, round_to: int
) -> dict[str, int]:
    """Return the ranks at which least is lost for the operations that have to go.

    Each layer's ranks are points (operations saved, energy lost); along their lower convex hull
    each step loses more for what it saves than the one before. The steps of all layers are taken
    in this order, until the goal is reached: then no other choice of hull points that saves as much
    loses less, but for what the last step saves too much.

    Args:
        candidates: By name.
        total: Operations of the whole network.
        goal: Share of them to keep.
        round_to: Ranks are multiples of this.

    Returns:
        Ranks of the layers that become pairs.

    Raises:
        PruningError: It cannot be reached.
    """
    steps = {name: _hull(candidate, round_to) for name, candidate in candidates.items()}
    waiting = [(_slope(path[0]), name, 0) for name, path in steps.items() if path]
    heapq.heapify(waiting)
    ranks: dict[str, int] = {}
    left = total
    while left > goal * total:
        if not waiting:
            raise PruningError(
                f"--flops {goal:g}: at the lowest ranks {left / total:.3f} of the operations are "
                "left. Ask for more, or let more layers be factorised."
            )
        _, name, number = heapq.heappop(waiting)
        step = steps[name][number]
        ranks[name] = step.rank
        left -= step.saved
        if number + 1 < len(steps[name]):
            heapq.heappush(waiting, (_slope(steps[name][number + 1]), name, number + 1))
    return ranks


@dataclass(frozen=True)
class _Step:
    """From one point of a hull to the next: what it saves and loses besides."""

    rank: int
    saved: int
    lost: float


def _slope(step: _Step) -> float:
    return step.lost / step.saved


def _hull(candidate: Candidate, round_to: int) -> list[_Step]:
    """Return the steps of a layer from whole to its lowest rank, each steeper than the last."""
    points = [(candidate.basis.full_rank, 0, 0.0)]  # the whole layer: nothing saved, nothing lost
    for rank in range(candidate.basis.full_rank // round_to * round_to, 0, -round_to):
        point = (rank, candidate.flops - candidate.flops_at(rank), candidate.basis.lost(rank))
        if point[1] <= 0:
            continue
        while len(points) > 1 and _steeper(points[-2], points[-1], point):
            points.pop()
        points.append(point)
    return [
        _Step(after[0], after[1] - before[1], after[2] - before[2])
        for before, after in pairwise(points)
    ]


def _steeper(
    first: tuple[int, int, float], second: tuple[int, int, float], third: tuple[int, int, float]
) -> bool:
    """Return whether the way over `second` loses no less than the straight one."""
    there = (second[2] - first[2]) * (third[1] - first[1])
    return there >= (third[2] - first[2]) * (second[1] - first[1])
