"""TensorBoard: scalars and histograms in a file of events in the run folder."""

from prunus.train.loggers.contract import Histograms, Logger, RunFacts, Scalars
from prunus.train.loggers.events import Events

BINS = 64


def open_logger(facts: RunFacts) -> Logger:
    """Begin, or go on."""
    return _TensorBoard(Events(facts.folder, facts.first_epoch))


class _TensorBoard:
    def __init__(self, events: Events) -> None:
        self._events = events

    def add_scalars(self, values: Scalars, epoch: int) -> None:
        from torch.utils.tensorboard.summary import scalar  # late: it takes a second to import

        for name, value in values.items():
            self._events.add(scalar(name, value), epoch)  # type: ignore[no-untyped-call]

    def add_histograms(self, values: Histograms, epoch: int) -> None:
        from torch.utils.tensorboard.summary import histogram

        for name, array in values.items():
            self._events.add(histogram(name, array, BINS), epoch)  # type: ignore[no-untyped-call]

    def close(self, complete: bool) -> None:  # noqa: ARG002  the file says nothing of it
        self._events.close()
