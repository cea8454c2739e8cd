"""What a sweep found: its settings with the means over their seeds, and the Pareto front of them.

The front is of settings, not of trials: among many trials the best is also the luckiest, and a mean
over seeds is less so.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from prunus.core.console import table
from prunus.core.files import write_atomically
from prunus.export.ranking import pareto_front
from prunus.pipeline.sweep.point import DENSE, Point, Trial

DOTS_PER_INCH = 100
MARKERS = "osD^vP*X"


@dataclass(frozen=True)
class Candidate:
    """One choice of settings, and what its trials say of it: means over the seeds.

    Attributes:
        point: The settings, with the first seed; None for the dense model.
        trials: Numbers of the trials, the most accurate one first.
        map50_95: Mean; `lowest` and `highest` of any seed.
        cost: What the front holds against accuracy: the share of the dense model's milliseconds
            where trials were timed, else GFLOPs.
        weights: Of the most accurate trial.
    """

    point: Point | None
    trials: tuple[int, ...]
    map50_95: float
    lowest: float
    highest: float
    cost: float
    params: float
    gflops: float
    drop: float | None
    flops_share: float | None
    ms: float | None
    speedup: float | None
    weights: str | None

    @property
    def title(self) -> str:
        return DENSE if self.point is None else str(self.point)

    def facts(self) -> dict[str, Any]:
        """Return what a report says of it."""
        values = asdict(self)
        settings = values.pop("point") or {"criterion": DENSE}
        return {**settings, **values}


def cost(trial: Trial) -> float | None:
    """Return what a trial's model costs: a share of the dense milliseconds, or GFLOPs."""
    return trial.gflops if trial.speedup is None else 1 / trial.speedup


def is_timed(trials: Sequence[Trial]) -> bool:
    """Return whether the trials of a sweep were timed."""
    return any(trial.speedup is not None for trial in trials)


def candidates(trials: Sequence[Trial]) -> list[Candidate]:
    """Return what was done, seeds put together, in the order of the trials."""
    timed = is_timed(trials)
    together: dict[Point | None, list[Trial]] = {}
    for trial in trials:
        if trial.status == "done":
            together.setdefault(trial.point and replace(trial.point, seed=0), []).append(trial)
    return [_candidate(alike, timed) for alike in together.values()]


def front_of(found: Sequence[Candidate]) -> list[Candidate]:
    """Return those that no other one beats in accuracy without costing more, cheapest first."""
    rows = [{"map50_95": one.map50_95, "cost": one.cost, "one": one} for one in found]
    return [row["one"] for row in pareto_front(rows, "cost")]


def _candidate(alike: Sequence[Trial], timed: bool) -> Candidate:
    accuracies = [trial.map50_95 or 0.0 for trial in alike]
    ranked = sorted(alike, key=lambda trial: -(trial.map50_95 or 0.0))
    point = min((trial.point for trial in alike if trial.point), key=_seed, default=None)
    speedup = 1.0 if timed and point is None else _mean([trial.speedup for trial in alike])
    gflops = _mean([trial.gflops for trial in alike]) or 0.0
    return Candidate(
        point=point,
        trials=tuple(trial.number for trial in ranked),
        map50_95=fmean(accuracies),
        lowest=min(accuracies),
        highest=max(accuracies),
        cost=gflops if speedup is None else 1 / speedup,
        params=_mean([trial.params for trial in alike]) or 0.0,
        gflops=gflops,
        drop=_mean([trial.drop for trial in alike]),
        flops_share=_mean([trial.flops_share for trial in alike]),
        ms=_mean([trial.ms for trial in alike]),
        speedup=speedup,
        weights=ranked[0].weights,
    )


def _seed(point: Point) -> int:
    return point.seed


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def front_table(title: str, front: Sequence[Candidate]) -> str:
    """Return the front as a table, cheapest first."""
    return table(
        title,
        ("settings", "trials", "mAP50-95", "drop", "GFLOPs", "FLOPs", "ms", "speed-up"),
        [
            (
                one.title,
                ",".join(map(str, one.trials)),
                f"{one.map50_95:.4f}",
                _text(one.drop, "{:.4f}"),
                f"{one.gflops:.3f}",
                _text(one.flops_share, "{:.3f}"),
                _text(one.ms, "{:.2f}"),
                _text(one.speedup, "{:.2f}x"),
            )
            for one in front
        ],
    )


def _text(value: float | None, form: str) -> str | None:
    return None if value is None else form.format(value)


def plot_front(path: Path, found: Sequence[Candidate], front: Sequence[Candidate]) -> None:
    """Draw accuracy over cost, a colour a criterion and a marker a repair, and the front.

    Args:
        path: A PNG.
        found: Everything that was done, at least one.
        front: Of those.
    """
    from matplotlib.figure import Figure  # late: matplotlib takes 0.3 s to import

    figure = Figure(figsize=(9, 6), dpi=DOTS_PER_INCH)
    axes = figure.subplots()
    repairs = list(dict.fromkeys(one.point.repair for one in found if one.point))
    kinds = dict.fromkeys(_kind(one) for one in found)
    for number, kind in enumerate(kinds):
        alike = [one for one in found if _kind(one) == kind]
        accuracies = [one.map50_95 for one in alike]
        axes.errorbar(
            [one.cost for one in alike],
            accuracies,
            yerr=(
                [one.map50_95 - one.lowest for one in alike],
                [one.highest - one.map50_95 for one in alike],
            ),
            fmt=MARKERS[repairs.index(kind[1]) % len(MARKERS)] if kind[1] in repairs else "x",
            color="black" if kind[0] == DENSE else f"C{number % 10}",
            capsize=2,
            label=" ".join(filter(None, kind)),
        )
    axes.step(
        [one.cost for one in front],
        [one.map50_95 for one in front],
        where="post",
        color="0.4",
        linewidth=1,
        label="Pareto front",
        zorder=0,
    )
    timed = any(one.speedup is not None for one in found)
    axes.set(
        xlabel="share of the dense model's milliseconds" if timed else "GFLOPs at 640 pixels",
        ylabel="mAP50-95 on the validation split; bars: lowest and highest seed",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize=8)
    figure.tight_layout()
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))


def _kind(one: Candidate) -> tuple[str, str]:
    return (DENSE, "") if one.point is None else (one.point.criterion, one.point.repair)
