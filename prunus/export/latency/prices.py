"""Between measured widths: linear in the outputs, then in the inputs, of one lane."""

from collections.abc import Mapping, Sequence

Prices = dict[tuple[int, int], float]
"""Milliseconds of one call by (channels in, channels out)."""


def price(prices: Prices, inputs: int, outputs: int) -> float:
    """Return the milliseconds of a pair of widths.

    Below the least measured width its own price is asked; above the largest the price grows in
    proportion.
    """
    rows: dict[int, dict[int, float]] = {}
    for (row, column), ms in prices.items():
        rows.setdefault(row, {})[column] = ms
    around = _around(sorted(rows), inputs)
    return between({row: between(rows[row], outputs) for row in around}, inputs)


def between(known: Mapping[int, float], width: int) -> float:
    """Return the price of a width from those around it."""
    widths = sorted(known)
    if width <= widths[0]:
        return known[widths[0]]
    if width > widths[-1]:
        return known[widths[-1]] * width / widths[-1]
    lower, upper = _around(widths, width)
    if lower == upper:
        return known[lower]
    share = (width - lower) / (upper - lower)
    return known[lower] * (1 - share) + known[upper] * share


def _around(widths: Sequence[int], width: int) -> tuple[int, int]:
    """Return the nearest of the ascending widths at or below, and at or above."""
    lower = max((known for known in widths if known <= width), default=widths[0])
    upper = min((known for known in widths if known >= width), default=widths[-1])
    return lower, upper
