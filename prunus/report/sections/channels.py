"""How wide each layer was and is."""

from collections.abc import Sequence

from prunus.report.blocks import (
    Block,
    Cell,
    Details,
    Figure,
    Figures,
    Key,
    MissingError,
    Paragraph,
    Table,
    columns,
)
from prunus.report.compressed import Compressed
from prunus.report.sources import Source
from prunus.report.svg.bars import Bar, bar_chart
from prunus.report.values import records, text, texts, whole
from prunus.report.wording import percent

A_COLUMN = 30
"""Layers in one drawing."""
LEGEND = (Key("kept", 0, "bar kept"), Key("removed", -1, "bar"))


def channels(run: Compressed) -> Sequence[Block]:
    """Return the widths before the first cut of what is shipped and after the last."""
    stages = run.prunings()
    if not stages:
        raise MissingError("no stage that prunes is in the run folder.")
    bars, reasons = widths_of(stages)
    if not bars:
        raise MissingError(f"the report of {stages[-1].name} has no widths.")
    kept, all_ = sum(bar.after for bar in bars), sum(bar.before for bar in bars)
    changed = sum(bar.after != bar.before for bar in bars)
    blocks = [name for stage in stages for name in texts(stage.report.get("blocks"))]
    without = f" Whole blocks taken out first: {', '.join(blocks)}." if blocks else ""
    words = (
        f"{kept:,} of {all_:,} channels are kept; {changed} of {len(bars)} groups of layers became "
        f"narrower. Layers that share their channels are one row.{without}"
    )
    most = max(bar.before for bar in bars)
    parts = [bars[start : start + A_COLUMN] for start in range(0, len(bars), A_COLUMN)]
    figures = [_figure(part, most) for part in parts]
    return [
        Paragraph(words),
        Figures(figures, LEGEND),
        Details("Widths as a table", [_table(bars, reasons)]),
    ]


def widths_of(stages: Sequence[Source]) -> tuple[list[Bar], dict[str, str]]:
    """Return the width of each group before the first stage and after the last, and reasons."""
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for stage in stages:
        seen = set()
        for row in records(stage.report.get("widths")):
            name = text(row.get("name"))
            old, new = whole(row.get("before")), whole(row.get("after"))
            if not name or old is None or new is None or min(old, new) < 0:
                continue
            seen.add(name)
            before.setdefault(name, old)
            after[name] = new
            reasons[name] = text(row.get("reason"))
        for gone in set(after) - seen if seen else ():
            after[gone] = 0  # its block was taken out
    return [Bar(name, before[name], after[name]) for name in before], reasons


def layer_name(name: str) -> str:
    """Return the first layer of a group without what all have, and how many others there are."""
    first, *others = name.split("+")
    short = first.removeprefix("model.").removesuffix(".conv")
    return f"{short} +{len(others)}" if others else short


def _figure(bars: Sequence[Bar], most: int) -> Figure:
    shown = [Bar(layer_name(bar.name), bar.before, bar.after) for bar in bars]
    first, last = shown[0].name, shown[-1].name
    before, after = sum(bar.before for bar in bars), sum(bar.after for bar in bars)
    title = f"Channels before and after, {first} to {last}: {before} to {after}"
    svg = bar_chart(title, shown, most=most)
    return Figure(svg, f"{first} to {last}: {before:,} → {after:,} channels.")


def _table(bars: Sequence[Bar], reasons: dict[str, str]) -> Table:
    rows = []
    for bar in bars:
        change = (bar.after - bar.before) / bar.before if bar.before else None
        rows.append(
            [
                Cell(bar.name, bar.name),
                Cell(str(bar.before), bar.before),
                Cell(str(bar.after), bar.after),
                Cell(percent(change), change),
                Cell(reasons.get(bar.name, "")),
            ]
        )
    headings = columns("layers") + columns("before", "after", "change", numeric=True)
    headings += columns("why no fewer")
    return Table("Channels of each group of layers", headings, rows)
