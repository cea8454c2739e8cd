"""How far a training is, and how it has had to adapt: what changes besides the weights."""

from dataclasses import dataclass, field

from prunus.core.errors import TrainingError


@dataclass
class Position:
    """How far a training is.

    Attributes:
        epoch: Epochs that are finished.
        batch: Batches of the next epoch that are finished.
        losses: Sums over these batches of the box, objectness and class terms.
        counted: Batches in these sums.
        bad_losses: Batches in a row without a finite loss.
        bad_steps: Optimizer steps in a row without finite gradients.
        pieces: Parts that a batch is computed in, one after the other, to fit the memory.
        lr_scale: Share of the planned learning rates that is left after going back.
        rollbacks: How often the training has gone back to a saved state.
    """

    epoch: int = 0
    batch: int = 0
    losses: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    counted: float = 0.0
    bad_losses: int = 0
    bad_steps: int = 0
    pieces: int = 1
    lr_scale: float = 1.0
    rollbacks: int = 0

    def mean_losses(self) -> tuple[float, float, float]:
        """Return the mean box, objectness and class term of the epoch so far."""
        box, objectness, classes = (term / (self.counted or 1) for term in self.losses)
        return box, objectness, classes

    def begin_next_epoch(self) -> None:
        self.epoch += 1
        self.batch, self.counted = 0, 0.0
        self.losses = [0.0, 0.0, 0.0]


class NotFiniteError(TrainingError):
    """Losses, gradients or weights are no longer finite.

    Attributes:
        where: What and where, without advice.
    """

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where}. Lower lr0 in --hyp, or use --precision fp32. "
            "The weights of the last finished epoch are in the run folder."
        )
        self.where = where
