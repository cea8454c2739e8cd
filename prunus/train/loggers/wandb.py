"""Weights & Biases. WANDB_MODE=offline keeps everything in the run folder."""

import wandb

from prunus.train.loggers.contract import Logger, RunFacts
from prunus.train.loggers.tracker import Tracker


def open_logger(facts: RunFacts) -> Logger:
    """Begin a run that is called like the folder, or go on with it."""
    folder = facts.folder.resolve()
    return Tracker(
        wandb,
        facts,
        {"exit_code": 1},
        id=facts.identity,
        name=folder.name,
        dir=str(folder),
        resume="allow",
    )
