"""Talking to the other processes: the end of one is a line, and who fell behind catches up.

Collectives work only where all processes take part in the same ones in the same order. One that has
given up in the middle of a pass, since its memory was short, would leave the others waiting. So it
runs the pass again with as little as it can: what it has taken part in already stays within it, and
from there on it takes part as the others expect.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunus.core.errors import PrunusError

if TYPE_CHECKING:
    from torch.overrides import TorchFunctionMode

SAID = 120
"""Characters of torch's message that are shown."""


class LostError(PrunusError):
    """Another process has ended, or cannot be reached."""


@dataclass
class _Count:
    """How many collectives this process has taken part in, and how many to keep within it."""

    heard: int = 0
    behind: int = 0


_count = _Count()


def heard() -> int:
    """Return how many collectives this process has taken part in."""
    return _count.heard


@contextmanager
def catching_up(count: int) -> Iterator[None]:
    """Keep so many sums over the processes within this one: the others have had them already."""
    _count.behind = count
    try:
        yield
    finally:
        _count.behind = 0


@contextmanager
def talking() -> Iterator[None]:
    """Stand around each collective, one at a time.

    Raises:
        LostError: Another process has ended.
    """
    if _count.behind:
        _count.behind -= 1
        with _within():
            yield
        return
    try:
        yield
    except RuntimeError as error:
        raise lost(f"another one ({str(error).splitlines()[0][:SAID]})") from error
    _count.heard += 1


def lost(who: str) -> LostError:
    """Return the error for processes that are no longer there."""
    return LostError(
        f"process {os.environ.get('RANK', '0')}: {who} has ended or cannot be reached; "
        "its own message says why."
    )


def _within() -> "TorchFunctionMode":
    """Return a context in which `all_reduce` leaves a tensor as it is."""
    import torch.distributed as dist
    from torch.overrides import TorchFunctionMode

    class Within(TorchFunctionMode):
        def __torch_function__(
            self, function: Callable[..., Any], _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            return None if function is dist.all_reduce else function(*args, **(kwargs or {}))

    return Within()
