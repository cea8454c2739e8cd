"""Carriers: one channel that always says 1 hands on what removed channels used to say, borders too.

A removed channel whose scale is zero said act(beta) all over its map. A reader that pads with zeros
saw that constant inside and zeros around it, which no bias can say. A channel with the same
constant map can: its layer's scale is 0 and its offset act⁻¹(1), and what each reader gives it is
sum(W · constant) over the removed channels, for each kernel position (specification sheet
slimming, 3.2.6). Concatenations, upsampling and poolings pass constants. Residual sums add them: a
reader behind one finds 2 where one in front of it finds 1, and divides by what it finds.

A carrier takes the place of a channel, and sacrificing one that is alive would change the function.
So `reserve` takes a kept channel that is as dead as the removed ones, if there is one: free.
Otherwise one of the removed channels stays: the group gets one channel wider than was selected,
which is exact but may leave a multiple of 8. With scores the least important of the kept channels
gives way instead: widths stay, and what that channel said beyond its constant is lost.

Runs on float weights before they are fused; a carrier is an ordinary channel to all that follows.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.probe import Inputs, call_quietly
from prunus.model.channels.table import ChannelTable
from prunus.prune.comparison import difference
from prunus.prune.readers import Reader, readers_of
from prunus.prune.repair.constants import (
    CONVOLUTIONS,
    Fold,
    contribution,
    fold_constants_,
    silenced,
)
from prunus.prune.repair.offsets import emit_, makers_of, positions_of, tune_
from prunus.prune.repair.reading import STEADY, Seen, look
from prunus.prune.surgery import TRANSPOSED, named_tensors

PAYS = 1e-3
"""`worth` from which a carrier pays: on the official yolov5n folds that are exact leave
1e-6 or less (rounding), borders .005 and more."""
LEAST_SAID = 0.05
"""A carrier that a reader finds closer to zero is of no use: weights would grow by a factor of 20
for each unit of constant."""
NO_SCORES: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True)
class Reserved:
    """Removed channels, chosen so that carriers stay.

    Attributes:
        tags: (R,) the channels to remove.
        carriers: Group -> the channel that is kept as its carrier.
    """

    tags: Tensor
    carriers: Mapping[str, int]


@dataclass(frozen=True)
class Carried:
    """What became of the constants of removed channels.

    Attributes:
        groups: Groups whose constants a carrier hands on.
        skipped: Groups whose carrier cannot, and why. There the reserved channel stays as it was,
            and constants are folded.
        fold: Of the constants of all other groups.
        residual: Largest difference of an output from the network in which removed channels and
            carriers say their constants, relative to the largest output.
    """

    groups: tuple[str, ...]
    skipped: Mapping[str, str]
    fold: Fold
    residual: float


def worth(model: nn.Module, table: ChannelTable, tags: Tensor, inputs: Inputs) -> dict[str, float]:
    """Return what a carrier would mend, by group: the error that folded constants leave.

    The error of a reader is the root mean square over its output map, relative to how much that map
    varies; the largest over the group's readers. 0 where the fold is exact, or nothing was said.
    It depends on the size of the maps: borders are a larger share of small ones.

    Args:
        model: The network that `table` was traced from.
        table: Its channels.
        tags: (R,) the removed ones.
        inputs: What to run `model` on: of the size that matters, pictures rather than noise.

    Returns:
        Only groups that lose channels and can have a carrier.
    """
    seen = look(silenced(model, table, tags), readers_of(table, tags), inputs)
    worths = {}
    for group in table.free_groups:
        gone = group.tags[torch.isin(group.tags, tags)]
        if len(gone) == 0 or _unfit(model, table, int(gone[0])):
            continue
        errors = [
            _fold_error(model, table, reader, gone, seen[reader.path])
            for reader in readers_of(table, gone)
            if reader.path in seen
        ]
        worths[group.name] = max(errors, default=0.0)
    return worths


def reserve(
    model: nn.Module,
    table: ChannelTable,
    tags: Tensor,
    groups: Sequence[str],
    *,
    scores: Mapping[str, Tensor] = NO_SCORES,
) -> Reserved:
    """Choose the carriers of some groups.

    A kept channel that is dead is taken first. Otherwise, in a group with scores, the kept channel
    with the lowest; in one without, a removed channel, which makes the group one channel wider.

    Args:
        model: The network that `table` was traced from.
        table: Its channels.
        tags: (R,) the channels that are to be removed.
        groups: Names of groups that lose some of them: those where `worth` is large.
        scores: Group -> (n,) importance of its channels.

    Raises:
        PruningError: There is no such group, or it loses no channel.
    """
    by_name = {group.name: group for group in table.free_groups}
    alive = _alive(model, table)
    carriers = {}
    for name in groups:
        group = by_name.get(name)
        if group is None or not bool(torch.isin(group.tags, tags).any()):
            raise PruningError(f"carrier: {name}: expected a group that loses channels.")
        stays = ~torch.isin(group.tags, tags)
        dead = group.tags[stays & ~torch.isin(group.tags, alive)]
        if len(dead):
            carriers[name] = int(dead[0])
        elif name in scores:
            carriers[name] = int(group.tags[stays][scores[name].cpu()[stays].argmin()])
        else:
            carriers[name] = int(group.tags[~stays][0])
    taken = torch.tensor(list(carriers.values()), dtype=tags.dtype)
    return Reserved(tags[~torch.isin(tags, taken)], carriers)


def carry_constants_(
    smaller: nn.Module,
    model: nn.Module,
    table: ChannelTable,
    tags: Tensor,
    inputs: Inputs,
    carriers: Mapping[str, int],
) -> Carried:
    """Give the readers of removed channels, in place, the constants that those would emit.

    Where a group has a carrier, all its readers get the constants from it, and none by the fold.
    Constants are found as in `fold_constants_`, by running the networks.

    Args:
        smaller: `model` without the channels.
        model: The network that `table` was traced from.
        table: Its channels.
        tags: (R,) the removed channels, those of `Reserved`.
        inputs: What to run networks on; noise will do, constants do not depend on it.
        carriers: Group -> the kept channel that becomes its carrier, those of `Reserved`.
    """
    unfit = {name: _unfit(model, table, tag) for name, tag in carriers.items()}
    hopeful = {name: tag for name, tag in carriers.items() if not unfit[name]}
    trial = copy.deepcopy(smaller)
    offsets, heard = tune_(trial, table, tags, hopeful, inputs)
    silent = _all_silent(tags, hopeful)
    said = look(silenced(model, table, silent), readers_of(table, silent), inputs)
    cut = _Cut(model, table, tags, said, heard)
    loads: list[_Load] = []
    for name, tag in hopeful.items():
        gone = _gone(table, tags, name, tag)
        found = [_load(cut, reader, gone, tag) for reader in readers_of(table, torch.tensor([tag]))]
        failures = [load for load in found if isinstance(load, str)]
        unfit[name] = failures[0] if failures else ""
        loads += [] if failures else [load for load in found if isinstance(load, _Load)]
    good = {name: tag for name, tag in carriers.items() if not unfit[name]}
    fold = _fold_others_(smaller, model, table, tags, inputs, good, loads)
    for load in loads:
        _write_(smaller, load)
    for name, tag in good.items():
        emit_(smaller, makers_of(table, tags, tag), offsets[name])
    expected = call_quietly(silenced(model, table, _all_silent(tags, good)), inputs)
    return Carried(
        tuple(good),
        {name: why for name, why in unfit.items() if why},
        fold,
        difference(call_quietly(smaller, inputs), expected),
    )


class _Cut(NamedTuple):
    """A network, what is removed of it, and what its layers read.

    Attributes:
        model: The network as it was.
        table: Its channels.
        tags: (R,) the removed ones.
        said: By path, what its layers read of it where removed channels say their constants.
        found: The same in the smaller network, where carriers speak.
    """

    model: nn.Module
    table: ChannelTable
    tags: Tensor
    said: Mapping[str, Seen]
    found: Mapping[str, Seen]


class _Load(NamedTuple):
    """What a reader gives a carrier.

    Attributes:
        reader: The layer.
        gone: (n,) tags of the channels that it stands for, itself among them.
        positions: Where the smaller layer reads the carrier; all but the first get nothing.
        weight: (out, ...) for the first of them, of the rows that stay.
    """

    reader: Reader
    gone: Tensor
    positions: Tensor
    weight: Tensor


def _load(cut: _Cut, reader: Reader, gone: Tensor, tag: int) -> _Load | str:
    """Return what a reader of a carrier must give it, or why it cannot."""
    path, layer = reader.path, cut.model.get_submodule(reader.path)
    if path not in cut.said or path not in cut.found:
        return f"{path} was not seen reading it"
    said, found = cut.said[path], cut.found[path]
    held = cut.table.tags[reader.weight, reader.dimension]
    groups = getattr(layer, "groups", 1)
    removed = torch.isin(held, gone)
    if not bool(said.steady().view(groups, -1)[:, removed].all()):
        return f"what {path} reads of it is not constant"
    positions = positions_of(held, cut.tags, tag)
    values = found.constants().view(groups, -1)[:, positions]  # (groups, times it is read)
    steady = found.steady().view(groups, -1)[:, positions]
    usable = (steady & (values.abs() >= LEAST_SAID)).all(dim=0)
    if not bool(usable.any()):
        return f"{path} does not find it constant and other than zero"
    first = int(usable.nonzero()[0])
    shares = torch.where(removed, said.constants().view(groups, -1), 0.0)
    shares /= values[:, first : first + 1]  # how much of the carrier each of them is
    return _Load(reader, gone, positions.roll(-first), _summed(cut, reader, shares))


def _summed(cut: _Cut, reader: Reader, shares: Tensor) -> Tensor:
    """Return (out, ...) float64: a reader's weights, summed over its inputs; rows that stay.

    Args:
        cut: The networks.
        reader: The layer.
        shares: (groups, in / groups).
    """
    weight = _by_output(named_tensors(cut.model)[reader.weight], reader).detach().double().cpu()
    per_group = weight.reshape(len(shares), -1, *weight.shape[1:])
    total = torch.einsum("goi...,gi->go...", per_group, shares).flatten(0, 1)
    rows = cut.table.tags.get((reader.weight, 1 - reader.dimension))
    return total if rows is None else total[~torch.isin(rows, cut.tags)]


def _write_(smaller: nn.Module, load: _Load) -> None:
    weight = _by_output(named_tensors(smaller)[load.reader.weight].data, load.reader)
    weight[:, load.positions.to(weight.device)] = 0
    weight[:, int(load.positions[0])] = load.weight.to(weight)


def _fold_others_(
    smaller: nn.Module,
    model: nn.Module,
    table: ChannelTable,
    tags: Tensor,
    inputs: Inputs,
    carriers: Mapping[str, int],
    loads: Sequence[_Load],
) -> Fold:
    """Fold what no carrier hands on: the fold is shown a network that does not read the rest."""
    muted = silenced(model, table, _all_silent(tags, carriers))
    tensors = named_tensors(muted)
    carried: dict[str, Tensor] = {}
    for load in loads:
        several = [carried[load.reader.weight]] if load.reader.weight in carried else []
        carried[load.reader.weight] = torch.cat((*several, load.gone))
        columns = torch.isin(table.tags[load.reader.weight, load.reader.dimension], load.gone)
        _by_output(tensors[load.reader.weight].data, load.reader)[:, columns] = 0
    fold = fold_constants_(smaller, muted, table, tags, inputs)
    left = {
        reader.path
        for reader in readers_of(table, tags)
        if _has_others(table, reader, tags, carried.get(reader.weight))
    }
    return Fold(
        tuple(path for path in fold.layers if path in left),
        tuple(path for path in fold.skipped if path in left),
    )


def _has_others(table: ChannelTable, reader: Reader, tags: Tensor, carried: Tensor | None) -> bool:
    held = table.tags[reader.weight, reader.dimension]
    gone = torch.isin(held, tags)
    return bool((gone if carried is None else gone & ~torch.isin(held, carried)).any())


def _fold_error(
    model: nn.Module, table: ChannelTable, reader: Reader, gone: Tensor, seen: Seen
) -> float:
    """Return what the fold leaves wrong in a reader's output, relative to how that varies."""
    layer: Any = model.get_submodule(reader.path)
    if not isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)):
        return 0.0
    groups = getattr(layer, "groups", 1)
    removed = torch.isin(table.tags[reader.weight, reader.dimension], gone)
    values = torch.where(removed, seen.constants().view(groups, -1), 0.0).flatten()
    weight = layer.weight
    blank = torch.zeros(seen.shape, device=weight.device, dtype=weight.dtype)
    constants = blank.movedim(seen.axis, -1) + values.to(weight)
    with torch.no_grad():
        said = layer.forward(constants.movedim(-1, seen.axis)) - layer.forward(blank)
    if not isinstance(layer, TRANSPOSED) and (
        layer.bias is not None or reader.weight in table.norms
    ):
        folded = contribution(weight, values.double(), removed, groups)
        said = said.movedim(seen.axis, -1) - folded.to(said)
    return float(said.double().square().mean().sqrt()) / max(seen.spread, STEADY)


def _unfit(model: nn.Module, table: ChannelTable, tag: int) -> str:
    """Return why a channel cannot become a carrier, whatever it is given; "" when it can."""
    tensors, makers = named_tensors(model), makers_of(table, torch.zeros(0), tag)
    if not any(made.share for made in makers):
        return "no layer that makes it has a bias or a batch norm"
    for name in {made.tensor for made in makers}:
        if name in table.norms and _norm(table, name, "weight") not in tensors:
            return f"{name} is normalised without scales"
    readers = readers_of(table, torch.tensor([tag]))
    for reader in readers:
        layer = model.get_submodule(reader.path)
        weight = tensors[reader.weight]
        known = isinstance(layer, (*CONVOLUTIONS, nn.Linear)) or (
            isinstance(layer, TRANSPOSED) and layer.groups == 1
        )
        shared = sum(other is weight for other in tensors.values()) > 1
        if not known or shared or reader.weight != f"{reader.path}.weight":
            return f"{reader.weight} reads it, which is {'shared' if shared else 'no plain layer'}"
    return "" if readers else "no layer reads it"


def _alive(model: nn.Module, table: ChannelTable) -> Tensor:
    """Return the tags of channels whose scales (or filters, without one) are not all 0."""
    tensors = named_tensors(model)
    alive = [torch.zeros(0, dtype=torch.int64)]
    for (name, dimension), role in table.roles.items():
        if role != "filter":
            continue
        scale = _norm(table, name, "weight")
        place = (scale, 0) if scale in tensors and (scale, 0) in table.tags else (name, dimension)
        held = table.tags[place]
        values = tensors[place[0]].detach().movedim(place[1], 0).reshape(len(held), -1)
        alive.append(held[values.any(dim=1).cpu()])
    return torch.cat(alive)


def _norm(table: ChannelTable, weight: str, attribute: str) -> str:
    """Return the name of a tensor of the batch norm behind a weight; "" without one."""
    norm = table.norms.get(weight, "").rpartition(".")[0]
    return f"{norm}.{attribute}" if norm else ""


def _all_silent(tags: Tensor, carriers: Mapping[str, int]) -> Tensor:
    return torch.cat((tags, torch.tensor(list(carriers.values()), dtype=tags.dtype)))


def _gone(table: ChannelTable, tags: Tensor, name: str, tag: int) -> Tensor:
    """Return the tags of a group whose constants its carrier hands on, its own among them."""
    (group,) = (group for group in table.free_groups if group.name == name)
    return group.tags[torch.isin(group.tags, tags) | (group.tags == tag)]


def _by_output(weight: Tensor, reader: Reader) -> Tensor:
    """Return a view of a weight as (out, in / groups, ...)."""
    return weight.movedim(reader.dimension, 1)
