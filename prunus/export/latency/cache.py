"""Measured prices on disk: one JSON file per machine, runtime with version, precision and threads.

Another machine's prices have another name, so they are never read. A damaged file counts as none.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from prunus.core.console import log
from prunus.core.files import write_text
from prunus.core.machine import machine_facts
from prunus.export.latency.prices import Prices

FORMAT = 1
MACHINE_KEYS = ("processor", "cores", "memory_gb", "system")
"""What makes another machine; a new Python or a GPU beside it does not."""

Shelves = dict[str, dict[str, Prices]]
"""Prices by layer shape, then by lane."""


@dataclass(frozen=True)
class Origin:
    """Where prices come from.

    Attributes:
        machine: Its `MACHINE_KEYS`.
        runtime: A name in RUNTIMES.
        version: Of the runtime.
        precision: That it computed in.
        threads: That the runtime computed with.
    """

    runtime: str
    version: str
    precision: str
    threads: int
    machine: Mapping[str, object]


@dataclass
class Stored:
    """What a cache file holds.

    Attributes:
        created: When its oldest price was measured.
        shelves: The prices.
    """

    created: datetime
    shelves: Shelves = field(default_factory=dict)


def this_machine() -> dict[str, object]:
    facts = machine_facts()
    return {key: facts[key] for key in MACHINE_KEYS}


def cache_file(folder: Path, origin: Origin) -> Path:
    identity = json.dumps(_identity(origin), sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return folder / f"{origin.runtime}-{origin.precision}-{origin.threads}-{digest}.json"


def read(folder: Path, origin: Origin) -> Stored:
    """Return the prices of this origin; none yet when there is no file, or a damaged one."""
    path = cache_file(folder, origin)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT or content["origin"] != _identity(origin):
            return Stored(datetime.now(timezone.utc))
        shelves = {
            shape: {
                lane: {(int(i), int(o)): float(ms) for i, o, ms in points}
                for lane, points in lanes.items()
            }
            for shape, lanes in content["prices"].items()
        }
        return Stored(datetime.fromisoformat(content["created"]), shelves)
    except FileNotFoundError:
        return Stored(datetime.now(timezone.utc))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        log.warning("%s: not readable, so the layers are measured again.", path)
        return Stored(datetime.now(timezone.utc))


def write(folder: Path, origin: Origin, kept: Stored) -> None:
    """Write the prices, whole or not at all.

    Raises:
        PrunusError: The folder cannot be written.
    """
    prices = {
        shape: {
            lane: [[i, o, ms] for (i, o), ms in sorted(points.items())]
            for lane, points in lanes.items()
        }
        for shape, lanes in sorted(kept.shelves.items())
    }
    content = {
        "format": FORMAT,
        "origin": _identity(origin),
        "created": kept.created.isoformat(timespec="seconds"),
        "prices": prices,
    }
    write_text(cache_file(folder, origin), json.dumps(content) + "\n")


def _identity(origin: Origin) -> dict[str, object]:
    return {
        "runtime": origin.runtime,
        "version": origin.version,
        "precision": origin.precision,
        "threads": origin.threads,
        "machine": dict(origin.machine),
    }
