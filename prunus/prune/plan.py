"""`Plan`: what a cut takes away, by names and positions: saved, read, and made again anywhere.

A plan needs no trace and no example input: it says which positions of which tensors go. So a
network built anew gets the shapes of the pruned one, and its `state_dict` can be loaded.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from torch import Tensor, nn

from prunus.core.console import table as text_table
from prunus.core.errors import PruningError
from prunus.core.files import write_text
from prunus.model.channels.table import ChannelTable
from prunus.prune.blocks.remove import take_out_
from prunus.prune.surgery import Kept, kept_without, named_tensors, remembered_size, shorten_
from prunus.prune.widths import Width

Network = TypeVar("Network", bound=nn.Module)

NOTHING: Mapping[str, object] = MappingProxyType({})
BUILD = "Build the model as the one that the plan was made for."


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shortening(_Record):
    """One dimension of one tensor that gets shorter.

    Attributes:
        tensor: Name of the parameter or buffer, in the network without the removed blocks.
        dimension: Which of its dimensions.
        before: Its size.
        removed: Positions that go, ascending.
    """

    tensor: str
    dimension: int
    before: int
    removed: tuple[int, ...]

    @model_validator(mode="after")
    def _positions_exist(self) -> "Shortening":
        ascending = all(a < b for a, b in zip(self.removed, self.removed[1:], strict=False))
        inside = not self.removed or 0 <= self.removed[0] <= self.removed[-1] < self.before
        if self.dimension < 0 or not (ascending and inside and len(self.removed) < self.before):
            raise ValueError(
                f"{self.tensor}, dimension {self.dimension}: positions must ascend from 0, lie "
                f"below {self.before}, and leave one"
            )
        return self

    def kept(self) -> Tensor:
        """Return (k,) the positions that stay."""
        stays = torch.ones(self.before, dtype=torch.bool)
        stays[list(self.removed)] = False
        return stays.nonzero().flatten()


class Remembered(_Record):
    """A module that remembers a number of channels, and has no tensor of that length."""

    module: str
    before: int
    after: int = Field(ge=1)


class Plan(_Record):
    """What a cut takes away.

    Attributes:
        version: Of the format.
        blocks: Paths of the blocks that are taken out first (see `prune.blocks`).
        shortenings: Every dimension of a tensor that gets shorter.
        remembered: Sizes that change and belong to no tensor.
        widths: Every group of layers whose channels may go.
        tensors: Names of all parameters and buffers, each with its other names when it is shared:
            what a model must have for the plan to fit.
        facts: Where it comes from, such as criterion and budget.
    """

    version: Literal[1] = 1
    blocks: tuple[str, ...] = ()
    shortenings: tuple[Shortening, ...]
    remembered: tuple[Remembered, ...] = ()
    widths: tuple[Width, ...]
    tensors: tuple[tuple[str, ...], ...]
    facts: dict[str, JsonValue] = {}

    @model_validator(mode="after")
    def _tensors_are_listed(self) -> "Plan":
        listed = {name for names in self.tensors for name in names}
        for item in self.shortenings:
            if item.tensor not in listed:
                raise ValueError(f"{item.tensor} gets shorter, but is not among the tensors")
        return self

    def save(self, path: str | Path) -> None:
        """Write the plan as JSON, atomically; `read_plan` reads it.

        Raises:
            PrunusError: The file cannot be written.
        """
        write_text(Path(path), self.model_dump_json() + "\n")

    def table(self) -> str:
        """Return the widths before and after, as text."""
        rows = [(w.name, w.before, w.after, f"{w.after / w.before:.0%}") for w in self.widths]
        before, after = sum(w.before for w in self.widths), sum(w.after for w in self.widths)
        said = [f"{before - after:,} of {before:,} channels removed"]
        said += [f"without {', '.join(self.blocks)}"] if self.blocks else []
        said += [f"{name} {value}" for name, value in self.facts.items()]
        return text_table("; ".join(said), ("layers", "before", "after", "kept"), rows)


def make_plan(
    model: nn.Module,
    table: ChannelTable,
    tags: Tensor,
    *,
    blocks: Sequence[str] = (),
    facts: Mapping[str, object] = NOTHING,
) -> Plan:
    """Write down what `surgery.remove` does with the same arguments.

    Args:
        model: The network that `table` was traced from; without `blocks`, if there are any.
        table: Its channels.
        tags: (R,) channels to remove.
        blocks: Paths of blocks that have been taken out before, as they were called in the network
            that had all of them.
        facts: Where the plan comes from; what JSON does not know is written as text.

    Raises:
        PruningError: A channel must stay, or a layer would be left without any.
    """
    kept = kept_without(table, tags)
    shortenings = [
        Shortening(
            tensor=name,
            dimension=dimension,
            before=(size := len(table.tags[name, dimension])),
            removed=tuple(sorted(set(range(size)) - set(positions.tolist()))),
        )
        for (name, dimension), positions in kept.positions.items()
    ]
    return Plan(
        blocks=tuple(blocks),
        shortenings=tuple(shortenings),
        remembered=tuple(
            Remembered(module=path, before=len(table.sizes[path]), after=left)
            for path, left in kept.sizes.items()
        ),
        widths=tuple(
            Width(group.name, len(group), int((~torch.isin(group.tags, tags)).sum()))
            for group in table.free_groups
        ),
        tensors=_names(model),
        facts=json.loads(json.dumps(dict(facts), default=str)),
    )


def read_plan(path: str | Path) -> Plan:
    """Return the plan that `Plan.save` wrote.

    Raises:
        PruningError: The file is missing, of another format, or damaged.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PruningError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise PruningError(f"{path}: no plan: not valid JSON. Save the plan again.") from error
    if not isinstance(content, dict) or "shortenings" not in content:
        raise PruningError(f"{path}: no plan. Give a file that `plan.save` wrote.")
    if content.get("version") != 1:
        raise PruningError(
            f"{path}: has format version {content.get('version')}; this Prunus reads version 1. "
            "Use the Prunus that wrote it, or make the plan anew."
        )
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise PruningError(
            f"{path}: damaged: {where}: {problem['msg']}. Save the plan again."
        ) from error


def apply_plan(plan: Plan, model: Network, *, in_place: bool = False) -> Network:
    """Return the model without what the plan takes away. Nothing is run or traced.

    The model may be another one than the plan was made for, if it was built alike: sizes that the
    plan does not touch (such as the number of classes) may differ. Modes, `requires_grad` and hooks
    are those of `model`. What is shared stays shared.

    Args:
        plan: What to take away.
        model: A whole network; stays as it is, unless in place.
        in_place: Cut `model` itself and return it. Its parameters are then new objects: make
            optimizers anew, an old one would go on training what is no longer there.

    Raises:
        PruningError: The model does not fit the plan. Nothing is changed.
    """
    _check_fits(plan, _without_blocks(plan, model))
    smaller = model if in_place else copy.deepcopy(model)
    take_out_(smaller, plan.blocks)
    positions = {(item.tensor, item.dimension): item.kept() for item in plan.shortenings}
    shorten_(smaller, Kept(positions, {item.module: item.after for item in plan.remembered}))
    return smaller


def _without_blocks(plan: Plan, model: nn.Module) -> nn.Module:
    """Return the model without the plan's blocks: new modules around the same tensors."""
    if not plan.blocks:
        return model
    paths = dict(model.named_modules(remove_duplicate=False))
    for path in plan.blocks:
        if path not in paths:
            raise PruningError(f"plan: {path}: expected a block to take out, got none. {BUILD}")
    shallow = copy.deepcopy(model, {id(held): held for held in named_tensors(model).values()})
    take_out_(shallow, plan.blocks)
    return shallow


def _names(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Return the names of every parameter and buffer; those of a shared one together."""
    names: dict[int, list[str]] = {}
    for name, tensor in named_tensors(model).items():
        names.setdefault(id(tensor), []).append(name)
    return tuple(tuple(sorted(several)) for several in names.values())


def _check_fits(plan: Plan, model: nn.Module) -> None:
    """See that the model has the plan's tensors and sizes.

    Raises:
        PruningError: It has not; the message names the first place.
    """
    _check_names(plan, model)
    tensors = named_tensors(model)
    for item in plan.shortenings:
        shape = tuple(tensors[item.tensor].shape)
        if item.dimension >= len(shape) or shape[item.dimension] != item.before:
            raise PruningError(
                f"plan: {item.tensor}: expected {item.before} along dimension {item.dimension}, "
                f"got shape {shape}. {BUILD}"
            )
    modules: dict[str, Any] = dict(model.named_modules(remove_duplicate=False))
    for other in plan.remembered:
        size = remembered_size(modules.get(other.module))
        if size != other.before:
            raise PruningError(
                f"plan: {other.module}: expected a norm of {other.before} channels, got "
                f"{size or 'none'}. {BUILD}"
            )


def _check_names(plan: Plan, model: nn.Module) -> None:
    expected, got = (
        {name: n for n in names for name in n} for names in (plan.tensors, _names(model))
    )
    for name, together in expected.items():
        if name not in got:
            raise PruningError(f"plan: {name}: expected a tensor of this name, got none. {BUILD}")
        if set(got[name]) != set(together):
            raise PruningError(
                f"plan: {name}: expected one tensor under the names {', '.join(together)}, got "
                f"{', '.join(got[name])}. {BUILD}"
            )
    for name in got.keys() - expected.keys():
        raise PruningError(f"plan: {name}: expected no tensor of this name, got one. {BUILD}")
