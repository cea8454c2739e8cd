"""What a pruned network may have or cost."""

from dataclasses import dataclass
from typing import Literal

from prunus.core.errors import PruningError

Kind = Literal["percent", "params", "flops", "latency"]
Scope = Literal["global", "layer"]
"""Compare channels of the whole network, or take the same share of each layer."""

WORDS: dict[Kind, str] = {
    "percent": "channels",
    "params": "parameters",
    "flops": "FLOPs",
    "latency": "milliseconds",
}


@dataclass(frozen=True)
class Budget:
    """How far to go.

    Attributes:
        kind: Which count is limited.
        goal: percent: the share of the prunable channels to REMOVE, in (0, 1). params, flops: the
            share to KEEP, in (0, 1). latency: milliseconds, at most.
    """

    kind: Kind
    goal: float

    def __post_init__(self) -> None:
        """Check the goal.

        Raises:
            PruningError: It makes no sense.
        """
        if self.kind == "latency":
            if not 0 < self.goal < float("inf"):
                raise PruningError(
                    f"latency: must be above 0 ms, got {self.goal:g}. 12.5 allows 12.5 ms."
                )
        elif not 0 < self.goal < 1:
            done = "removes" if self.kind == "percent" else "keeps"
            raise PruningError(
                f"{self.kind}: must lie between 0 and 1, got {self.goal:g}. 0.5 {done} half."
            )

    @property
    def is_cost(self) -> bool:
        """Return whether it limits what the network costs, and not how many channels go."""
        return self.kind != "percent"

    def allowed(self, dense: float) -> float:
        """Return the cost that is allowed, in the unit of `dense`: what the whole network costs.

        Raises:
            PruningError: The whole network costs no more.
        """
        if self.kind != "latency":
            return self.goal * dense
        if self.goal >= dense:
            raise PruningError(
                f"latency: the whole network takes {dense:.3g} ms, which is within {self.goal:g}. "
                "Ask for less."
            )
        return self.goal

    def achieved(self, dense: float, cost: float) -> float:
        """Return what was reached, in the unit of `goal`."""
        return cost if self.kind == "latency" else cost / dense

    def say(self, value: float) -> str:
        """Return a number in the unit of `goal` as words."""
        if self.kind == "latency":
            return f"{value:.3g} ms"
        return f"{value:.1%} of the {WORDS[self.kind]}"
