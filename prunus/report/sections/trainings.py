"""The curves of trainings, overlaid."""

from collections.abc import Mapping, Sequence

from prunus.report.blocks import SLOTS, Block, Figure, Figures, Key, MissingError
from prunus.report.compressed import Compressed
from prunus.report.sources import Rows, Source
from prunus.report.svg.lines import Line, line_chart, thinned

PANELS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("mAP50-95", "validation mAP50-95", ("metrics/mAP_0.5:0.95",)),
    ("mAP50", "validation mAP50", ("metrics/mAP_0.5",)),
    ("box loss", "box loss; dashed: on validation", ("train/box_loss", "val/box_loss")),
    (
        "objectness loss",
        "objectness loss; dashed: on validation",
        ("train/obj_loss", "val/obj_loss"),
    ),
    ("class loss", "class loss; dashed: on validation", ("train/cls_loss", "val/cls_loss")),
    ("learning rate", "learning rate of the weights", ("x/lr1",)),
)
"""Name of the axis, caption, and columns of results.csv, the second of which is dashed."""
MOST = 4000
"""Points of all curves of a panel together: the page must stay small."""


def trainings(run: Compressed) -> Sequence[Block]:
    """Return the curves of all stages that trained."""
    return curves({source.name: source for source in run.of_verb("train")})


def curves(sources: Mapping[str, Source]) -> Sequence[Block]:
    """Return the panels of those runs that trained, by name.

    Raises:
        MissingError: None has a results.csv.
    """
    found = [(name, source.results) for name, source in sources.items() if source.results]
    if not found:
        raise MissingError("no training has left a results.csv.")
    figures = [figure for panel in PANELS if (figure := _panel(found, *panel)) is not None]
    legend = [
        Key(name, place, "dashed" if place >= SLOTS else "line")
        for place, (name, _) in enumerate(found)
    ]
    return [Figures(figures, legend)]


def _panel(
    found: Sequence[tuple[str, Rows]], axis: str, caption: str, columns: Sequence[str]
) -> Figure | None:
    most = max(20, MOST // len(found))
    lines = [
        line
        for slot, (name, rows) in enumerate(found)
        for place, column in enumerate(columns)
        if (line := _line(name, rows, column, slot, dashed=place > 0, most=most)) is not None
    ]
    if not lines:
        return None
    ends = "; ".join(f"{line.name} ends at {line.ys[-1]:.4g}" for line in lines if not line.dashed)
    return Figure(line_chart(f"{caption} over epochs: {ends}", lines, "epoch", axis), caption)


def _line(name: str, rows: Rows, column: str, slot: int, *, dashed: bool, most: int) -> Line | None:
    pairs = [
        (float(place), value)
        for place, row in enumerate(rows, start=1)
        if (value := row.get(column)) is not None
    ]
    if not pairs:
        return None
    kept = thinned(pairs, most)
    return Line(name, [x for x, _ in kept], [y for _, y in kept], slot, dashed)
