"""Blocks taken out of a network, and the proof that it then computes what it should."""

import copy
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.probe import Inputs, call_quietly
from prunus.model.detector import Detector
from prunus.model.families.yolov5 import repeats_of
from prunus.prune.blocks.find import example, survey
from prunus.prune.comparison import FAILURES, difference

Network = TypeVar("Network", bound=nn.Module)

ROUNDING = 1e-6
"""Both networks run the same operations; a GPU may still choose another algorithm for one."""


class Through(nn.Identity):
    """Stands where a block was: hands on its first argument, whatever else it is called with."""

    def forward(self, input: Tensor, *_others: object, **_switches: object) -> Tensor:
        return input


def remove_blocks(model: Network, paths: Iterable[str], inputs: Inputs | None = None) -> Network:
    """Return a copy of the network without some blocks, whose inputs take their place.

    Entries of an `nn.Sequential` are deleted and the later ones renumbered; other blocks are
    replaced by an `nn.Identity`. A detector's `spec` says the repeats that are left, under a depth
    multiple of 1. Modes, `requires_grad` and hooks are those of `model`, which stays as it is.

    Args:
        model: Any.
        paths: Of blocks that `removable_blocks` lists, as they are called before anything goes.
        inputs: As for `removable_blocks`.

    Raises:
        PruningError: A path is no such block, or the network does not bear that blocks are missing.
            It is not handed out then.
    """
    gone = tuple(dict.fromkeys(paths))
    smaller = copy.deepcopy(model)
    if not gone:
        return smaller
    inputs = example(model, inputs)
    survey(model, inputs).check(gone)
    take_out_(smaller, gone)
    _prove(model, smaller, gone, inputs)
    return smaller


@contextmanager
def left_out(model: nn.Module, paths: Iterable[str]) -> Iterator[None]:
    """While open, these modules of `model` hand on their only input."""
    modules = [model.get_submodule(path) for path in paths]
    own = [vars(module).get("forward") for module in modules]
    for module in modules:
        module.forward = Through().forward
    try:
        yield
    finally:
        for module, forward in zip(modules, own, strict=True):
            if forward is None:
                del module.forward
            else:
                module.forward = forward


def take_out_(model: nn.Module, paths: Iterable[str]) -> None:
    """Take blocks out, in place and unproved; the rows of a detector then say fewer repeats."""
    entries: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        parent, _, name = path.rpartition(".")
        entries[parent].add(name)
    for parent, names in entries.items():
        holder = model.get_submodule(parent)
        if isinstance(holder, nn.Sequential) and type(holder).forward is nn.Sequential.forward:
            _shorten_(holder, names)
        else:
            for name in names:
                mode = holder.get_submodule(name).training
                holder.add_module(name, Through().train(mode))
    if entries and isinstance(model, Detector):
        model.spec = model.spec.with_repeats([repeats_of(row) for row in model.model])


def _shorten_(chain: nn.Sequential, names: Collection[str]) -> None:
    """Delete entries; the others close up if they are numbered, and keep their names if named."""
    entries = list(chain._modules.items())
    numbered = all(name == str(place) for place, (name, _) in enumerate(entries))
    kept = [(name, module) for name, module in entries if name not in names]
    chain._modules.clear()
    for place, (name, module) in enumerate(kept):
        chain.add_module(str(place) if numbered else name, module)


def _prove(model: nn.Module, smaller: nn.Module, paths: Collection[str], inputs: Inputs) -> None:
    """Run both: with blocks taken out, and with the same blocks handing on their inputs."""
    where = f"without {', '.join(paths)}"
    with left_out(model, paths):
        expected = call_quietly(model, inputs)
    try:
        outputs = call_quietly(smaller, inputs)
    except FAILURES as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise PruningError(
            f"{where} the network does not run: {reason}. Its code counts on them: keep them."
        ) from error
    off_by = difference(outputs, expected)
    if not off_by <= ROUNDING:
        raise PruningError(
            f"{where} the network computes something else (off by {off_by:.1e}, relative): its "
            "code counts on them. Keep them."
        )
