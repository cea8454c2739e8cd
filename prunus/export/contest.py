"""`prunus benchmark`: models × runtimes × precisions × sizes × threads, timed in one run.

Every contestant runs in a process of its own, so that its memory is its own, its threads are as
many as were asked for, and a runtime that crashes loses only its row. They take turns, image by
image (`benchmark.measure_latency` says why).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from prunus.core.console import log, track
from prunus.core.device import resolve_precision, select_device
from prunus.core.errors import ExportError, suggest
from prunus.core.records import Runner, Size
from prunus.export.backends import BACKENDS, Backend, find_backend
from prunus.export.benchmark import Latency, summarise
from prunus.export.config import COMPILED, BenchmarkConfig
from prunus.export.engine_runner import EngineRunner
from prunus.export.engines import EngineError, Options, Pictures
from prunus.export.engines.child import ChildEngine
from prunus.export.facts import Origin, facts_of
from prunus.export.form import Form
from prunus.export.run import export
from prunus.export.samples import painted_images
from prunus.weights.files import TORCH_SUFFIXES, Checkpoint, load_weights

CHECK_IMAGES = 2
OWN, WALL = "own", "wall"
SEED = 0
OF_RUNTIMES = {"torch": ("fp32", "bf16", "fp16"), COMPILED: ("fp32", "bf16", "fp16"),
               "openvino": ("fp32", "bf16")}  # fmt: skip
"""What a runtime can be told to compute in; the others compute in float32."""

Load = Callable[[Path], Checkpoint]
"""Reads a weights file, each once."""
Judge = Callable[[Runner, Size], float]
"""(runner, size) -> mAP50-95 of a data set's images."""


@dataclass(frozen=True)
class Contestant:
    """One row of the benchmark, before it is timed.

    Attributes:
        model: The file that the user named.
        runtime: In BACKENDS, or "compiled".
        precision: What it computes in: fp32, bf16, fp16; "int8" or "int8 + bf16" of such files.
        size_hw: Of the images, in pixels.
        threads: CPU threads.
        path: What is run: `model`, or what was exported from it.
    """

    model: Path
    runtime: str
    precision: str
    size_hw: Size
    threads: int
    path: Path

    @property
    def name(self) -> str:
        height, width = self.size_hw
        size = str(height) if height == width else f"{height}x{width}"
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.model} {self.runtime} {self.precision} {size} {threads}"


@dataclass(frozen=True)
class BenchmarkRow:
    """One timed contestant.

    Attributes:
        contestant: What ran.
        megabytes: Of the files that ran.
        latency: What it took.
        peak_mb: Largest resident size of its process, 10^6 bytes.
        speedup: Median of the first row of its size over this one's.
        clock: "own": the time that its process computed, which a busy machine does not change; with
            several threads or a GPU "wall", since there it says little.
        map50_95: Of the file, where a data set was given.
    """

    contestant: Contestant
    megabytes: float
    latency: Latency
    peak_mb: float
    speedup: float
    clock: str
    map50_95: float | None = None


def run_benchmark(
    settings: BenchmarkConfig, folder: Path, judge: Judge | None = None
) -> tuple[BenchmarkRow, ...]:
    """Time every model in every runtime that can run it; exports go into `folder`.

    Raises:
        ExportError: An unknown runtime, no such file, or nothing that can be run.
    """
    _check(settings)
    runners = _started(settings, folder, cache(load_weights))
    if not runners:
        raise ExportError(f"--runtimes: none of {', '.join(settings.runtimes)} runs these models.")
    on_cpu = select_device(settings.device).type == "cpu"
    clocks = {entry: OWN if entry.threads == 1 and on_cpu else WALL for entry in runners}
    latencies = _race(runners, settings, clocks)
    if not latencies:
        raise ExportError("none of the models could be timed: see the warnings above.")
    peaks = {entry: _engine(runners[entry]).peak_bytes / 1e6 for entry in latencies}
    accuracies = {} if judge is None else _accuracies(latencies, runners, judge)
    first: dict[Size, float] = {}
    rows = []
    for entry, latency in latencies.items():
        rows.append(
            BenchmarkRow(
                entry,
                _backend(entry.runtime).megabytes(entry.path),
                latency,
                peaks[entry],
                first.setdefault(entry.size_hw, latency.median_ms) / latency.median_ms,
                clocks[entry],
                accuracies.get(entry),
            )
        )
    return tuple(rows)


def _accuracies(
    entries: Iterable[Contestant], runners: Mapping[Contestant, EngineRunner], judge: Judge
) -> dict[Contestant, float]:
    """Judge each file once in each runtime, precision and size: threads change no figure."""
    known: dict[Contestant, float] = {}
    accuracies = {}
    for entry in entries:
        alike = replace(entry, threads=1)
        if alike not in known:
            known[alike] = judge(runners[entry], entry.size_hw)
        accuracies[entry] = known[alike]
    return accuracies


def _check(settings: BenchmarkConfig) -> None:
    known = (*BACKENDS, COMPILED)
    for runtime in settings.runtimes:
        if runtime not in known:
            raise ExportError(
                f"--runtimes: no runtime '{runtime}'.{suggest(runtime, known)} "
                f"There is {', '.join(known)}."
            )
    for model in settings.weights:
        if not model.is_file():
            raise ExportError(f"{model}: no such file.")
        if settings.weights.count(model) > 1:
            raise ExportError(f"--weights: {model} is given twice.")


def _started(settings: BenchmarkConfig, folder: Path, load: Load) -> dict[Contestant, EngineRunner]:
    """Return a runner for each contestant that can run; say of the others why not."""
    runners: dict[Contestant, EngineRunner] = {}
    for entry in _contestants(settings, folder, load):
        runner = _opened_if_it_runs(entry, settings, load)
        if runner is not None:
            runners[replace(entry, precision=_shown_precision(entry, runner))] = runner
    return runners


def _shown_precision(entry: Contestant, runner: EngineRunner) -> str:
    """Return what is computed in: of an INT8 file also what the rest of it is, if that is told."""
    if runner.facts.precision != "int8":
        return entry.precision
    return f"int8 + {entry.precision}" if entry.runtime in OF_RUNTIMES else "int8"


def _opened_if_it_runs(
    entry: Contestant, settings: BenchmarkConfig, load: Load
) -> EngineRunner | None:
    try:
        runner = _open(entry, settings, load)
        runner.facts.check_input((settings.batch_size, 3, *entry.size_hw), str(entry.path))
    except ExportError as error:
        log.warning("left out: %s: %s", entry.name, error)
        return None
    return runner


def _contestants(settings: BenchmarkConfig, folder: Path, load: Load) -> Iterator[Contestant]:
    for number, model in enumerate(settings.weights):
        is_weights = model.suffix.lower() in TORCH_SUFFIXES
        own = None if is_weights else find_backend(model)
        for runtime, size_hw in product(settings.runtimes, settings.sizes_hw):
            path: Path | None = model if own is None or _backend(runtime) is own else None
            if is_weights and _backend(runtime).write is not None:
                height, width = size_hw
                name = f"{number}-{model.stem}-{height}x{width}{_backend(runtime).suffix}"
                path = folder / name
                form = Form(size_hw, settings.batch_size)
                if not _exported(load(model), path, runtime, form):
                    continue
            if path is None:
                continue
            for precision, threads in product(settings.precisions, settings.threads):
                if precision in OF_RUNTIMES.get(runtime, ("fp32",)):
                    yield Contestant(model, runtime, precision, size_hw, threads, path)


def _exported(checkpoint: Checkpoint, path: Path, runtime: str, form: Form) -> bool:
    """Export for a runtime; say so if that failed."""
    images = painted_images(form.size_hw, CHECK_IMAGES)
    origin = Origin(checkpoint.sha256, checkpoint.licence)
    try:
        export(checkpoint.detector, path, runtime, form, images, origin)
    except ExportError as error:
        log.warning("left out: %s", error)
        return False
    log.info("%s: exported for %s", path, runtime)
    return True


def _open(entry: Contestant, settings: BenchmarkConfig, load: Load) -> EngineRunner:
    if entry.runtime in ("torch", COMPILED):
        return _open_weights(entry, settings.device, load)
    opened = BACKENDS[entry.runtime].open(
        entry.path,
        device=settings.device,
        precision=entry.precision,
        threads=entry.threads,
        contained=True,
    )
    assert isinstance(opened, EngineRunner)
    return opened


def _open_weights(entry: Contestant, device: str, load: Load) -> EngineRunner:
    place = select_device(device)
    options = Options(resolve_precision(entry.precision, place), entry.threads, str(place))
    facts = facts_of(load(entry.path).detector, Form(entry.size_hw, dynamic=True))
    try:
        engine = ChildEngine(entry.runtime, [str(entry.path.resolve()).encode()], options)
    except EngineError as error:
        raise ExportError(f"{entry.path}: {error}.") from error
    return EngineRunner(str(entry.path), engine, facts)


def _race(
    runners: Mapping[Contestant, EngineRunner],
    settings: BenchmarkConfig,
    clocks: Mapping[Contestant, str],
) -> dict[Contestant, Latency]:
    """Let all take turns; who fails is left out from there on, and that is said."""
    generator = np.random.default_rng(SEED)
    images = {
        size_hw: generator.integers(0, 256, (settings.batch_size, 3, *size_hw), dtype=np.uint8)
        for size_hw in settings.sizes_hw
    }
    times_ms: dict[Contestant, list[float]] = {entry: [] for entry in runners}
    rounds = range(-settings.warmup, settings.repeats)
    for number in track(rounds, "benchmarking", len(rounds)):
        for entry in list(times_ms):
            engine = _engine(runners[entry])
            if not _runs(engine, images[entry.size_hw], entry.name):
                del times_ms[entry]
            elif number >= 0:
                own = clocks[entry] == OWN
                times_ms[entry].append(engine.own_ms if own else engine.wall_ms)
    return {entry: summarise(times, settings.batch_size) for entry, times in times_ms.items()}


def _runs(engine: ChildEngine, images: Pictures, name: str) -> bool:
    """Run it once; say so if that failed."""
    try:
        engine(images)
    except EngineError as error:
        log.warning("left out: %s: %s", name, error)
        return False
    return True


def _engine(runner: EngineRunner) -> ChildEngine:
    assert isinstance(runner.engine, ChildEngine)
    return runner.engine


def _backend(runtime: str) -> Backend:
    return BACKENDS["torch" if runtime == COMPILED else runtime]
