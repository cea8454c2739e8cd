"""What is lost when one group of layers alone is cut."""

from collections.abc import Sequence

from prunus.report.blocks import Block, Figure, Figures, Key, MissingError, Paragraph
from prunus.report.compressed import Compressed
from prunus.report.sections.channels import layer_name
from prunus.report.sources import Source
from prunus.report.svg.axes import Mark
from prunus.report.svg.lines import Line, line_chart
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
    return [block for stage in stages for block in _blocks(stage)]


def _blocks(stage: Source) -> list[Block]:
    """Return the curves of one measurement, the most sensitive groups in colour."""
    lines = _lines(records(stage.report.get("groups")))
    if not lines:
        raise MissingError(f"the report of {stage.name} has no groups.")
    legend = [Key(line.name, line.slot) for line in lines if line.slot is not None]
    named = "; ".join(key.name for key in legend)
    if len(lines) > NAMED:
        legend.append(Key(f"{len(lines) - NAMED} other groups", -1))
    limit = number(stage.settings.get("max_drop"))
    lost = LOST.get(text(stage.report.get("score")), "share lost")
    svg = line_chart(
        f"{lost} over the share of a group's channels removed; least safe: {named}",
        lines,
        "share of the group's channels removed",
        lost,
        mark=None if limit is None else Mark(limit, f"allowed: {limit:g}"),
        y_range=(0.0, 1.0),
    )
    words = f"{stage.name}: each of {len(lines)} groups cut alone, before any repair."
    return [
        Paragraph(words),
        Figures([Figure(svg, f"{lost}; what lies above 1 is drawn at 1.")], legend),
    ]


def _lines(groups: Sequence[Record]) -> list[Line]:
    """Return a curve of each group that has one, those that can be cut least first."""
    lines: list[Line] = []
    for group in sorted(groups, key=_safe):
        ratios, drops = numbers(group.get("ratios")), numbers(group.get("drops"))
        if ratios and len(ratios) == len(drops):
            name = f"{layer_name(text(group.get('group')))}, safe to {_safe(group):.0%}"
            slot = len(lines) if len(lines) < NAMED else None
            lines.append(Line(name, [0.0, *ratios], [0.0, *drops], slot))
    return lines


def _safe(group: Record) -> float:
    """Return the share of its channels that can be cut at the allowed loss."""
    return number(group.get("safe")) or 0.0
