"""`compress`: weights, data and a target in; a smaller detector and the proof out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from prunus.core.config import parse
from prunus.core.console import log
from prunus.core.errors import ConfigError, PruningError
from prunus.core.runs import Run
from prunus.data.index import build_index
from prunus.data.spec import read_data
from prunus.export.latency.runtimes import find_runtime
from prunus.pipeline.chain.chain import RECIPE, Chain, Reached
from prunus.pipeline.chain.reopen import open_run
from prunus.pipeline.chain.stage import Done
from prunus.pipeline.compress import tell
from prunus.pipeline.compress.config import CompressConfig
from prunus.pipeline.compress.cutting import Cutter, Subject
from prunus.pipeline.compress.effort import schedule_of
from prunus.pipeline.compress.lineup import Sides, line_up
from prunus.pipeline.compress.options import with_options
from prunus.pipeline.compress.search import Trial, best_of, search
from prunus.pipeline.compress.ship import Shipped
from prunus.pipeline.compress.target import DEFAULT_SPEEDUP, target_of
from prunus.pipeline.compress.verdict import Finding, doubts_of, find
from prunus.pipeline.compress.work import Model, Work
from prunus.pipeline.sweep.best import best_of_sweep
from prunus.prune.criteria import find_criterion
from prunus.report.page import write_report

VERB = "compress"
PAGE = "report.html"
FROM_SWEEP = ("criterion", "repair", "scope", "round_to")
"""What a sweep decides; how much goes is the target's."""


def compress(settings: CompressConfig) -> dict[str, object]:
    """Run the whole chain, or go on with one, and return the report.

    Raises:
        PruningError: Nothing could be removed.
        ConfigError: The settings leave too few epochs, or there is nothing to go on with.
    """
    if settings.resume is None:
        settings = with_best_of_sweep(settings)
        check(settings)
    run, settings = open_run(VERB, settings)
    log.info("%s: its report will be %s", run.folder, run.path(PAGE))
    with run:
        job = _Job(settings, run)
        try:
            job.do()
        except Reached as stage:
            log.info("stopped after %s. Go on: prunus compress --resume %s", stage, run.folder)
            return {"stopped_after": str(stage), "stages": job.chain.facts()}
        if settings.until is not None:
            log.warning("--until %s: no such stage came, so it went to the end", settings.until)
        report = run.finish()
    write_report(run.folder, run.path(PAGE))
    log.info("report: %s", run.path(PAGE))
    return report


def check(settings: CompressConfig) -> None:
    """See before a folder is made, or an epoch spent, what cannot go well.

    Raises:
        PruningError: There is no such criterion.
        ExportError: The runtime is not installed.
        ConfigError: The settings leave too few epochs.
    """
    find_criterion(settings.criterion, None)
    runtime = find_runtime(settings.runtime)
    runtime.version()
    runtime.in_precision(settings.runtime_precision)
    schedule_of(settings)


def with_best_of_sweep(settings: CompressConfig) -> CompressConfig:
    """Return the settings with how the best trial of `--from-sweep` cut, if there is one.

    Raises:
        ConfigError: The sweep has no trial that reaches the target, or cannot tell, or what it
            decides is given as well.
    """
    if settings.from_sweep is None:
        return settings
    twice = [name for name in FROM_SWEEP if name in settings.model_fields_set]
    if twice:
        flag = twice[0].replace("_", "-")
        raise ConfigError(f"--{flag}: --from-sweep says already. Leave one of them out.")
    target = target_of(settings)
    if target.kind not in ("speedup", "flops"):
        raise ConfigError("--from-sweep: goes with --speedup or --flops, which a sweep can tell.")
    wish = {target.kind: target.goal or DEFAULT_SPEEDUP}
    best = best_of_sweep(settings.from_sweep, **wish)
    assert best.point is not None
    values = {key: value for key, value in vars(best.point).items() if key in FROM_SWEEP}
    log.info("%s: %s", settings.from_sweep, best.point)
    return parse(CompressConfig, {**settings.model_dump(mode="json"), **values}, "--from-sweep")


class _Job:
    """One run: what it was told, and what it works with."""

    def __init__(self, settings: CompressConfig, run: Run) -> None:
        assert settings.data is not None
        self.settings, self.run = settings, run
        run.add_input("data", settings.data)
        if settings.weights is not None:
            run.add_input("weights", settings.weights)
        spec = read_data(settings.data)
        self.has_test = "test" in spec.splits
        self.doubts = doubts_of(build_index(spec, "train"))
        shared = {
            "data": str(settings.data),
            "image_size": settings.image_size,
            "device": settings.device,
        }
        chain = Chain(run, shared, redo_from=settings.redo_from, until=settings.until)
        self.chain = chain
        self.work = Work(settings, schedule_of(settings), target_of(settings), chain)

    def do(self) -> None:
        """Adapt, compare, cut, ship, tell."""
        schedule = self.work.schedule
        if schedule.shortened:
            log.warning("%s", schedule.shortened)
        log.info("%s", schedule.sentence())
        dense, adapted = self._dense()
        goal = self._goal(dense)
        longer = self._longer(dense)
        fair = max(dense, longer, key=lambda model: model.map50_95) if longer else None
        subject = with_options(self.work, Subject(dense, fair))
        trials = self._search(goal, Cutter(self.work, subject, adapted))
        chosen = best_of(trials)
        if chosen is None:
            raise PruningError(f"nothing could be cut: {trials[-1].why}")
        result = self._result(chosen)
        is_trained = self.chain.done[chosen.made].stage.verb == "train"
        steps = tell.between(self.chain, self.work, chosen.stages) if is_trained else []
        sides = Sides(dense, longer, fair, result, chosen.drop)
        shipped = line_up(self.work, self.run, sides, has_test=self.has_test)
        reached, judge = chosen.achieved, None if fair is None else fair.name
        finding = find(self.work.target, goal, reached, shipped, judge, self.doubts)
        told = [{**asdict(trial), "chosen": trial is chosen} for trial in trials]
        self._tell(finding, told, shipped, steps)

    def _dense(self) -> tuple[Model, Done | None]:
        """Train the dense model on the data; without epochs, take the weights as they are."""
        settings, epochs = self.settings, self.work.schedule.adapt
        if not epochs:
            assert settings.weights is not None
            file = str(settings.weights)
            judged = self.work.judge("dense", file)
            return Model("dense", "parent", "dense", file, settings.weights, judged), None
        done = self.work.train(
            "adapt",
            epochs,
            weights=None if settings.weights is None else str(settings.weights),
            cfg=settings.cfg or None,
            save_period=settings.rewind,
        )
        return self.work.model("dense", "parent", "adapted, dense", done), done

    def _longer(self, dense: Model) -> Model | None:
        """Train the dense model for as many epochs as the pruned one will get."""
        if not self.settings.longer:
            return None
        epochs = self.work.schedule.extra
        if not epochs:
            return dense
        done = self.work.train("longer", epochs, weights=dense.file, auto_anchor=False)
        return self.work.model("longer", "longer", f"dense, {epochs} more", done)

    def _goal(self, dense: Model) -> float | None:
        """Return the target as a factor over the dense model, timing it if that is needed.

        Raises:
            PruningError: The dense model meets it already.
        """
        target, costs = self.work.target, None
        if target.needs_costs:
            (costs,) = self.work.costs("time-dense", dense.file)
        goal = target.factor(costs)
        if goal is not None and goal <= 1:
            flag = target.kind.replace("_", "-")
            raise PruningError(f"the dense model meets --{flag} already: nothing is to be cut.")
        return goal

    def _search(self, goal: float | None, cutter: Cutter) -> list[Trial]:
        """Try cuts within the budget."""
        work = self.work

        def affordable() -> bool:
            fits = work.affordable(work.schedule.extra, owed=work.schedule.afterwards)
            if not fits:
                work.not_done.append("Another cut was not tried: --epochs or --hours are spent.")
            return fits

        trials = search(
            goal,
            work.schedule.attempts,
            cutter.attempt,
            affordable,
            furthest=self.settings.furthest,
            rounds=work.schedule.rounds,
        )
        for trial in trials:
            lost = "" if trial.drop is None else f", {trial.drop:.1f} points lost"
            word = "accepted" if trial.accepted else "not accepted"
            log.info("cut to %s%s: %s", work.target.describe(trial.achieved), lost, word)
        return trials

    def _result(self, chosen: Trial) -> Model:
        """Return the chosen trial's model, which has been judged."""
        made, judged = self.chain.done[chosen.made], self.chain.done[chosen.judged]
        step = "fine-tuned, pruned" if made.stage.verb == "train" else "pruned"
        file, path = made.file(made.main), made.path(made.main)
        return Model("pruned", "result", step, file, path, judged)

    def _tell(
        self,
        finding: Finding,
        trials: Sequence[Mapping[str, object]],
        shipped: Sequence[Shipped],
        steps: Sequence[Model],
    ) -> None:
        """Write and show what was found."""
        run, work = self.run, self.work
        rows = tell.table_rows(shipped, steps)
        parent = next(entry for entry in shipped if entry.model.role == "parent")
        tell.show(run, work, rows, (parent, finding.ships))
        tell.write_events(run.folder, [parent.model, *steps, finding.ships.model])
        run.report.update(
            target=work.target.facts(),
            verdict=finding.facts(work.target),
            trials=trials,
            options=work.options,
            stages=self.chain.facts(),
            not_done=work.not_done,
            recipe=RECIPE,
            **tell.facts(run, shipped, steps, rows),
        )
        log.info("\n%s, for prunus run:\n%s", RECIPE, self.chain.recipe())
        log.info("%s", finding.sentence(work.target))
        log.info("models, %s, %s, %s: %s", tell.TABLE, tell.PICTURE, RECIPE, run.folder)
