"""Which blocks of a network can go: those whose input can stand in for their output.

A block is a module of several layers, with parameters, that is called with one tensor (and perhaps
switches) and puts out one of the same shape. Blocks lie within blocks; listed are the smallest
sensible ones, of which none contains another:

1. the innermost *residual* ones: a bottleneck rather than the stage of bottlenecks around it, and
   nothing that lies inside it, since its branch has nothing that could stand in for it;
2. apart from these the innermost entries of an `nn.Sequential` or `nn.ModuleList`: repeats, such as
   the bottlenecks without a sum in YOLOv5's neck;
3. apart from these the innermost others.

The rows of a detector can say only fewer repeats of a block: of a detector nothing else is listed.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prunus.core.errors import PruningError, suggest
from prunus.model.channels.probe import Inputs, call_quietly, tensors_in
from prunus.model.cost import count_parameters, flops_by_layer
from prunus.model.detector import Detector
from prunus.model.families.yolov5 import repeated_chain
from prunus.prune.blocks.passages import watch

PROBE_SEED = 0


@dataclass(frozen=True)
class Block:
    """A block that can go.

    Attributes:
        path: Of the module, such as `model.2.m.0`.
        residual: Whether it adds something to its input (see `passages.Passage`).
        parameters: How many would go.
        flops: Operations that would go, two per multiply-accumulate: of a detector for one
            640 x 640 image, of any other network for one of the example inputs.
    """

    path: str
    residual: bool
    parameters: int
    flops: int


@dataclass(frozen=True)
class Survey:
    """All modules of a network, judged.

    Attributes:
        blocks: Those that can go, by path, in the network's order.
        refusals: Path -> why not, of all others.
    """

    blocks: dict[str, Block]
    refusals: dict[str, str]

    def check(self, paths: Iterable[str]) -> None:
        """See that all of these can go.

        Raises:
            PruningError: One cannot; the message says why.
        """
        for path in paths:
            if path not in self.blocks:
                absent = f"there is no such module.{suggest(path, self.blocks)}"
                raise PruningError(
                    f"block '{path}' cannot be removed: {self.refusals.get(path, absent)}"
                )


def removable_blocks(model: nn.Module, inputs: Inputs | None = None) -> tuple[Block, ...]:
    """Return the blocks that can go: found in one run of the network, and counted in another.

    Args:
        model: Any; modes, hooks and tensors are as found afterwards.
        inputs: What to run it on: one tensor (B, ...) or all positional arguments; noise will do.
            A detector needs none.

    Raises:
        PruningError: Inputs are missing.
    """
    return tuple(survey(model, inputs).blocks.values())


def survey(model: nn.Module, inputs: Inputs | None = None) -> Survey:
    """Judge every module; the arguments are those of `removable_blocks`."""
    inputs = example(model, inputs)
    modules = dict(model.named_modules())
    refusals = _refused_unseen(model, modules)
    passages = watch(
        model, {path: module for path, module in modules.items() if path not in refusals}, inputs
    )
    refusals |= {path: passage.refusal for path, passage in passages.items() if passage.refusal}
    fitting = {path: p.residual for path, p in passages.items() if not p.refusal}
    chosen = _smallest_sensible(modules, fitting)
    refusals |= {path: _overlap(path, chosen) for path in fitting if path not in chosen}
    flops = _flops_below(model, inputs)
    blocks = {
        path: Block(path, residual, count_parameters(modules[path]), flops(path))
        for path, residual in fitting.items()
        if path in chosen
    }
    return Survey(blocks, refusals)


def example(model: nn.Module, inputs: Inputs | None) -> Inputs:
    """Return the inputs; for a detector that has none, a small square of noise.

    Raises:
        PruningError: It is no detector and has none.
    """
    if inputs is not None:
        return inputs
    if not isinstance(model, Detector):
        raise PruningError("blocks: give example inputs, on which this network can be run.")
    side = 2 * model.stride
    noise = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(PROBE_SEED))
    return noise.to(next(model.parameters()))


def _refused_unseen(model: nn.Module, modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """Return path -> reason of the modules that need not be watched."""
    names: dict[nn.Module, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(path)
    repeats = _repeats(model) if isinstance(model, Detector) else None
    refusals: dict[str, str] = {}
    for path, module in modules.items():
        if not path:
            refusals[path] = "it is the whole network."
        elif repeats is not None and path not in repeats:
            refusals[path] = (
                "the rows of a detector can only say fewer repeats of a block, such as "
                f"{', '.join(repeats[:2]) or 'those of a C3, which has none left'}."
            )
        elif next(module.parameters(), None) is None:
            refusals[path] = "it has no parameters."
        elif next(module.children(), None) is None:
            refusals[path] = "it is a single layer."
        elif len(names[module]) > 1:
            refusals[path] = f"it is the same module as {names[module][1]}."
    return refusals


def _repeats(detector: Detector) -> list[str]:
    """Return the paths of all repeated blocks in the rows."""
    paths = []
    for name, row in detector.model.named_children():
        chain = repeated_chain(row)
        if chain is not None:
            (inside,) = (key for key, module in row.named_children() if module is chain)
            paths += [f"model.{name}.{inside}.{number}" for number in range(len(chain))]
    return paths


def _smallest_sensible(
    modules: Mapping[str, nn.Module], fitting: Mapping[str, bool]
) -> Collection[str]:
    """Return the listed ones of the modules that fit (path -> residual), as said above."""
    chains = (nn.Sequential, nn.ModuleList)
    entries = {path for path in fitting if isinstance(modules[path.rpartition(".")[0]], chains)}
    residual = {path for path, adds in fitting.items() if adds}
    chosen: set[str] = set()
    for paths in (residual, entries, set(fitting)):
        above = {outer for path in chosen for outer in _around(path)}
        free = {p for p in paths - above - chosen if chosen.isdisjoint(_around(p))}
        chosen |= free - {outer for path in free for outer in _around(path)}
    return chosen


def _around(path: str) -> Iterator[str]:
    """Yield the paths of the modules that a module lies in."""
    while "." in path:
        path = path.rpartition(".")[0]
        yield path


def _overlap(path: str, chosen: Collection[str]) -> str:
    outer = next((outer for outer in _around(path) if outer in chosen), None)
    if outer is not None:
        return f"it lies inside '{outer}', which goes as a whole."
    inner = next(inner for inner in sorted(chosen) if inner.startswith(f"{path}."))
    return f"smaller blocks lie inside it: remove those, such as '{inner}'."


def _flops_below(model: nn.Module, inputs: Inputs) -> Callable[[str], int]:
    """Return a function that tells the operations of the module at a path."""
    if isinstance(model, Detector):
        layers = flops_by_layer(model)
        return lambda path: sum(n for name, n in layers.items() if name.startswith(f"{path}."))
    with FlopCounterMode(display=False) as counter:
        call_quietly(model, inputs)
    counts, root = counter.get_flop_counts(), type(model).__name__
    images = len(tensors_in(inputs)[0])
    return lambda path: sum(counts.get(f"{root}.{path}", {}).values()) // images
