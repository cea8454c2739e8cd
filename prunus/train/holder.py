"""Weights that become zero while training, and stay zero to the end of the run.

At each update of the ramp the weights of lowest magnitude join those that are held at zero; none
comes back. What is held is set to zero again after each optimizer step, in the detector and in its
average, so that both have the same zeros.

Held is what is zero: a resumed training finds its masks in the weights, and its place on the ramp
follows from its place in the run.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from prunus.train.ramp import Ramp

Choose = Callable[[Sequence[Tensor], float], list[Tensor]]
"""Magnitudes and a share in; for each tensor a mask, True for what is to be zero."""


class ZeroHolder:
    """Sets weights to zero along a ramp, and holds them there.

    Attributes:
        wanted: The share of zeros that the ramp has reached.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        averages: Mapping[str, Tensor],
        ramp: Ramp | None,
        choose: Choose,
    ) -> None:
        """Begin by holding what is zero already.

        Args:
            weights: What learns.
            averages: The averages of the same weights.
            ramp: None to hold what is zero, and no more.
            choose: Which weights go; not called without a ramp.
        """
        self.wanted = 0.0
        self._weights = [weight.detach() for weight in weights.values()]
        self._averages = [averages[name].detach() for name in weights]
        self._ramp, self._choose = ramp, choose
        self.hold_what_is_zero()

    @property
    def share(self) -> float:
        """Return the share of weights that are held at zero."""
        held = sum(int(mask.sum()) for mask in self._held)
        return held / sum(mask.numel() for mask in self._held)

    @property
    def complete(self) -> bool:
        """Return whether the ramp is over, so that weights are worth keeping as the best."""
        return self._ramp is None or self.wanted >= self._ramp.final

    def hold_what_is_zero(self) -> None:
        """Take the masks from the weights: at the start, and after loading a state."""
        self._held = [weight == 0 for weight in self._weights]

    @torch.no_grad()
    def step(self, done: float) -> None:
        """Set what is held to zero, and what the ramp adds when `done` of the run is over."""
        self._apply()
        wanted = 0.0 if self._ramp is None else self._ramp.at(done)
        if wanted > self.wanted:
            sizes = [weight.abs() for weight in self._weights]
            chosen = self._choose(sizes, wanted)
            self._held = [old | new for old, new in zip(self._held, chosen, strict=True)]
            self.wanted = wanted
            self._apply()

    def summary(self) -> str:
        """Return one line for the log."""
        text = f"zeros: {self.share:.1%} of the weights"
        if self._ramp is None or self.complete:
            return text
        return f"{text}, {self._ramp.final:.1%} in the end; the best epoch is chosen from then on"

    def _apply(self) -> None:
        for weight, average, held in zip(self._weights, self._averages, self._held, strict=True):
            weight.masked_fill_(held, 0)
            average.masked_fill_(held, 0)
