"""What is lost when one group of layers alone is cut."""

from collections.abc import Sequence

from prunus.report.blocks import Block, Figure, Figures, Key, MissingError, Paragraph
from prunus.report.compressed import Compressed
from prunus.report.sections.channels import layer_name
from prunus.report.sources import Source
from prunus.report.svg.lines import Line, Mark, line_chart
from prunus.report.values import Record, number, numbers, records, text

NAMED = 5
"""Groups that have a colour: those that can be cut least."""
LOST = {
    "map50_95": "share of mAP50-95 lost",
    "likeness": "relative squared error of the outputs",
}


def sensitivity(run: Compressed) -> Sequence[Block]:
    """Return the curves of each stage that measured them."""
    stages = run.of_verb("sensitivity")
    if not stages:
        raise MissingError("no stage measured it (`prunus sensitivity` does, apart).")
    return [block for stage in stages for block in sensitivity_blocks(stage)]


def sensitivity_blocks(stage: Source) -> list[Block]:
    """Return the curves of one measurement, the most sensitive groups in colour."""
    groups = [group for group in records(stage.report.get("groups")) if _curve(group) is not None]
    if not groups:
        raise MissingError(f"the report of {stage.name} has no groups.")
    groups.sort(key=lambda group: number(group.get("safe")) or 0.0)
    lines, legend = [], []
    for rank, group in enumerate(groups):
        ratios, drops = _curve(group) or ([], [])
        name, safe = layer_name(text(group.get("group"))), number(group.get("safe")) or 0.0
        slot = rank if rank < NAMED else None
        lines.append(Line(f"{name}, safe to {safe:.0%}", [0.0, *ratios], [0.0, *drops], slot))
        if slot is not None:
            legend.append(Key(lines[-1].name, slot))
    legend.append(Key(f"{max(len(groups) - NAMED, 0)} other groups", -1))
    limit = number(stage.settings.get("max_drop"))
    lost = LOST.get(text(stage.report.get("score")), "share lost")
    named = "; ".join(key.name for key in legend[:-1])
    svg = line_chart(
        f"{lost} over the share of a group's channels removed; least safe: {named}",
        lines,
        "share of the group's channels removed",
        lost,
        mark=None if limit is None else Mark(limit, f"allowed: {limit:g}"),
        y_range=(0.0, 1.0),
    )
    words = f"{stage.name}: each of {len(groups)} groups cut alone, before any repair."
    return [
        Paragraph(words),
        Figures([Figure(svg, f"{lost}; what lies above 1 is drawn at 1.")], legend),
    ]


def _curve(group: Record) -> tuple[list[float], list[float]] | None:
    ratios, drops = numbers(group.get("ratios")), numbers(group.get("drops"))
    return (ratios, drops) if ratios and len(ratios) == len(drops) else None
