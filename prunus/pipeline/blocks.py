"""Which whole blocks of a detector go before its channels are cut, and how many."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

from torch import Tensor, nn

from prunus.core.console import log
from prunus.model.detector import Detector
from prunus.prune.blocks.damage import block_damage
from prunus.prune.blocks.find import Block, removable_blocks
from prunus.prune.blocks.remove import left_out
from prunus.prune.evidence import Calibration

Paths = tuple[str, ...]
Result = TypeVar("Result")


def cheapest_blocks(
    detector: Detector, calibration: Calibration, saved: Callable[[Block], float]
) -> Iterator[Paths]:
    """Yield no block, then one more each time: the one that loses least for what it saves.

    What is lost is measured anew without those that went before it.

    Args:
        detector: Stays as it is.
        calibration: Its images.
        saved: What a block costs, in milliseconds or operations.
    """
    gone: list[str] = []
    blocks = {block.path: block for block in removable_blocks(detector)}
    yield ()
    while left := [path for path in blocks if path not in gone]:
        with left_out(detector, gone):
            images = cast(Iterable[Tensor], calibration.batches())
            damage = block_damage(detector, left, images)
        gone.append(min(left, key=lambda path: damage[path] / saved(blocks[path])))
        log.info("block %s: taken out, relative error %.3f", gone[-1], damage[gone[-1]])
        yield tuple(gone)


def best_of(
    removals: Iterable[Paths],
    cut: Callable[[Paths], Result],
    network: Callable[[Result], nn.Module],
    error: Callable[[nn.Module], float],
) -> Result:
    """Return the best cut under one budget, with ever more blocks gone and ever more channels kept.

    Ends at the first block that does not help.

    Args:
        removals: Growing, as `cheapest_blocks` yields them; at least one.
        cut: Without these blocks, to the budget.
        network: Of a cut.
        error: Of a network's outputs, on images that judge.
    """
    best: tuple[float, Result] | None = None
    for gone in removals:
        result = cut(gone)
        lost = error(network(result))
        log.info("%d blocks taken out, and channels: relative error %.4f", len(gone), lost)
        if best is not None and lost >= best[0]:
            break
        best = (lost, result)
    assert best is not None
    return best[1]
