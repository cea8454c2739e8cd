"""The sizes of batch norms' gammas over the epochs of trainings for sparsity."""

from collections.abc import Mapping, Sequence

from prunus.report.blocks import Block, Figure, Figures, Key, MissingError, Paragraph
from prunus.report.compressed import Compressed
from prunus.report.events import SHARES, GammaHistory, Histogram, read_gammas
from prunus.report.sources import Source
from prunus.report.svg.lines import Line, line_chart, thinned
from prunus.report.svg.ridges import Hill, ridge_chart

HILLS, BINS = 10, 56
TAIL = 0.995
"""Share of the gammas that the axis holds; the largest few would leave the rest no room."""
LEGEND = [Key(name, slot) for slot, name in enumerate(SHARES.values())]


def gammas(run: Compressed) -> Sequence[Block]:
    """Return a drawing of hills, and one of shares, for each training for sparsity."""
    stages = [stage for stage in run.of_verb("train") if stage.settings.get("sparsity") is not None]
    if not stages:
        raise MissingError("no stage trained for sparsity.")
    figures: list[Figure] = []
    for stage in stages:
        figures += gamma_figures(stage, read_gammas(stage.folder))
    words = (
        "Sizes of the gammas that were pulled towards 0, epoch by epoch. Heights are square roots, "
        "so that small numbers are seen too."
    )
    return [Paragraph(words), Figures(figures, LEGEND)]


def gamma_figures(stage: Source, history: GammaHistory) -> list[Figure]:
    """Return the drawings of one training."""
    epochs = sorted(history.histograms)
    shown = thinned(epochs, HILLS)
    most = max(_quantile(history.histograms[epoch], TAIL) for epoch in shown) or 1.0
    hills = [
        Hill(f"{epoch + 1}", rebinned(history.histograms[epoch], most, BINS)) for epoch in shown
    ]
    title = f"Gammas of {stage.name} over {len(epochs)} epochs: a histogram an epoch"
    figures = [
        Figure(ridge_chart(title, hills, most, "size of a gamma"), f"{stage.name}, by epoch.")
    ]
    lines = [_line(key, history.shares[key.name]) for key in LEGEND if key.name in history.shares]
    if lines:
        ends = "; ".join(f"{line.name}: {line.ys[-1]:.1%} at the end" for line in lines)
        svg = line_chart(f"Share of small gammas in {stage.name}: {ends}", lines, "epoch", "share")
        figures.append(Figure(svg, f"{stage.name}: share of the gammas that are all but 0."))
    return figures


def _line(key: Key, shares: Mapping[int, float]) -> Line:
    epochs = sorted(shares)
    return Line(key.name, [epoch + 1 for epoch in epochs], [shares[e] for e in epochs], key.slot)


def rebinned(found: Histogram, most: float, bins: int) -> list[float]:
    """Return counts in equal bins from 0 to `most`, each bucket spread evenly over its width."""
    counts = [0.0] * bins
    width = most / bins
    for low, high, count in zip(found.edges, found.edges[1:], found.counts, strict=False):
        if count <= 0 or low >= most:
            continue
        if high <= low:
            counts[min(int(low / width), bins - 1)] += count
            continue
        first, last = int(low / width), min(int(high / width), bins - 1)
        for place in range(first, last + 1):
            overlap = min(high, (place + 1) * width) - max(low, place * width)
            counts[place] += count * max(overlap, 0.0) / (high - low)
    return counts


def _quantile(found: Histogram, share: float) -> float:
    """Return the edge up to which this share of the counts lies."""
    wanted, seen = share * sum(found.counts), 0.0
    for high, count in zip(found.edges[1:], found.counts, strict=True):
        seen += count
        if seen >= wanted:
            return high
    return found.edges[-1]
