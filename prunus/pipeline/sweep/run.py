"""`sweep`: many prunings → one table as they come, the Pareto front, and a report; resumable."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median

from prunus.core.config import parse
from prunus.core.console import log
from prunus.core.errors import ConfigError
from prunus.core.files import read_yaml
from prunus.core.runs import CONFIG, Run, reopen, start
from prunus.pipeline.sweep.config import HOW, HOW_LONG, SweepConfig
from prunus.pipeline.sweep.drive import Driver, Proposals, Queue, begin_again
from prunus.pipeline.sweep.forecast import forecast
from prunus.pipeline.sweep.front import candidates, front_of, front_table, is_timed, plot_front
from prunus.pipeline.sweep.local import LocalWorkers, cores
from prunus.pipeline.sweep.plan import Files, Inputs, check_files, check_stages, checked, grid, job
from prunus.pipeline.sweep.point import Point
from prunus.pipeline.sweep.search import Search
from prunus.pipeline.sweep.table import CSV, FILE, Table, read_trials
from prunus.pipeline.sweep.trial import Job
from prunus.pipeline.sweep.workers import Workers

VERB = "sweep"
PICTURE = "pareto.png"


def sweep(settings: SweepConfig) -> dict[str, object]:
    """Run every trial that is missing, and return the report.

    Raises:
        PrunusError: A trial could not even begin: nothing has been computed then.
        KeyboardInterrupt: Stopped; what is done is kept.
    """
    folder = folder_to_resume(settings)
    if folder is not None:
        settings = resumed(settings, folder)
    points = grid(settings)
    check_stages(settings)
    inputs = check_files(settings)
    if settings.dry_run:
        return _forecast(settings, len(points), inputs, folder)
    run = start(VERB, settings) if folder is None else reopen(VERB, folder, settings)
    with run:
        run.add_input("weights", inputs.weights)
        run.add_input("data", inputs.data)
        files = Files(inputs.weights, inputs.data, run.folder.resolve())
        _compute(run, settings, points, files)
        _report(run)
        return run.finish()


def folder_to_resume(settings: SweepConfig) -> Path | None:
    """Return the folder of the sweep to go on with: --resume, or --out where a sweep lies.

    Raises:
        ConfigError: --resume names a folder without a sweep.
    """
    if settings.resume is not None:
        if not (settings.resume / FILE).is_file():
            raise ConfigError(
                f"--resume: {settings.resume} holds no {FILE}. Give the folder of a `prunus "
                "sweep` run."
            )
        return settings.resume
    if settings.out is not None and (settings.out / FILE).is_file():
        return settings.out
    return None


def resumed(settings: SweepConfig, folder: Path) -> SweepConfig:
    """Return the settings of a sweep, with what was given now of who computes on top.

    Raises:
        ConfigError: Something was given that results depend on, and it is another than before.
    """
    content = read_yaml(folder / CONFIG)
    saved = parse(
        SweepConfig,
        {**(content if isinstance(content, dict) else {}), "resume": None},
        str(folder / CONFIG),
    )
    given = settings.model_dump(exclude_unset=True)
    both = parse(SweepConfig, {**saved.model_dump(), **given, "resume": None}, VERB)
    for name in SweepConfig.model_fields:
        if name in (*HOW, *HOW_LONG, "dry_run"):
            continue
        now, then = getattr(both, name), getattr(saved, name)
        if now != then:
            raise ConfigError(
                f"--{name.replace('_', '-')}: the sweep in {folder} has {then}, not {now}. Leave "
                "it out to go on with that sweep, or choose another --out."
            )
    if (both.trials is None) != (saved.trials is None):
        raise ConfigError(f"--trials: the sweep in {folder} is a grid, or is none. Choose --out.")
    return both


def _compute(run: Run, settings: SweepConfig, points: list[Point], files: Files) -> None:
    """Run the trials; the table is whole whenever this ends."""
    with Table(run.path(FILE)) as table:
        table.check_inputs({"weights": files.weights, "data": files.data})
        _fill(table, settings, points)
        begin_again(table, failed=settings.retry_failed)
        proposals: Proposals = (
            Queue(table.trials())
            if settings.trials is None
            else Search(settings, table, partial(_checked, settings=settings))
        )
        if proposals.left:
            with closing(_workers(settings, files)) as workers:
                log.info(
                    "%d trials to go, %d at a time: %s", proposals.left, workers.count, run.folder
                )
                try:
                    Driver(table, workers, proposals, _job_maker(settings, files)).run()
                except KeyboardInterrupt as stop:
                    raise KeyboardInterrupt(_kept(table, run.folder)) from stop
                finally:
                    table.write_csv(run.path(CSV))
        table.write_csv(run.path(CSV))


def _fill(table: Table, settings: SweepConfig, points: list[Point]) -> None:
    """Give a new table its rows: the dense model, and the grid's unless a search makes them."""
    if not table.trials():
        table.add([None, *(points if settings.trials is None else ())])


def _checked(point: Point, settings: SweepConfig) -> Point:
    return checked(point, settings)


def _workers(settings: SweepConfig, files: Files) -> Workers:
    if settings.ray is None:
        return LocalWorkers(settings.workers)
    from prunus.pipeline.sweep.cluster import RayWorkers  # late: Ray is an extra

    workers = RayWorkers(settings.ray, settings.workers)
    workers.check(files)
    return workers


def _job_maker(settings: SweepConfig, files: Files) -> Callable[[int, Point | None, Path], Job]:
    def make(number: int, point: Point | None, folder: Path) -> Job:
        return job(number, point, settings, Files(files.weights, files.data, folder))

    return make


def _kept(table: Table, folder: Path) -> str:
    trials = table.trials()
    done = sum(trial.status in ("done", "failed") for trial in trials)
    return f"{done} of {len(trials)} trials are kept. Go on with: prunus sweep --resume {folder}"


def _report(run: Run) -> None:
    """Draw and tell what was found."""
    trials = read_trials(run.folder)
    found = candidates(trials)
    front = front_of(found)
    failed = [trial for trial in trials if trial.status == "failed"]
    if found:
        plot_front(run.path(PICTURE), found, front)
        against = "milliseconds" if is_timed(trials) else "FLOPs"
        log.info("%s", front_table(f"Pareto front, mAP50-95 against {against}", front))
    if failed:
        log.warning("%d of %d trials failed; see %s", len(failed), len(trials), run.path(CSV))
    log.info("table: %s; picture: %s", run.path(FILE), run.path(PICTURE) if found else "none")
    run.report = {
        "table": str(run.path(FILE)),
        "csv": str(run.path(CSV)),
        "picture": str(run.path(PICTURE)) if found else None,
        "trials": dict(Counter(trial.status for trial in trials)),
        "core_seconds": sum(trial.core_seconds or 0.0 for trial in trials),
        "dense": next((one.facts() for one in found if one.point is None), None),
        "front": [one.facts() for one in front],
        "failed": [{"trial": one.title, "error": one.error} for one in failed],
    }


def _forecast(
    settings: SweepConfig, points: int, inputs: Inputs, folder: Path | None
) -> dict[str, object]:
    """Say what is to come, from the trials that are done where there are some."""
    trials = [] if folder is None else read_trials(folder)
    ended = sum(trial.status in ("done", "failed") for trial in trials[1:])
    known = [trial.core_seconds for trial in trials[1:] if trial.status == "done"]
    count = (points if settings.trials is None else settings.trials) - ended
    workers = settings.workers or (cores() if settings.ray is None else None)
    return forecast(
        settings, count, inputs.images, workers, median(filter(None, known)) if any(known) else None
    )
