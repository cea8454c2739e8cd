"""Trackio: runs kept on this machine, shown by `trackio show`; TRACKIO_SPACE_ID shares them."""

import trackio

from prunus.train.loggers.contract import Logger, RunFacts
from prunus.train.loggers.tracker import Tracker


def open_logger(facts: RunFacts) -> Logger:
    """Begin a run, or go on with it: Trackio knows runs by their names only."""
    name = f"{facts.folder.resolve().name}-{facts.identity}"
    return Tracker(trackio, facts, name=name, resume="allow")
