"""`compress`: weights, data and a target in; a smaller detector and the proof out."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from prunus.core.config import parse
from prunus.core.console import log
from prunus.core.errors import ExportError, PruningError
from prunus.core.runs import Run
from prunus.data.index import build_index
from prunus.data.spec import read_data
from prunus.pipeline.chain.chain import RECIPE, Chain, Reached
from prunus.pipeline.chain.reopen import open_run
from prunus.pipeline.chain.stage import Done
from prunus.pipeline.compress import tell
from prunus.pipeline.compress.config import CompressConfig
from prunus.pipeline.compress.cutting import Cutter, Subject
from prunus.pipeline.compress.effort import Schedule, schedule_of
from prunus.pipeline.compress.search import Trial, best_of, search
from prunus.pipeline.compress.ship import Shipped, place, quantized, timed
from prunus.pipeline.compress.target import Target, target_of
from prunus.pipeline.compress.verdict import find
from prunus.pipeline.compress.work import Model, Work
from prunus.pipeline.sweep.best import best_of_sweep
from prunus.report.page import write_report

VERB = "compress"
NEEDS_TIMES = ("latency_ms", "size_mb")
"""Targets that are no factors until the dense model has been measured."""
PAGE = "report.html"
FROM_SWEEP = ("criterion", "repair", "scope", "round_to")
"""What a sweep decides; how much goes is the target's."""
FASTER = 1.03
"""What an option must gain in the target's runtime: less is noise."""


def compress(settings: CompressConfig) -> dict[str, object]:
    """Run the whole chain, or go on with one, and return the report.

    Raises:
        PruningError: Nothing could be removed.
        ConfigError: The settings leave too few epochs, or there is nothing to go on with.
    """
    if settings.resume is None:
        schedule_of(settings)  # its errors come before a folder is made
        settings = with_best_of_sweep(settings)
    run, settings = open_run(VERB, settings)
    with run:
        job = _Job(settings, run)
        try:
            job.do()
        except Reached as stage:
            log.info("stopped after %s. Go on: prunus compress --resume %s", stage, run.folder)
            return {"stopped_after": str(stage), "stages": job.chain.facts()}
        report = run.finish()
    write_report(run.folder, run.path(PAGE))
    log.info("report: %s", run.path(PAGE))
    return report


def with_best_of_sweep(settings: CompressConfig) -> CompressConfig:
    """Return the settings with how the best trial of `--from-sweep` cut, if there is one.

    Raises:
        ConfigError: The sweep has no trial that reaches the target.
    """
    if settings.from_sweep is None:
        return settings
    best = best_of_sweep(settings.from_sweep, speedup=settings.speedup, flops=settings.flops)
    assert best.point is not None
    values = {key: value for key, value in vars(best.point).items() if key in FROM_SWEEP}
    log.info("%s: %s", settings.from_sweep, best.point)
    return parse(CompressConfig, {**settings.model_dump(mode="json"), **values}, "--from-sweep")


class _Job:
    """One run: what it was told, and what it has found so far."""

    def __init__(self, settings: CompressConfig, run: Run) -> None:
        assert settings.data is not None
        self.settings, self.run, self.data = settings, run, settings.data
        run.add_input("data", settings.data)
        if settings.weights is not None:
            run.add_input("weights", settings.weights)
        spec = read_data(settings.data)
        self.has_test = "test" in spec.splits
        self.train_images = build_index(spec, "train")
        self.schedule: Schedule = schedule_of(settings)
        self.target: Target = target_of(settings)
        shared = {
            "data": str(settings.data),
            "image_size": settings.image_size,
            "device": settings.device,
        }
        self.chain = Chain(run, shared, redo_from=settings.redo_from, until=settings.until)
        self.work = Work(settings, self.schedule, self.target, self.chain)
        self.options: list[dict[str, Any]] = []
        self.not_done: list[str] = []

    def do(self) -> None:
        """Adapt, compare, cut, ship, tell."""
        log.info("%s", self.schedule.sentence())
        dense, adapted = self._dense()
        fair = self._longer(dense)
        teacher = max((m for m in (dense, fair) if m), key=lambda model: model.map50_95)
        subject = self._with_options(Subject(dense, fair, teacher))
        goal = self._goal(dense)
        trials = self._search(goal, Cutter(self.work, subject, adapted))
        chosen = best_of(trials)
        if chosen is None:
            raise PruningError(f"nothing could be cut: {trials[-1].why}")
        made = self.chain.done[chosen.stages[-2]]
        trained = made.stage.verb == "train"
        step = "fine-tuned, pruned" if trained else "pruned"
        file = "best" if trained else "weights"
        result = Model(
            "pruned", "result", step, made.file(file), made.path(file),
            self.chain.done[chosen.stages[-1]],
        )  # fmt: skip
        steps = tell.between(self.chain, self.work, chosen.stages) if trained else []
        shipped = self._ship(dense, fair, result, chosen)
        self._report(goal, trials, chosen, shipped, steps)

    def _dense(self) -> tuple[Model, Done | None]:
        """Train the dense model on the data; without epochs, take the weights as they are."""
        settings, epochs = self.settings, self.schedule.adapt
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
        if not (self.settings.longer and self.schedule.extra):
            if self.settings.longer:
                return replace(dense, role="longer")
            return None
        done = self.work.train("longer", self.schedule.extra, weights=dense.file, auto_anchor=False)
        return self.work.model("longer", "longer", f"dense, {self.schedule.extra} more", done)

    def _with_options(self, subject: Subject) -> Subject:
        """Try other activations and factors on the dense model: which make the runtime faster?"""
        settings = self.settings
        wanted: list[tuple[str, dict[str, Any], str]] = []
        if settings.low_rank is not None:
            rank = {"rank": settings.low_rank}
            wanted.append(("factorize", rank, f"low rank {settings.low_rank:g}"))
        if settings.activation is not None:
            wanted.append(("activation", {"to": settings.activation}, settings.activation))
        for verb, values, title in wanted:
            done = self.chain.do(f"try-{verb}", verb, weights=subject.dense.file, **values)
            dense, changed = self.work.costs(
                f"time-{verb}", subject.dense.file, done.file("weights")
            )
            gain = dense.ms / changed.ms
            accepted = gain >= FASTER
            self._decide(title, accepted, f"{gain:.2f}x as fast in {self.target.runtime} "
                         f"{self.target.precision}, uncut")  # fmt: skip
            if accepted:
                factor = self.target.measured(dense, changed) or 1.0
                subject = replace(
                    subject,
                    options=(*subject.options, (verb, values)),
                    gain=subject.gain * max(factor, 1.0),
                )
        return subject

    def _decide(self, option: str, accepted: bool, why: str) -> None:
        log.info("%s: %s: %s", option, "accepted" if accepted else "rejected", why)
        self.options.append({"option": option, "accepted": accepted, "why": why})

    def _goal(self, dense: Model) -> float | None:
        """Return the target as a factor over the dense model, timing it if that is needed.

        Raises:
            PruningError: The dense model meets it already.
        """
        if self.target.goal is None:
            return None
        if self.target.kind in NEEDS_TIMES:
            goal = self.target.factor(self.work.costs_of("time-dense", dense.file))
        else:
            goal = self.target.factor(None)
        if goal is not None and goal <= 1:
            raise PruningError(
                f"the dense model meets --{self.target.kind.replace('_', '-')} already: nothing is "
                "to be cut."
            )
        return goal

    def _search(self, goal: float | None, cutter: Cutter) -> list[Trial]:
        """Try cuts within the budget."""

        def affordable() -> bool:
            fits = self.work.affordable(self.schedule.finetune)
            if not fits:
                self.not_done.append("Another cut was not tried: --epochs or --hours are spent.")
            return fits

        furthest = self.settings.furthest
        attempts = self.schedule.attempts
        trials = search(goal, attempts, cutter.attempt, affordable, furthest=furthest)
        for trial in trials:
            lost = "" if trial.drop is None else f", {trial.drop:.1f} points lost"
            word = "accepted" if trial.accepted else "not accepted"
            log.info("cut to %s%s: %s", self.target.describe(trial.achieved), lost, word)
        return trials

    def _ship(
        self, dense: Model, fair: Model | None, result: Model, chosen: Trial
    ) -> list[Shipped]:
        """Export, quantize, judge on test and time; the dense model first, the result last."""
        names = {"dense": dense, **({"longer": fair} if fair and fair is not dense else {})}
        shipped = [self._place(model, name) for name, model in names.items()]
        shipped += [self._place(model, model.name) for model in self._comparators(result)]
        pruned = self._place(result, "pruned")
        extra = list(self._int8(dense, result, chosen)) if self.schedule.int8 else []
        return self._tested(timed(self.work, [*shipped, *extra, pruned]))

    def _place(self, model: Model, name: str) -> Shipped:
        return place(self.work, self.run, model, name, self.data)

    def _comparators(self, result: Model) -> Iterator[Model]:
        """Train what might do the job without pruning."""
        schedule, settings = self.schedule, self.settings
        epochs = schedule.adapt + schedule.extra
        if settings.smaller is not None:
            done = self.work.train("smaller", epochs, weights=str(settings.smaller))
            yield self.work.model("smaller", "smaller", f"{settings.smaller.stem}, dense", done)
        if schedule.from_scratch:
            done = self.work.train("scratch", epochs, weights=result.file, fresh=True)
            yield self.work.model("scratch", "scratch", "pruned shape, from scratch", done)

    def _int8(self, dense: Model, result: Model, chosen: Trial) -> Iterator[Shipped]:
        """Quantize the dense and the pruned model for the target's runtime."""
        limit = self.target.max_drop
        left = 1.0 if limit is None else limit - max(chosen.drop or 0.0, 0.0)
        for model, name, points in (
            (dense, "dense", limit if limit is not None else 1.0),
            (result, "pruned", left),
        ):
            entry, why = quantized(self.work, self.run, model, name, points)
            self._decide(f"INT8 of the {name} model", entry is not None, why)
            if entry is not None:
                yield entry

    def _tested(self, shipped: list[Shipped]) -> list[Shipped]:
        """Judge all on the test split: once, at the end."""
        if not self.has_test:
            self.not_done.append("No figures on a test split: the data set has none.")
            return shipped
        tested: list[Shipped] = []
        fair: Done | None = None
        for entry in shipped:
            model = entry.model
            file = str(entry.runtime_file) if entry.int8 else model.file
            beside = fair if model.role == "result" else None
            test = self.work.judge(model.name, file, "test", beside)
            fair = test if model.role == "longer" else fair
            tested.append(replace(entry, test=test))
        return tested

    def _report(
        self,
        goal: float | None,
        trials: list[Trial],
        chosen: Trial,
        shipped: list[Shipped],
        steps: list[Model],
    ) -> None:
        """Write and show what was found."""
        run, target = self.run, self.target
        by_role = {entry.model.role: entry for entry in shipped}
        factor = self._final_factor(by_role, chosen)
        finding = find(target, goal, factor, shipped, self.train_images)
        rows = tell.table_rows(shipped, steps)
        parent, result = by_role.get("parent", shipped[0]), by_role["result"]
        tell.show(run, self.work, rows, (parent, result))
        tell.write_events(run.folder, [parent.model, *steps, result.model])
        run.report.update(
            target=target.facts(),
            verdict=finding.facts(target),
            trials=[asdict(trial) for trial in trials],
            options=self.options,
            stages=self.chain.facts(),
            not_done=self.not_done,
            recipe=RECIPE,
            **tell.facts(run, shipped, steps, rows),
        )
        log.info("\n%s", finding.sentence(target))
        log.info("models, %s, %s, %s: %s", tell.TABLE, tell.PICTURE, RECIPE, run.folder)

    def _final_factor(self, by_role: dict[str, Shipped], chosen: Trial) -> float:
        """Return what the last benchmark says, where the target is milliseconds."""
        if self.target.kind not in ("speedup", "latency_ms"):
            return chosen.achieved
        name = f"{self.target.runtime} {self.target.precision}"
        try:
            parent = by_role.get("parent") or by_role["longer"]
            return parent.latency_ms[name] / by_role["result"].latency_ms[name]
        except KeyError as missing:
            raise ExportError(f"benchmark: no row of {missing} for {name}.") from missing
