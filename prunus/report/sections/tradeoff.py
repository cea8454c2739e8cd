"""Accuracy against latency, a drawing for each runtime; that of the target comes first."""

from collections.abc import Sequence

from prunus.report.blocks import Block, Figure, Figures, Key, MissingError
from prunus.report.compressed import RESULT, Compressed
from prunus.report.judged import Model
from prunus.report.svg.scatter import Dot, front_words, scatter_chart
from prunus.report.wording import decimal, share

MOST_RUNTIMES = 6
LEGEND = (
    Key("shipped", 0, "dot"),
    Key("pruned or quantized", 0, "ring"),
    Key("comparators", 1, "ring"),
)


def tradeoff(run: Compressed) -> Sequence[Block]:
    """Return the drawings."""
    shown = run.runtimes[:MOST_RUNTIMES]
    figures = [figure for name in shown if (figure := _figure(run, name)) is not None]
    if not figures:
        raise MissingError("no model has both an accuracy and a latency.")
    return [Figures(figures, LEGEND)]


def _figure(run: Compressed, runtime: str) -> Figure | None:
    dots = [
        Dot(model.name, ms, accuracy, model.val.spread, _slot(model), model is not run.result)
        for model in run.models
        if (ms := model.latency_ms.get(runtime)) is not None
        and (accuracy := model.val.map50_95) is not None
    ]
    if not dots:
        return None
    listed = "; ".join(f"{dot.name} {decimal(dot.x)} ms, {share(dot.y)}" for dot in dots)
    svg = scatter_chart(
        f"Accuracy against latency in {runtime}: {listed}", dots, f"ms in {runtime}", "mAP50-95"
    )
    spread = " Whiskers: 95 % of resamples." if any(dot.spread for dot in dots) else ""
    aim = " (the target's runtime)" if runtime == run.runtime and run.target else ""
    caption = f"{runtime}{aim}: up and to the left is better.{front_words(dots)}{spread}"
    return Figure(svg, caption)


def _slot(model: Model) -> int:
    """Return the colour: one for what was pruned, one for what it is compared with."""
    quantized = model.role.startswith("quantized") and "parent" not in model.role
    return 0 if model.role == RESULT or quantized else 1
