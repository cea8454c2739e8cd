"""Several runners as one: the candidates of all of them side by side, for one suppression."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from prunus.core.errors import ConfigError
from prunus.core.records import Runner, Size
from prunus.model.pieces import run_in_pieces


class EnsembleRunner:
    """A `Runner` whose candidates are those of all members, joined.

    Attributes:
        members: The runners, one or more.
        names: The class names, on which all agree.
        stride: The least common multiple of the members' strides.
        size_hw: The one size that a member insists on, if any does.
        batch: None: members of a fixed batch get theirs.
    """

    batch: int | None = None

    def __init__(self, members: Sequence[Runner], titles: Sequence[str]) -> None:
        """Join the members.

        Args:
            members: One or more.
            titles: What to call each in an error, such as its file.

        Raises:
            ConfigError: Two have other classes, or take different sizes only.
        """
        self.members = tuple(members)
        self.names = self.members[0].names
        for member, title in zip(self.members, titles, strict=True):
            _check_names(self.names, member.names, titles[0], title)
        self.stride = math.lcm(*(member.stride for member in self.members))
        self.size_hw = _only_size(self.members, titles)

    def __call__(self, images: Tensor) -> Tensor:
        """Return (B, the sum of all N, 5 + K) candidates, on the first member's device."""
        found = [run_in_pieces(member, images) for member in self.members]
        return torch.cat([candidates.to(found[0].device) for candidates in found], dim=1)


def _check_names(first: Sequence[str], other: Sequence[str], title: str, other_title: str) -> None:
    if tuple(first) == tuple(other):
        return
    if len(first) != len(other):
        difference = f"{len(first)} and {len(other)} classes"
    else:
        place = next(i for i, (a, b) in enumerate(zip(first, other, strict=True)) if a != b)
        difference = f"class {place} is '{first[place]}' and '{other[place]}'"
    raise ConfigError(
        f"--weights: {title} and {other_title} do not know the same classes: {difference}. "
        "An ensemble needs models of one data set."
    )


def _only_size(members: Sequence[Runner], titles: Sequence[str]) -> Size | None:
    fixed = {
        title: member.size_hw
        for member, title in zip(members, titles, strict=True)
        if member.size_hw is not None
    }
    if len(set(fixed.values())) > 1:
        sizes = ", ".join(f"{title} {height}x{width}" for title, (height, width) in fixed.items())
        raise ConfigError(
            f"--weights: the files take different image sizes only: {sizes}. "
            "Export them at one size, or with --dynamic."
        )
    return next(iter(fixed.values()), None)
