"""The widths worth choosing: the lower envelope of a cost that goes in steps."""

from collections.abc import Callable


def efficient_widths(
    cost: Callable[[int], float], most: int, *, least: int = 1, saving: float = 0.0
) -> tuple[int, ...]:
    """Return the widths, ascending, for which no larger width is as cheap.

    Args:
        cost: Channels -> milliseconds: of one layer, or of all layers that a group's width decides.
        most: The largest width; always among the answers.
        least: The smallest one looked at.
        saving: A width counts as cheaper only from this share below the next larger one's cost; a
            few per cent keep measurement noise from inventing steps.
    """
    found = [most]
    cheapest = cost(most)
    for width in range(most - 1, least - 1, -1):
        ms = cost(width)
        if ms < cheapest * (1 - saving):
            found.append(width)
            cheapest = ms
    return tuple(reversed(found))
