"""The best of a finished or running sweep, for whoever prunes next."""

from pathlib import Path

from prunus.core.errors import ConfigError
from prunus.pipeline.sweep.front import Candidate, candidates
from prunus.pipeline.sweep.table import read_trials

DUST = 5e-4
"""Of a share: GFLOPs are written with three decimals."""


def best_of_sweep(
    folder: Path, *, speedup: float | None = None, flops: float | None = None
) -> Candidate:
    """Return the most accurate settings that are as fast or as small as wanted.

    Args:
        folder: Of a `prunus sweep` run.
        speedup: At least so many times as fast as the dense model, as it was measured.
        flops: At most this share of the dense model's FLOPs.

    Returns:
        Settings in `point`, of which `point.prune_values()` makes those of `prunus prune`.

    Raises:
        ConfigError: The folder holds no sweep, nothing is done yet, nothing was timed, or nothing
            reaches that; then the message says what was reached.
    """
    found = [one for one in candidates(read_trials(folder)) if one.point is not None]
    if not found:
        raise ConfigError(f"{folder}: no trial of the sweep is done. Run it with --resume first.")
    if speedup is not None:
        fastest = max(one.speedup or 0.0 for one in found)
        if not fastest:
            raise ConfigError(
                f"{folder}: the sweep was not timed. Run one with --runtime, or ask for --flops."
            )
        found = [one for one in found if (one.speedup or 0.0) >= speedup]
        _check(found, folder, f"{speedup:g}x as fast; the fastest is {fastest:.2f}x")
    if flops is not None:
        shares = [one.flops_share for one in found if one.flops_share is not None]
        if not shares:
            raise ConfigError(f"{folder}: the dense model is not judged yet. Resume the sweep.")
        found = [one for one in found if (one.flops_share or 1.0) <= flops + DUST]
        _check(found, folder, f"within {flops:g} of the FLOPs; the least is {min(shares):.3f}")
    return max(found, key=lambda one: (one.map50_95, -one.cost))


def _check(found: list[Candidate], folder: Path, what: str) -> None:
    if not found:
        raise ConfigError(f"{folder}: no trial is {what}. Ask for less, or sweep further.")
