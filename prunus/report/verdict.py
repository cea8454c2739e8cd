"""What a compress run comes to: the sentence, the target, the figures that sum it up."""

from collections.abc import Sequence

from prunus.report.blocks import Block, Paragraph, Tile, Tiles, Verdict
from prunus.report.compressed import RESULT, Compressed, Model, compared
from prunus.report.sections.search import unit
from prunus.report.values import number, text
from prunus.report.wording import between, count, decimal, percent, plural, points, times

SHRUNK = (
    ("params", "parameters", count, ""),
    ("gflops", "operations", decimal, " GFLOPs"),
    ("file_mb", "file size", decimal, " MB"),
)
"""What a pruned model has less of: its name in the report, in words, and how it is written."""
ROUND_OFF = 1e-9
COUNTED = {"latency_ms": "ms", "size_mb": "MB"}
"""Kinds of targets that are absolute, and their units."""


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
    pair = compared(run)
    if pair is not None:
        blocks.append(Tiles(_tiles(run, *pair)))
    target = _target(run)
    return [*blocks, Paragraph(target)] if target else blocks


def reached(run: Compressed, kind: str) -> float | None:
    """Return what the result has of the target's kind: a factor, a share, or an absolute figure."""
    pair = compared(run)
    if pair is None:
        return None
    fair, result = pair
    if kind == "speedup":
        return run.speedup(result, run.runtime)
    if kind == "latency_ms":
        return result.latency_ms.get(run.runtime)
    if kind == "size_mb":
        return result.figure("file_mb")
    if kind in ("flops", "params"):
        return _ratio(result, fair, {"flops": "gflops"}.get(kind, kind))
    trial = run.accepted_trial
    return None if trial is None else number(trial.get("achieved"))


def _sentence(run: Compressed) -> str:
    """Say it ourselves where the run does not."""
    pair = compared(run)
    if pair is None:
        return "The run does not say what it came to, and names no model that is shipped."
    fair, result = pair
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
        lost = run.max_drop is not None and -change * 100 > run.max_drop + ROUND_OFF
        mood = "bad" if lost else ""
        tiles.append(Tile(points(change), f"points on {label}", detail, mood))
    for name, label, shown, suffix in SHRUNK:
        own, other = result.figure(name), fair.figure(name)
        if own is not None and other:
            detail = f"{shown(other)} → {shown(own)}{suffix}"
            tiles.append(Tile(percent(own / other - 1), label, detail))
    return tiles


def _target(run: Compressed) -> str:
    """Return the target, and what was reached of it, in a sentence or two."""
    kind, asked = text(run.target.get("kind")), number(run.target.get("asked"))
    if not kind or asked is None:
        return ""
    own = reached(run, kind)
    shown = [_figure(kind, value, unit(run)) for value in (asked, own)]
    where = f" in {run.runtime}" if run.runtime else ""
    words = f"Target: {shown[0]}{where}"
    if run.max_drop is not None:
        words += f", at most {plural(run.max_drop, 'point')} of mAP50-95 lost on validation"
    result = run.of_role(RESULT)
    change = None if result is None else run.change(result, "val")
    words += f". Reached: {shown[1]}" if own is not None else ". What was reached is not known"
    if change is not None and own is not None:
        words += f", {points(change)} points"
    met = {"True": " Met.", "False": " Not met."}.get(str(run.verdict.get("met")), "")
    return f"{words}.{met}"


def _figure(kind: str, value: float | None, word: str) -> str:
    if kind == "speedup":
        return f"{times(value)} speed-up"
    return f"{decimal(value)} {COUNTED.get(kind, word)}"


def _ratio(result: Model, fair: Model, name: str) -> float | None:
    own, other = result.figure(name), fair.figure(name)
    return None if own is None or not other else own / other
