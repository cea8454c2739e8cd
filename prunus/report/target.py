"""The target of a compress run, and what was reached of it."""

from prunus.report.compressed import Compressed
from prunus.report.values import number, text
from prunus.report.wording import decimal, plural, points, times

UNITS = {
    "speedup": "speed-up",
    "latency_ms": "milliseconds",
    "flops": "share of the FLOPs",
    "params": "share of the parameters",
    "size_mb": "MB",
    "percent": "share of the channels",
}
"""What a target's kind is counted in."""
FACTS = {"flops": "gflops", "params": "params"}
"""Kinds that are shares of what the fair comparator has, and the figure of a model."""


def unit(run: Compressed) -> str:
    """Return what the target is counted in."""
    kind = text(run.target.get("kind"))
    return UNITS.get(kind, kind or "budget")


def reached(run: Compressed, kind: str) -> float | None:
    """Return what the result has of the target's kind: a factor, a share, or an absolute figure."""
    if run.pair is None:
        return None
    fair, result = run.pair
    if kind == "speedup":
        return run.speedup(result, run.runtime)
    if kind == "latency_ms":
        return result.latency_ms.get(run.runtime)
    if kind == "size_mb":
        return result.figure("file_mb")
    if kind in FACTS:
        own, other = (model.figure(FACTS[kind]) for model in (result, fair))
        return None if own is None or not other else own / other
    trial = run.chosen_trial
    return None if trial is None else number(trial.get("achieved"))


def target_words(run: Compressed) -> str:
    """Return the target, and what was reached of it, in a sentence or two; "" without one."""
    kind, asked = text(run.target.get("kind")), number(run.target.get("asked"))
    if not kind or asked is None:
        return ""
    where = f" in {run.runtime}" if run.runtime else ""
    words = f"Target: {_figure(run, kind, asked)}{where}"
    if run.max_drop is not None:
        words += f", at most {plural(run.max_drop, 'point')} of mAP50-95 lost on validation"
    own = reached(run, kind)
    if own is None:
        words += ". What was reached is not known"
    else:
        words += f". Reached: {_figure(run, kind, own)}"
        change = None if run.result is None else run.change(run.result, "val")
        words += "" if change is None else f", {points(change)} points"
    met = {"True": " Met.", "False": " Not met."}.get(str(run.verdict.get("met")), "")
    return f"{words}.{met}"


def _figure(run: Compressed, kind: str, value: float) -> str:
    if kind == "speedup":
        return f"{times(value)} speed-up"
    return f"{decimal(value)} {'ms' if kind == 'latency_ms' else unit(run)}"
