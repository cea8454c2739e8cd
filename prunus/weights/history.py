"""`Step`: one line of a detector's history, as its file keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

import prunus
from prunus.core.errors import WeightsError
from prunus.core.runs import finite


@dataclass(frozen=True)
class Step:
    """One thing that was done to a detector.

    Attributes:
        verb: What ran: train, prune …
        settings: What it was told.
        parent: SHA-256 of the file that it started from; "" when from nothing.
        metrics: What it measured.
        version: Version of Prunus.
    """

    verb: str
    settings: Mapping[str, object] = field(default_factory=dict)
    parent: str = ""
    metrics: Mapping[str, object] = field(default_factory=dict)
    version: str = prunus.__version__

    def to_mapping(self) -> dict[str, object]:
        """Return JSON's types; of paths the last part, so that a file tells nobody's folders."""
        return {
            "verb": self.verb,
            "settings": _sharable(self.settings),
            "parent": self.parent,
            "metrics": _sharable(self.metrics),
            "version": self.version,
        }


def step_from_mapping(value: object) -> Step:
    """Read back what `Step.to_mapping` wrote.

    Raises:
        WeightsError: It has other keys or types.
    """
    match value:
        case {
            "verb": str(verb),
            "settings": dict(settings),
            "parent": str(parent),
            "metrics": dict(metrics),
            "version": str(version),
        }:
            return Step(verb, settings, parent, metrics, version)
    raise WeightsError("has a damaged history in its header. Copy the file again.")


def _sharable(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _sharable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sharable(item) for item in value]
    if isinstance(value, PurePath) or (isinstance(value, str) and PurePath(value).is_absolute()):
        return PurePath(value).name
    return finite(value)
