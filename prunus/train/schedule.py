"""How fast to learn at every iteration, and after which batches the optimizer steps: all known
before training.

Specification sheet, section 2.4, with two differences that small data sets need: the warm-up never
takes more than a third of the run, and an epoch's last batches step too instead of waiting for the
next epoch's. So an epoch boundary holds no unfinished gradient, and the sum of all learning rates,
which `sparsity` needs, can be computed beforehand.
"""

import math
from dataclasses import dataclass

WARMUP_ITERATIONS_AT_LEAST = 100
WARMUP_SHARE_AT_MOST = 1 / 3
"""Of all iterations. Without it 100 iterations can outlast a whole run on a few images."""


@dataclass(frozen=True)
class Tempo:
    """What one iteration is run with.

    Attributes:
        lr: Learning rate of weights.
        bias_lr: Learning rate of biases.
        momentum: Momentum of SGD.
        accumulate: Batches whose gradients are added up before a step.
    """

    lr: float
    bias_lr: float
    momentum: float
    accumulate: int


@dataclass(frozen=True)
class Schedule:
    """The whole run's learning rates and steps.

    Attributes:
        epochs: Length of the run.
        batches: Batches in an epoch.
        batch_size: Images in a batch.
        nominal_batch: Images that an optimizer step should have seen.
        lr0: Learning rate after the warm-up.
        lrf: Share of lr0 that is left at the end.
        momentum: Momentum after the warm-up.
        warmup_epochs: Length of the warm-up; 0 for none.
        warmup_momentum: Momentum that the warm-up starts from.
        warmup_bias_lr: Learning rate of the biases that the warm-up starts from.
        cosine: Whether the rate falls along a cosine instead of a line.
    """

    epochs: int
    batches: int
    batch_size: int
    nominal_batch: int = 64
    lr0: float = 0.01
    lrf: float = 0.01
    momentum: float = 0.937
    warmup_epochs: float = 3.0
    warmup_momentum: float = 0.8
    warmup_bias_lr: float = 0.1
    cosine: bool = False

    @property
    def iterations(self) -> int:
        return self.epochs * self.batches

    @property
    def accumulate(self) -> int:
        """Batches per optimizer step after the warm-up."""
        return max(round(self.nominal_batch / self.batch_size), 1)

    @property
    def wanted_warmup(self) -> int:
        """Iterations that the warm-up would take in a long run."""
        if self.warmup_epochs == 0:
            return 0
        return max(round(self.warmup_epochs * self.batches), WARMUP_ITERATIONS_AT_LEAST)

    @property
    def warmup(self) -> int:
        """Iterations that the warm-up takes."""
        return min(self.wanted_warmup, int(self.iterations * WARMUP_SHARE_AT_MOST))

    @property
    def warmup_steps(self) -> int:
        """Optimizer steps within the warm-up."""
        steps = 0
        for epoch in range(-(-self.warmup // self.batches)):
            start = epoch * self.batches
            steps += sum(start + batch < self.warmup for batch in self.stepping_batches(epoch))
        return steps

    def factor(self, epoch: int) -> float:
        """Return the share of lr0 that an epoch, counted from 0, is run with."""
        done = epoch / self.epochs
        left = (1 + math.cos(math.pi * done)) / 2 if self.cosine else 1 - done
        return left * (1 - self.lrf) + self.lrf

    def tempo(self, iteration: int) -> Tempo:
        """Return what a batch, counted from 0 over the whole run, is run with."""
        lr = self.lr0 * self.factor(iteration // self.batches)
        if iteration >= self.warmup:
            return Tempo(lr, lr, self.momentum, self.accumulate)
        done = iteration / self.warmup
        batches_per_step = self.nominal_batch / self.batch_size
        return Tempo(
            lr=done * lr,
            bias_lr=_between(self.warmup_bias_lr, lr, done),
            momentum=_between(self.warmup_momentum, self.momentum, done),
            accumulate=max(1, round(_between(1, batches_per_step, done))),
        )

    def stepping_batches(self, epoch: int) -> frozenset[int]:
        """Return the batches of an epoch, counted from 0, after which the optimizer steps."""
        steps, pending = [], 0
        for batch in range(self.batches):
            pending += 1
            full = pending >= self.tempo(epoch * self.batches + batch).accumulate
            if full or batch == self.batches - 1:
                steps.append(batch)
                pending = 0
        return frozenset(steps)

    def step_rates(self) -> list[float]:
        """Return the learning rate of weights at every optimizer step of the run."""
        return [
            self.tempo(epoch * self.batches + batch).lr
            for epoch in range(self.epochs)
            for batch in sorted(self.stepping_batches(epoch))
        ]


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share
