"""After each epoch of a sparsity training: what cuts of 30, 50 and 70 % would leave."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from prunus.core.console import log
from prunus.model.detector import Detector
from prunus.train.engine import Engine
from prunus.train.forecast import Forecaster, Remains
from prunus.train.gammas import Gammas
from prunus.train.loggers import Board
from prunus.train.sparsity import CUTS, gamma_sizes
from prunus.train.validate import Validation

Judge = Callable[[Detector], Validation]


def cut_monitor(engine: Engine, every: int) -> "CutMonitor | None":
    """Return the monitor of a sparsity training; None for any other."""
    if engine.shrinker is None or engine.shrinker.gammas.table is None:
        return None
    return CutMonitor(engine.detector, engine.shrinker.gammas, every)


class CutMonitor:
    """Says and writes what would be left, and every few epochs how well that still detects."""

    def __init__(self, detector: Detector, gammas: Gammas, every: int) -> None:
        """Count what the network costs now.

        Args:
            detector: The network in training.
            gammas: What may go; as `prunable_gammas` returned it.
            every: Epochs between validations of what is left, 0 for none.
        """
        assert gammas.table is not None
        self._forecaster = Forecaster(detector, gammas, gammas.table)
        self._names, self._every = tuple(gammas.norms), every

    def report(self, board: Board, detector: Detector, epoch: int, judge: Judge) -> None:
        """Say it of `detector`, the averaged one.

        Args:
            board: Gets `cut/50%/parameters` and `cut/50%/flops`, after a validation `cut/50%/map50`
                and `cut/50%/map50_95` too.
            detector: Is not changed.
            epoch: From 0.
            judge: Validates a detector.
        """
        gammas = gamma_sizes(detector, self._names)
        judges = bool(self._every) and (epoch + 1) % self._every == 0
        found: dict[str, list[float]] = defaultdict(list)
        scalars: dict[str, float] = {}
        for cut in CUTS:
            remains = self._forecaster.remains(gammas, cut)
            facts = {"parameters": remains.parameters, "flops": remains.flops}
            if judges:
                facts |= self._judged(detector, remains, judge)
            scalars |= {f"cut/{cut:.0%}/{key}": facts[key] for key in facts}
            for key, value in facts.items():
                found[key].append(value)
        log.info("%s", _line(found))
        board.add_scalars(scalars, epoch)

    def _judged(self, detector: Detector, remains: Remains, judge: Judge) -> dict[str, float]:
        figures = judge(self._forecaster.masked(detector, remains)).evaluation
        return {"map50": figures.map50, "map50_95": figures.map50_95}


def _line(found: Mapping[str, Sequence[float]]) -> str:
    """Return one line, in which / stands between the cuts."""
    cuts = "/".join(f"{cut * 100:.0f}" for cut in CUTS)
    shares = {
        key: "/".join(f"{value * 100:.0f}" for value in found[key])
        for key in ("parameters", "flops")
    }
    text = f"a cut of {cuts} % leaves {shares['parameters']} % of the parameters, "
    text += f"{shares['flops']} % of the FLOPs"
    for key, name in (("map50", "mAP50"), ("map50_95", "mAP50-95")):
        if key in found:
            text += f", {name} " + "/".join(f"{value:.3f}" for value in found[key])
    return text
