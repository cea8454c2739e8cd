"""Who is told of each epoch: all alike, each in its own words, and nobody for another's failure."""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from prunus.core.errors import ConfigError, PrunusError
from prunus.train import loggers, start
from prunus.train.config import TrainConfig
from prunus.train.interrupt import Interrupt
from prunus.train.loggers import FAILURES_IN_A_ROW, LOGGERS, Board, RunFacts
from prunus.train.loggers.contract import IDENTITY, flat, refusals, with_identity
from prunus.train.outputs import Outputs
from prunus.train.progress import Origin

Calls = list[tuple[Any, ...]]
Fake = Callable[..., ModuleType]
GAMMAS = {"gamma/all": np.array([0.0, 0.25, 0.5, 1.0, 1.0], dtype=np.float32)}


class Recorder:
    """A logger that remembers, and fails on demand."""

    def __init__(self) -> None:
        self.calls: Calls = []
        self.problem: Exception | None = None

    def add_scalars(self, values: Any, epoch: int) -> None:
        self._take("scalars", dict(values), epoch)

    def add_histograms(self, values: Any, epoch: int) -> None:
        self._take("histograms", dict(values), epoch)

    def close(self, complete: bool) -> None:
        self._take("close", complete)

    def _take(self, *call: Any) -> None:
        self.calls.append(call)
        if self.problem is not None:
            raise self.problem


@pytest.fixture
def facts(tmp_path: Path) -> RunFacts:
    folder = tmp_path / "exp7"
    folder.mkdir()
    return RunFacts(folder, 0, {"epochs": 3, "hyp": {"lr0": 0.01}})


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """Put a module in the place of a tracker's for as long as the test runs."""

    def put(name: str, **content: object) -> ModuleType:
        module = ModuleType(name)
        vars(module).update(content)
        sys.modules.pop(LOGGERS[name], None)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    yield put
    for name in ("mlflow", "wandb", "trackio"):
        sys.modules.pop(LOGGERS[name], None)


def test_all_are_told_the_same_without_what_is_unknown() -> None:
    one, other = Recorder(), Recorder()
    board = Board({"one": one, "other": other})
    board.add_scalars({"loss": 0.5, "map": None}, 2)
    board.add_histograms(GAMMAS, 2)
    board.close()
    wanted = [("scalars", {"loss": 0.5}, 2), ("histograms", GAMMAS, 2), ("close", True)]
    assert one.calls == other.calls == wanted


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_failure_is_raised_when_all_others_have_been_told(failing: int) -> None:
    recorders = [Recorder() for _ in range(3)]
    recorders[failing].problem = PrunusError("server is down")
    board = Board({str(number): recorder for number, recorder in enumerate(recorders)})
    with pytest.raises(PrunusError, match="server is down"):
        board.add_scalars({"loss": 1.0}, 0)
    with pytest.raises(PrunusError, match="server is down"):
        board.close()
    assert all(len(recorder.calls) == 2 for recorder in recorders)


def test_one_that_keeps_failing_is_told_no_more_but_is_closed(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    bad, good = Recorder(), Recorder()
    bad.problem = OSError("no route")
    outputs = Outputs(tmp_path, TrainConfig(), Origin())
    with (
        caplog.at_level(logging.WARNING, logger="prunus"),
        Board({"bad": bad, "good": good}, outputs.attempt) as board,
    ):
        for epoch in range(FAILURES_IN_A_ROW + 2):
            board.add_scalars({}, epoch)
    assert [call[0] for call in bad.calls] == ["scalars"] * FAILURES_IN_A_ROW + ["close"]
    assert [call[0] for call in good.calls] == ["scalars"] * (FAILURES_IN_A_ROW + 2) + ["close"]
    assert caplog.messages.count("bad failed 3 times in a row: it is told no more") == 1
    with pytest.raises(PrunusError, match=r"no route .* weights are saved in .* this is missing"):
        outputs.finish()


def test_a_success_in_between_makes_it_start_over() -> None:
    def forgive(write: Callable[[], object]) -> None:
        with suppress(OSError):
            write()

    flaky, told = Recorder(), 2 * FAILURES_IN_A_ROW
    board = Board({"flaky": flaky}, forgive)
    for number in range(1, told + 1):
        flaky.problem = OSError("no route") if number % FAILURES_IN_A_ROW else None
        board.add_scalars({}, 0)
    assert len(flaky.calls) == told


def test_a_training_that_breaks_off_is_told_to_be_incomplete() -> None:
    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt, match="now"), Board({"it": recorder}):
        raise KeyboardInterrupt("now")
    assert recorder.calls == [("close", False)]


def test_what_loggers_print_does_not_reach_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    class Talker(Recorder):
        def close(self, complete: bool) -> None:
            sys.stdout.write(f"* Run finished: {complete}\n")

    Board({"talker": Talker()}).close()
    said = capsys.readouterr()
    assert not said.out
    assert said.err == "* Run finished: True\n"


def test_tensorboard_reads_back_what_was_told_and_drops_what_is_void(facts: RunFacts) -> None:
    for first_epoch, loss in ((0, 1.0), (2, 5.0)):
        board = loggers.open_loggers([], facts._replace(first_epoch=first_epoch))
        for epoch in range(first_epoch, 3):
            board.add_scalars({"train/box_loss": loss + epoch, "nothing": None}, epoch)
        board.add_histograms(GAMMAS, 2)
        board.close()
    assert not (facts.folder / IDENTITY).exists(), "only trackers need one"
    events = EventAccumulator(str(facts.folder), size_guidance={"histograms": 0})
    events.Reload()
    assert events.Tags()["scalars"] == ["train/box_loss"]
    told = [(event.step, event.value) for event in events.Scalars("train/box_loss")]
    assert told == [(0, 1.0), (1, 2.0), (2, 7.0)]
    (gammas,) = events.Histograms("gamma/all")
    drawn = gammas.histogram_value
    assert (gammas.step, drawn.num, drawn.min, drawn.max, drawn.sum) == (2, 5, 0, 1, 2.75)
    assert sum(drawn.bucket) == 5


def test_trackers_know_a_training_by_the_same_words_as_long_as_it_lives(facts: RunFacts) -> None:
    first = with_identity(facts)
    assert len(first.identity) == 16
    assert with_identity(facts._replace(resumed=True)).identity == first.identity
    anew = with_identity(facts).identity
    assert anew != first.identity, "a new training in the same folder is another one"
    moved = facts.folder.rename(facts.folder.with_name("moved"))
    assert with_identity(facts._replace(folder=moved, resumed=True)).identity == anew


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_is_called_as_it_wants_to_be(fake: Fake, facts: RunFacts, name: str) -> None:
    calls: Calls = []
    run = SimpleNamespace(log=lambda values, step: calls.append(("log", values, step)))

    def init(**options: object) -> SimpleNamespace:
        calls.append(("init", options))
        return run

    def finish(**options: object) -> None:
        calls.append(("finish", options))

    fake(name, init=init, finish=finish, Histogram=lambda array: ("drawn", array.max()))
    for complete in (True, False):
        board = loggers.open_loggers([name, name], facts)
        board.add_scalars({"loss": 0.5, "map": None}, 1)
        board.add_histograms(GAMMAS, 1)
        board.close(complete)
    options = calls[0][1]
    identity = (facts.folder / IDENTITY).read_text().strip()
    assert calls[1:4] == [
        ("log", {"loss": 0.5}, 1), ("log", {"gamma/all": ("drawn", 1.0)}, 1), ("finish", {}),
    ]  # fmt: skip
    assert (options["project"], options["resume"]) == ("prunus", "allow")
    assert options["config"] == {"epochs": 3, "hyp.lr0": 0.01}
    second = calls[4][1]
    if name == "wandb":
        assert (options["name"], options["dir"]) == ("exp7", str(facts.folder))
        assert second["id"] == identity != options["id"]
        assert calls[-1] == ("finish", {"exit_code": 1})
    else:
        assert second["name"] == f"exp7-{identity}" != options["name"]
        assert calls[-1] == ("finish", {})


def test_the_project_can_be_set(
    fake: Fake, facts: RunFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Calls = []
    fake("wandb", init=lambda **options: calls.append((options["project"],)), finish=None)
    monkeypatch.setenv("WANDB_PROJECT", "orchard")
    loggers.open_loggers(["wandb"], facts)
    assert calls == [("orchard",)]


class MLflow:
    """The few functions of MLflow that are used; it allows what MLflow 3 allows."""

    def __init__(self) -> None:
        self.calls: Calls = []
        self.runs: list[SimpleNamespace] = []

    def search_runs(self, filter_string: str, **_: object) -> list[SimpleNamespace]:
        return [run for run in self.runs if filter_string == f"tags.`prunus.run` = '{run.known}'"]

    def start_run(self, **options: Any) -> None:
        self.calls.append(("start", options))
        if "tags" in options:
            known = options["tags"]["prunus.run"]
            self.runs.append(SimpleNamespace(known=known, info=SimpleNamespace(run_id="r1")))

    def log_params(self, values: dict[str, str]) -> None:
        self.calls.append(("params", values))

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self.calls.append(("metrics", values, step))

    def end_run(self, status: str) -> None:
        self.calls.append(("end", status))

    def module(self, fake: Fake) -> None:
        names = ("search_runs", "start_run", "log_params", "log_metrics", "end_run")
        fake("mlflow", **{name: getattr(self, name) for name in names})


def test_mlflow_gets_names_that_it_allows_and_goes_on_in_the_same_run(
    fake: Fake, facts: RunFacts
) -> None:
    server = MLflow()
    server.module(fake)
    long = facts._replace(settings={**facts.settings, "names": "x" * 9000})
    board = loggers.open_loggers(["mlflow"], long)
    board.add_scalars({"metrics/mAP_0.5:0.95": 0.5, "cut/50%/flops": 0.25, "a@b c.d": 1.0}, 0)
    board.add_histograms(GAMMAS, 0)
    board.close(complete=False)
    board = loggers.open_loggers(["mlflow"], facts._replace(first_epoch=1, resumed=True))
    board.close()
    identity = (facts.folder / IDENTITY).read_text().strip()
    assert server.calls == [
        ("start", {"run_name": "exp7", "tags": {"prunus.run": identity}}),
        ("params", {"epochs": "3", "hyp.lr0": "0.01", "names": "x" * 6000}),
        ("metrics", {"metrics/mAP_0.5-0.95": 0.5, "cut/50pc/flops": 0.25, "a-b c.d": 1.0}, 0),
        ("metrics", {"gamma/all/mean": pytest.approx(0.55)}, 0),
        ("end", "KILLED"),
        ("start", {"run_id": "r1"}),
        ("end", "FINISHED"),
    ]


def test_one_that_cannot_begin_says_so_and_ends_those_that_had_begun(
    fake: Fake, facts: RunFacts
) -> None:
    def refuse(**_: object) -> None:
        raise RuntimeError("No API key\nconfigured.")

    server = MLflow()
    server.module(fake)
    fake("wandb", init=refuse)
    with pytest.raises(
        PrunusError, match=r"^--loggers wandb: No API key configured\. Log in, or work offline\.$"
    ):
        loggers.open_loggers(["mlflow", "wandb"], facts)
    assert server.calls[-1] == ("end", "KILLED")


def test_a_tracker_that_refuses_is_an_error_of_one_short_line(fake: Fake, facts: RunFacts) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no route " * 500)

    server = MLflow()
    server.module(fake)
    board = loggers.open_loggers(["mlflow"], facts)
    sys.modules["mlflow"].log_metrics = refuse  # type: ignore[attr-defined]
    with pytest.raises(
        PrunusError, match=r"^--loggers mlflow: no route .{300,400}\. Check MLFLOW_TRACKING_URI\.$"
    ):
        board.add_scalars({"loss": 1.0}, 0)
    with (
        pytest.raises(PrunusError, match=r"^--loggers it: ValueError\. Do\.$"),
        refusals("it", "Do."),
    ):
        raise ValueError


def test_an_unknown_or_missing_tracker_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"no logger 'mlfow'\. Did you mean 'mlflow'\? Known: te"):
        loggers.check_loggers(["tensorboard", "mlfow"])
    for name in ("mlflow", "wandb", "trackio"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, LOGGERS[name], raising=False)
        with pytest.raises(
            ConfigError, match=rf"--loggers: {name} cannot be .*pip install 'prunus\[{name}\]'$"
        ):
            loggers.check_loggers([name])


def test_nested_settings_become_one_level() -> None:
    nested = {"a": 1, "b": {"c": {"d": None}, "e": [2]}, "f": {}}
    assert flat(nested) == {"a": 1, "b.c.d": None, "b.e": [2]}


@pytest.mark.integration
def test_a_failing_tracker_keeps_nothing_from_the_others_and_a_resumed_run_is_the_same(
    settings: Callable[..., TrainConfig],
    fake: Fake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tracker fails at all it is told; the training was interrupted in its first epoch."""
    begun: list[str] = []

    def init(**options: Any) -> SimpleNamespace:
        begun.append(options["id"])
        return SimpleNamespace()

    fake("wandb", init=init, finish=lambda **_: None)
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Interrupt, "requested", lambda _: True)
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            start.run(settings(sparsity="auto", loggers=["wandb"]), folder)
    with pytest.raises(PrunusError, match=r"^--loggers wandb: .*weights are saved in .* missing"):
        start.resume(folder)
    assert begun[0] == begun[1]
    events = EventAccumulator(str(folder), size_guidance={"histograms": 0})
    events.Reload()
    for name in ("train/box_loss", "gamma/below_0.01"):
        assert [event.step for event in events.Scalars(name)] == [0, 1], name
    assert [event.step for event in events.Histograms("gamma/all")] == [0, 1]


def test_every_logger_is_a_file_of_its_own() -> None:
    folder = Path(loggers.__file__).parent
    for name, module in LOGGERS.items():
        assert module == f"{loggers.__name__}.{name}"
        assert (folder / f"{name}.py").is_file()
        if name == loggers.ALWAYS:
            assert callable(importlib.import_module(module).open_logger)
