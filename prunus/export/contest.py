"""`prunus benchmark`: models × runtimes, exported where needed, timed in one interleaved run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prunus.core.device import keep_freed_pages
from prunus.core.errors import ExportError, suggest
from prunus.core.files import megabytes
from prunus.core.records import Runner
from prunus.export.backends import BACKENDS, find_backend
from prunus.export.benchmark import Latency, measure_latency
from prunus.export.config import BenchmarkConfig
from prunus.export.facts import Origin
from prunus.export.form import Form
from prunus.export.run import export
from prunus.export.samples import painted_images
from prunus.weights.files import load_weights

CHECK_IMAGES = 2


@dataclass(frozen=True)
class Contestant:
    """One row of the benchmark, before it is timed.

    Attributes:
        model: The file that the user named.
        runtime: Name in `backends.BACKENDS`.
        precision: Of torch; "file" where the file has its own.
        path: What is run: `model`, or what was exported from it.
    """

    model: Path
    runtime: str
    precision: str
    path: Path

    @property
    def name(self) -> str:
        words = (str(self.model), self.runtime, self.precision)
        return " ".join(word for word in words if word != OF_THE_FILE)


OF_THE_FILE = "file"


@dataclass(frozen=True)
class BenchmarkRow:
    """One timed contestant.

    Attributes:
        contestant: What ran.
        megabytes: Of the file that ran.
        latency: What it took.
        speedup: Median of the first row over this one's.
    """

    contestant: Contestant
    megabytes: float
    latency: Latency
    speedup: float


def run_benchmark(settings: BenchmarkConfig, folder: Path) -> tuple[BenchmarkRow, ...]:
    """Time every model in every runtime that can run it; exports go into `folder`.

    Raises:
        ExportError: An unknown runtime, no such file, or a model that takes another size only.
    """
    for runtime in settings.runtimes:
        if runtime not in BACKENDS:
            raise ExportError(
                f"--runtimes: no runtime '{runtime}'.{suggest(runtime, BACKENDS)} "
                f"There is {', '.join(BACKENDS)}."
            )
    for model in settings.weights:
        if not model.is_file():
            raise ExportError(f"{model}: no such file.")
    keep_freed_pages()
    contestants = {entry.name: entry for entry in _contestants(settings, folder)}
    if not contestants:
        raise ExportError(f"--runtimes: none of {', '.join(settings.runtimes)} runs these models.")
    latencies = measure_latency(
        {name: _open(entry, settings) for name, entry in contestants.items()},
        settings.size_hw,
        batch=settings.batch_size,
        repeats=settings.repeats,
        warmup=settings.warmup,
        threads=settings.threads,
    )
    first_ms = next(iter(latencies.values())).median_ms
    return tuple(
        BenchmarkRow(
            entry, megabytes(entry.path), latencies[name], first_ms / latencies[name].median_ms
        )
        for name, entry in contestants.items()
    )


def _contestants(settings: BenchmarkConfig, folder: Path) -> Iterator[Contestant]:
    for number, model in enumerate(settings.weights):
        own = find_backend(model)
        for runtime in settings.runtimes:
            backend = BACKENDS[runtime]
            if backend is own and backend.write is None:
                for precision in settings.precisions:
                    yield Contestant(model, runtime, precision, model)
            elif backend is own:
                yield Contestant(model, runtime, OF_THE_FILE, model)
            elif own.write is None:  # a weights file: any other runtime needs an export
                path = folder / f"{number}-{model.stem}{backend.suffix}"
                _export(model, path, runtime, settings)
                yield Contestant(model, runtime, OF_THE_FILE, path)


def _export(model: Path, path: Path, runtime: str, settings: BenchmarkConfig) -> None:
    checkpoint = load_weights(model)
    export(
        checkpoint.detector,
        path,
        runtime,
        Form(settings.size_hw, settings.batch_size),
        painted_images(settings.size_hw, CHECK_IMAGES),
        Origin(checkpoint.sha256, checkpoint.licence),
    )


def _open(entry: Contestant, settings: BenchmarkConfig) -> Runner:
    precision = "auto" if entry.precision == OF_THE_FILE else entry.precision
    backend = BACKENDS[entry.runtime]
    return backend.open(
        entry.path, device=settings.device, precision=precision, threads=settings.threads
    )
