"""An attempt, with stages that do nothing: which come, in which order, and what comes of them."""

from pathlib import Path
from typing import Any

import pytest

from prunus.core.config import parse
from prunus.core.errors import PruningError
from prunus.pipeline.chain.stage import Done, Stage
from prunus.pipeline.compress.config import CompressConfig
from prunus.pipeline.compress.cutting import AIM, Cutter, Subject
from prunus.pipeline.compress.effort import schedule_of
from prunus.pipeline.compress.search import Trial
from prunus.pipeline.compress.target import Costs, target_of
from prunus.pipeline.compress.work import Model, Work

DENSE_MS = 12.0


class Links:
    """A chain whose stages only are noted; `val` finds what it is told to."""

    def __init__(self, map50_95: float) -> None:
        self.done: dict[str, Done] = {}
        self.map50_95 = map50_95

    def do(self, name: str, verb: str, /, **settings: Any) -> Done:
        assert name not in self.done
        given = {key: value for key, value in settings.items() if value is not None}
        if verb == "prune" and given.get("speedup", 0) > 9:
            raise PruningError("no channels are left")
        report = {"metrics": {"map50_95": self.map50_95}, "epochs": given.get("epochs")}
        self.done[name] = Done(Stage(name, verb, given), Path(name), report)
        return self.done[name]


class Timed(Work):
    """Work in which cuts are as fast as the test says, one after the other."""

    factors: list[float]

    def costs(self, name: str, *_: str) -> list[Costs]:
        self.chain.do(name, "benchmark")
        return [Costs(DENSE_MS, 8, 100, 4), Costs(DENSE_MS / self.factors.pop(0), 4, 50, 2)]


def attempt(
    *factors: float, map50_95: float = 0.61, asked: float = 2.0, rounds: int = 1, **values: Any
) -> tuple[Trial, Links]:
    """Try once; the dense model is at .62."""
    settings = parse(
        CompressConfig,
        {"data": "d.yaml", "weights": "w.pt", "speedup": asked, "max_drop": 1, **values},
    )
    links = Links(map50_95)
    work = Timed(settings, schedule_of(settings), target_of(settings), links)  # type: ignore[arg-type]
    work.factors = list(factors)
    adapted = Done(Stage("adapt", "train", {}), Path("adapt"), {})
    val = Done(Stage("val-dense", "val", {}), Path("val"), {"metrics": {"map50_95": 0.62}})
    dense = Model("dense", "parent", "dense", "${adapt.best}", Path("dense"), val)
    return Cutter(work, Subject(dense, dense), adapted).attempt(asked, 1, rounds), links


def test_a_cut_that_fits_is_trained_and_judged_beside_the_fair_one() -> None:
    trial, links = attempt(2.05)
    assert list(links.done) == ["prune-1", "time-1", "finetune-1", "val-pruned-1"]
    assert (trial.made, trial.judged, trial.stages) == ("finetune-1", "val-pruned-1", ("prune-1", "finetune-1"))  # fmt: skip  # noqa: E501
    assert (trial.achieved, trial.drop, trial.accepted) == (2.05, pytest.approx(1.0), True)
    tuned = links.done["finetune-1"].stage.settings
    assert (tuned["weights"], tuned["teacher"]) == ("${prune-1.weights}", "${adapt.best}")
    assert links.done["val-pruned-1"].stage.settings["compare"] == "${val-dense.folder}"


def test_a_cut_that_falls_short_or_goes_too_far_is_made_again() -> None:
    """1.6 measured for 2 asked: ask for 2 / 1.6 of it; 2.5 measured: 2 / 2.5 of that."""
    trial, links = attempt(1.6, 2.5, 2.3)
    cuts = [done for done in links.done.values() if done.stage.verb == "prune"]
    assert [cut.stage.name for cut in cuts] == ["prune-1", "prune-1-again1", "prune-1-again2"]
    assert [cut.stage.settings["speedup"] for cut in cuts] == pytest.approx(
        [2.0 * AIM, 2.5 * AIM**2, 2.0 * AIM**3]
    )
    assert trial.achieved == 2.3
    weights = links.done["finetune-1"].stage.settings["weights"]
    assert weights == "${prune-1-again2.weights}"
    assert trial.stages == ("prune-1-again2", "finetune-1"), "what led there, and nothing else"


def test_of_cuts_that_all_miss_the_nearest_is_trained_and_too_little_counts_as_further() -> None:
    trial, links = attempt(2.3, 2.6, 1.9)
    assert links.done["finetune-1"].stage.settings["weights"] == "${prune-1.weights}"
    assert (trial.achieved, trial.stages) == (2.3, ("prune-1", "finetune-1"))


def test_only_the_cuts_that_were_taken_are_rewound() -> None:
    _, links = attempt(1.0, 1.5, 2.0, rounds=2, rewind=5)
    settings = {name: done.stage.settings for name, done in links.done.items()}
    assert settings["rewind-1-2-1"]["plan"] == "${prune-1-1-again1.plan}"
    assert settings["rewind-1-2"]["plan"] == "${prune-1-2.plan}"
    assert settings["rewind-1-2-1"]["weights"] == "${adapt.folder}/epoch5.safetensors"


@pytest.mark.parametrize(
    ("map50_95", "accepted", "near"),
    [(0.611, True, False), (0.605, False, True), (0.59, False, False)],
)
def test_how_much_was_lost(map50_95: float, accepted: bool, near: bool) -> None:
    trial, _ = attempt(2.0, map50_95=map50_95)
    assert (trial.accepted, trial.is_near_miss) == (accepted, near)


def test_rounds_share_the_way_and_the_epochs() -> None:
    """Four times in two rounds: twice each; the last round gets half of the epochs, or more."""
    _, links = attempt(2.0, 4.0, asked=4.0, rounds=2, finetune_epochs=9, sparsity_epochs=3)
    assert list(links.done) == [
        "sparsity-1-epochs", "prune-1-1", "time-1-1", "finetune-1-1",
        "sparsity-1-2", "prune-1-2", "time-1-2", "finetune-1-2", "val-pruned-1",
    ]  # fmt: skip
    settings = {name: done.stage.settings for name, done in links.done.items()}
    assert [settings[f"prune-1-{part}"]["speedup"] for part in (1, 2)] == pytest.approx(
        [2.0 * AIM, 2.0 * AIM]
    )
    assert [settings[f"finetune-1-{part}"]["epochs"] for part in (1, 2)] == [4, 5]
    assert settings["prune-1-1"]["weights"] == "${sparsity-1-epochs.last}"
    assert settings["sparsity-1-2"]["weights"] == "${finetune-1-1.best}"
    assert settings["prune-1-2"]["weights"] == "${sparsity-1-2.last}"


def test_a_round_without_epochs_of_sparsity_training_has_none() -> None:
    _, links = attempt(1.5, 2.0, rounds=2, sparsity_epochs=1)
    assert [name for name in links.done if name.startswith("sparsity")] == ["sparsity-1-2"]


def test_without_a_fine_tune_the_cut_is_what_is_judged() -> None:
    trial, links = attempt(2.0, finetune_epochs=0)
    assert list(links.done) == ["prune-1", "time-1", "val-pruned-1"]
    assert trial.made == "prune-1"
    assert links.done["val-pruned-1"].stage.settings["weights"] == ["${prune-1.weights}"]


def test_a_cut_that_cannot_be_made_is_a_trial_without_a_result() -> None:
    trial, _ = attempt(asked=10.0)
    assert (trial.map50_95, trial.accepted, trial.why) == (None, False, "no channels are left")
