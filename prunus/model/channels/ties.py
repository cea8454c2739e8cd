"""Union-find over integer tags: channels that meet in an addition become one."""

import torch
from torch import Tensor

CONSTANT = -1
"""The tag of a value that belongs to no channel."""


class Ties:
    """Tags, and which of them are tied. Near linear time in the number of ties."""

    def __init__(self) -> None:
        self._parents: list[int] = []

    def new(self, count: int) -> Tensor:
        """Return (count,) tags that nothing is tied to yet."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return torch.arange(start, start + count)

    def root(self, tag: int) -> int:
        """Return the tag that stands for all those tied to this one."""
        parents = self._parents
        while parents[tag] != tag:
            parents[tag] = parents[parents[tag]]
            tag = parents[tag]
        return tag

    def unite(self, first: Tensor, second: Tensor) -> None:
        """Tie the tags of two equally shaped tensors, place by place; none may be CONSTANT."""
        total = len(self._parents)
        pairs = sorted(set((first * total + second).flatten().tolist()))
        for one, other in (divmod(pair, total) for pair in pairs):
            one_root, other_root = self.root(one), self.root(other)
            if one_root != other_root:  # the older one stays, so that results do not depend on luck
                self._parents[max(one_root, other_root)] = min(one_root, other_root)

    def roots(self, tags: Tensor) -> Tensor:
        """Replace every tag by its root; CONSTANT stays."""
        found = [tag if tag == CONSTANT else self.root(tag) for tag in tags.flatten().tolist()]
        return torch.tensor(found, dtype=torch.int64).view(tags.shape)

    def all_roots(self) -> Tensor:
        """Return the root of every tag, by tag."""
        return torch.tensor([self.root(tag) for tag in range(len(self._parents))] or [0])[
            : len(self._parents)
        ]
