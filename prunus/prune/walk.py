"""Widths while they are being chosen: what they cost and lose, kept up to date step by step."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prunus.prune.costs import Costs
from prunus.prune.widths import Choice

NOTHING = 1e-9
"""Of the whole cost: a step that saves no more saves nothing but round-off."""

Row = NDArray[np.float64]


class Walk:
    """Widths that are being chosen, with what they cost and lose."""

    def __init__(self, choices: Sequence[Choice], costs: Costs) -> None:
        self.choices = choices
        self.at = [len(choice.allowed) - 1 for choice in choices]
        self.losses = [_losses(choice) for choice in choices]
        self.cost = costs.total({})
        self.dust = NOTHING * self.cost
        self.versions = [0] * len(choices)
        """How often each group's prices have changed."""
        self._costs = costs
        self._kept = {choice.group.name: choice.size for choice in choices}
        index = {choice.group.name: number for number, choice in enumerate(choices)}
        self._near = [
            [index[name] for name in costs.neighbours(choice.group.name) if name in index]
            for choice in choices
        ]
        self._curves: dict[int, Row] = {}

    @property
    def kept(self) -> list[int]:
        """Return the widths, in the order of the choices."""
        return [choice.allowed[place] for choice, place in zip(self.choices, self.at, strict=True)]

    @property
    def lost(self) -> float:
        """Return what is lost at these widths."""
        return sum(float(row[place]) for row, place in zip(self.losses, self.at, strict=True))

    def curve(self, number: int) -> Row:
        """Return what the layers that a group touches cost, at each of its allowed widths."""
        if number not in self._curves:
            choice = self.choices[number]
            self._curves[number] = self._costs.curve(choice.group.name, choice.allowed, self._kept)
        return self._curves[number]

    def go(self, number: int, place: int) -> None:
        """Give one group another of its allowed widths."""
        curve, choice = self.curve(number), self.choices[number]
        self.cost += float(curve[place] - curve[self.at[number]])
        self.at[number] = place
        self._kept[choice.group.name] = choice.allowed[place]
        self.versions[number] += 1
        for near in self._near[number]:
            self.versions[near] += 1
            self._curves.pop(near, None)

    def save(self) -> "Saved":
        """Return these widths, to come back to."""
        return Saved(list(self.at), dict(self._kept), self.cost, dict(self._curves))

    def restore(self, saved: "Saved") -> None:
        """Come back to widths that were saved; once for each time that they were."""
        self.at, self._kept, self.cost, self._curves = saved


class Saved(NamedTuple):
    """Widths of a walk, with what is known of them."""

    at: list[int]
    kept: dict[str, int]
    cost: float
    curves: dict[int, Row]


def _losses(choice: Choice) -> Row:
    """Return what is lost at each allowed width."""
    lost = choice.damage.lost.double().numpy()
    return np.asarray(lost[choice.size - np.asarray(choice.allowed)], dtype=np.float64)
