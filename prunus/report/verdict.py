"""What a compress run comes to: the sentence, and the figures that sum it up."""

from collections.abc import Sequence

from prunus.report.blocks import Block, Paragraph, Tile, Tiles
from prunus.report.compressed import Compressed
from prunus.report.judged import Model
from prunus.report.outline import Verdict
from prunus.report.target import target_words
from prunus.report.values import text
from prunus.report.wording import between, count, decimal, percent, points, times

SHRUNK = (
    ("params", "parameters", count, ""),
    ("gflops", "operations", decimal, " GFLOPs"),
    ("file_mb", "file size", decimal, " MB"),
)
"""What a pruned model has less of: its name in the report, in words, and how it is written."""


def verdict(run: Compressed) -> Verdict:
    """Return the sentence; that pruning did not pay is said first."""
    met, paid = run.verdict.get("met"), run.verdict.get("paid")
    doubts = run.verdict.get("doubts")
    sentence = text(run.verdict.get("sentence"), 1000) or _sentence(run)
    if paid is False:
        return Verdict(sentence, "Pruning did not pay", "bad")
    if met is False:
        return Verdict(sentence, "The target was not met", "bad")
    if met is True:
        return Verdict(sentence, "The target was met", "good")
    if doubts:
        return Verdict(sentence, "No promise")
    return Verdict(sentence, "Pruning paid", "good") if paid is True else Verdict(sentence)


def lead(run: Compressed) -> Sequence[Block]:
    """Return the figures that sum the run up, and the target beside what was reached."""
    blocks: list[Block] = []
    if run.pair is not None:
        blocks.append(Tiles(_tiles(run, *run.pair)))
    target = target_words(run)
    return [*blocks, Paragraph(target)] if target else blocks


def _sentence(run: Compressed) -> str:
    """Say it ourselves where the run does not."""
    if run.pair is None:
        return "The run does not say what it came to, and names no model that is shipped."
    fair, result = run.pair
    speedup, change = run.speedup(result, run.runtime), run.change(result, "val")
    return (
        f"{result.name} against {fair.name}: {times(speedup)} in {run.runtime or 'no runtime'}, "
        f"{points(change)} points of mAP50-95."
    )


def _tiles(run: Compressed, fair: Model, result: Model) -> list[Tile]:
    runtime = run.runtime
    tiles = []
    speedup, own = run.speedup(result, runtime), result.latency_ms.get(runtime)
    if speedup is not None and own is not None:
        detail = f"{decimal(speedup * own)} → {decimal(own)} ms"
        tiles.append(Tile(times(speedup), f"as fast in {runtime}", detail))
    for split, label in (("val", "validation"), ("test", "test")):
        change, judged = run.change(result, split), getattr(result, split)
        if change is None:
            continue
        spread = f" ({between(judged.spread)})" if judged.spread else ""
        detail = f"mAP50-95 {judged.map50_95:.3f}{spread}"
        mood = "bad" if run.lost_too_much(change) else ""
        tiles.append(Tile(points(change), f"points on {label}", detail, mood))
    for name, label, shown, suffix in SHRUNK:
        own, other = result.figure(name), fair.figure(name)
        if own is not None and other:
            detail = f"{shown(other)} → {shown(own)}{suffix}"
            tiles.append(Tile(percent(own / other - 1), label, detail))
    return tiles
