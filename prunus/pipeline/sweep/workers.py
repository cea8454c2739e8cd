"""What the driver asks of workers, wherever they are."""

from dataclasses import dataclass
from typing import Protocol

from prunus.pipeline.sweep.trial import Job, Outcome


@dataclass(frozen=True)
class Ending:
    """How a job ended.

    Attributes:
        number: Of the trial.
        outcome: What the trial told; None if its worker died.
        reason: In that case how.
    """

    number: int
    outcome: Outcome | None
    reason: str = ""


class Workers(Protocol):
    """Processes that run jobs, here or elsewhere."""

    @property
    def count(self) -> int:
        """Jobs that can run now."""

    def start(self, job: Job) -> None:
        """Run a job; at most `count` at a time."""

    def wait(self) -> Ending:
        """Wait until one of the running jobs has ended, and return how."""

    def close(self) -> None:
        """End what still runs."""
