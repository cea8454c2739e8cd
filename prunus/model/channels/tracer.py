"""What a trace knows so far: the tags of each tensor, the slots filled, what is tied and pinned."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from prunus.model.channels.arrays import compact, distinct, is_constant, squeeze_repeats
from prunus.model.channels.table import Place, Role
from prunus.model.channels.ties import CONSTANT, Ties


class Leaf(NamedTuple):
    """A parameter or buffer, perhaps seen through a permutation of its dimensions.

    Attributes:
        name: Its name in the model.
        dimensions: Which of its own dimensions each visible dimension is.
    """

    name: str
    dimensions: tuple[int, ...]


Bound = Tensor | Leaf
"""What is known of a tensor: its array of tags, or that it is a parameter."""


class Tracer:
    """The state that the rules read and write.

    Attributes:
        where: Path of the module that is running.
        ties: Which tags are tied.
        slots: Tags along a dimension of a parameter or buffer.
        roles: What each slot is to its channels.
        elements: Tags of parameters that are used place by place.
        pins: Tags that must stay, and why; not yet carried over to what they are tied to.
        norms: Weight of a layer -> running mean of the batch norm that reads its output.
        sizes: Path of a module that remembers a number of channels, without a tensor -> their tags.
        parameters: Names of the model's parameters.
        open_dimension: Of the shape being viewed: the dimension whose length the code leaves open.
    """

    def __init__(self, model: nn.Module) -> None:
        self.where = ""
        self.ties = Ties()
        self.slots: dict[Place, Tensor] = {}
        self.roles: dict[Place, Role] = {}
        self.elements: dict[str, Tensor] = {}
        self.pins: dict[int, str] = {}
        self.norms: dict[str, str] = {}
        self.sizes: dict[str, Tensor] = {}
        self.parameters = tuple(name for name, _ in model.named_parameters())
        self.open_dimension: int | None = None
        self._bound: MutableMapping[Tensor, Bound] = WeakTensorKeyDictionary()
        self._makers: MutableMapping[Tensor, str] = WeakTensorKeyDictionary()
        self._leaves: dict[int, Leaf] = {}
        named = (
            *model.named_parameters(remove_duplicate=False),
            *model.named_buffers(remove_duplicate=False),
        )
        for name, tensor in named:
            self._leaves.setdefault(id(tensor), Leaf(name, tuple(range(tensor.ndim))))

    # --- what is known of a tensor

    def bind(self, tensor: Tensor, bound: Bound | None) -> None:
        """Remember the tags of a tensor; None or all constant: forget it."""
        if bound is None or (isinstance(bound, Tensor) and is_constant(bound)):
            self._bound.pop(tensor, None)
        else:
            self._bound[tensor] = bound

    def knows(self, tensor: Tensor) -> bool:
        """Tell whether the tensor is a parameter or carries channels."""
        return id(tensor) in self._leaves or tensor in self._bound

    def leaf(self, tensor: Tensor | None) -> Leaf | None:
        """Return which parameter or buffer the tensor is, if it is one."""
        if tensor is None:
            return None
        bound = self._leaves.get(id(tensor)) or self._bound.get(tensor)
        return bound if isinstance(bound, Leaf) else None

    def tags(self, tensor: Tensor) -> Tensor | None:
        """Return the array of tags, of the tensor's shape, or None for a constant.

        A parameter gets a tag for each element: it is being used place by place.
        """
        leaf = self.leaf(tensor)
        if leaf is None:
            return self.known_tags(tensor)
        if leaf.name not in self.elements:
            back = sorted(range(tensor.ndim), key=lambda visible: leaf.dimensions[visible])
            shape = [tensor.size(visible) for visible in back]
            self.elements[leaf.name] = self.ties.new(tensor.numel()).view(shape)
        return self.elements[leaf.name].permute(leaf.dimensions)

    def known_tags(self, tensor: Tensor) -> Tensor | None:
        """Return the array of tags, or None for a constant and for a parameter."""
        bound = self._bound.get(tensor)
        return bound if isinstance(bound, Tensor) else None

    def vector(self, tensor: Tensor, dimension: int, why: str) -> Tensor:
        """Return (size,) tags along one dimension.

        Where they change along another one too, all are pinned, because of `why`.
        """
        tags = self.tags(tensor)
        size = tensor.size(dimension)
        if tags is None:
            return torch.full((size,), CONSTANT)
        dimension %= tensor.ndim
        small = compact(tags)
        for other in range(small.ndim):
            if other != dimension and small.size(other) > 1:
                first = small.narrow(other, 0, 1)
                if not bool((small == first).all()):
                    self.pin(small, why)
                small = first
        return small.flatten().expand(size)

    def made_by(self, tensor: Tensor, weight: str) -> None:
        """Remember the layer whose output a tensor is."""
        self._makers[tensor] = weight

    def forget_maker(self, tensor: Tensor) -> None:
        """Note that a tensor was changed in place: it is no layer's output any more."""
        self._makers.pop(tensor, None)

    def maker(self, tensor: Tensor) -> str | None:
        """Return the weight of the layer whose output a tensor is, if it is one."""
        return self._makers.get(tensor)

    @contextmanager
    def left_open(self, dimension: int | None) -> Iterator[None]:
        """Note the length that a view leaves open, while it runs."""
        self.open_dimension = dimension
        try:
            yield
        finally:
            self.open_dimension = None

    # --- what is found out

    def pin(self, tags: Tensor, why: str) -> None:
        """Keep these channels, and say why."""
        place = f" in {self.where}" if self.where else ""
        for tag in distinct(compact(tags)):
            self.pins.setdefault(tag, f"{why}{place}")

    def unite(self, first: Tensor, second: Tensor, why: str) -> None:
        """Tie two equally shaped arrays, place by place; what meets a constant is pinned."""
        both = (first != CONSTANT) & (second != CONSTANT)
        self.ties.unite(first[both], second[both])
        self.pin(first[second == CONSTANT], why)
        self.pin(second[first == CONSTANT], why)

    def fill(self, name: str, dimension: int, tags: Tensor, role: Role) -> None:
        """Give the positions of a parameter's dimension their tags; a second use ties the two."""
        place = (name, dimension)
        if place in self.slots:
            self.unite(self.slots[place], tags, "shared by two layers of different inputs")
        else:
            self.slots[place], self.roles[place] = tags, role

    def issue(self, name: str, dimension: int, size: int, role: Role) -> Tensor:
        """Return the tags of what a parameter makes: new ones at its first use."""
        place = (name, dimension)
        if place not in self.slots:
            self.slots[place], self.roles[place] = self.ties.new(size), role
        return self.slots[place]

    def attach(self, operand: Tensor | None, tags: Tensor, role: Role) -> None:
        """Let a (C,) operand, such as a bias, belong to C channels."""
        if operand is None:
            return
        leaf = self.leaf(operand)
        if leaf is not None and operand.ndim == 1:
            self.fill(leaf.name, leaf.dimensions[0], tags, role)
            return
        own = self.tags(operand)
        if own is None:
            self.pin(tags, "meets a constant of fixed length")
        else:
            self.unite(own.flatten(), tags, "meets a constant of fixed length")

    def settle(self, tags: Tensor, keep: int | None = None) -> Tensor:
        """Make sure that the tags change along one dimension at most, tying what must be.

        After a view has split a dimension of channels in two, a channel can only go together with
        those at the same place of the other parts; otherwise the rest would be no rectangle.

        Args:
            tags: Any array.
            keep: Along which dimension channels may still differ, if they change there; default:
                the last one.
        """
        small = squeeze_repeats(tags)
        changing = [dimension for dimension in range(small.ndim) if small.size(dimension) > 1]
        if keep not in changing and changing:
            keep = changing[-1]
        for dimension in changing:
            if dimension != keep and len(changing) > 1:
                first = small.narrow(dimension, 0, 1)
                self.unite(small, first.expand_as(small), "lies beside a constant")
                small = first
        return small.expand(tags.shape)
