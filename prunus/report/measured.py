"""What a run of any verb measured: one row a model and runtime."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath

from prunus.report.compressed import Compressed
from prunus.report.sources import Source
from prunus.report.values import Interval, Record, interval, number, record, records, text

WORD = {"before": "before", "after": "pruned"}


@dataclass(frozen=True)
class Measured:
    """One model, in one runtime if it was timed.

    Attributes:
        run: Name of the run.
        model: What it is within the run; "" when the run has one only.
        figures: Its accuracy, parameters, operations and size.
        spread: 95 % interval of mAP50-95.
        runtime: What it was timed in.
        latency_ms: How long it took.
    """

    run: str
    model: str = ""
    figures: Record = field(default_factory=dict)
    spread: Interval | None = None
    runtime: str = ""
    latency_ms: float | None = None

    @property
    def title(self) -> str:
        return f"{self.run}: {self.model}" if self.model else self.run

    @property
    def map50_95(self) -> float | None:
        return self.figure("map50_95")

    def figure(self, name: str) -> float | None:
        """Return one of its figures, as reports call them."""
        return number(self.figures.get(name))


def measured(name: str, source: Source) -> list[Measured]:
    """Return the rows of a run; of a verb that is not known those of its model, if it says any."""
    return READERS.get(source.verb, _one)(name, source)


def _one(name: str, source: Source) -> list[Measured]:
    """Read train, val and the like: one model."""
    spread = interval(record(source.report.get("bootstrap")).get("map50_95"))
    figures = {**record(source.report.get("model")), **source.metrics}
    return [Measured(name, "", figures, spread)] if figures else []


def _compress(name: str, source: Source) -> list[Measured]:
    rows = []
    for model in Compressed(source).models:
        base = (name, model.name, {**model.facts, **model.val.metrics}, model.val.spread)
        timed = model.latency_ms
        rows += [Measured(*base, runtime, ms) for runtime, ms in timed.items()]
        rows += [] if timed else [Measured(*base)]
    return rows


def _prune(name: str, source: Source) -> list[Measured]:
    rows = []
    for side, word in WORD.items():
        facts = record(source.report.get(side))
        latency = number(facts.get("latency_ms"))
        runtime = "" if latency is None else "torch fp32"
        if facts:
            figures = {**facts, **record(facts.get("metrics"))}
            rows.append(Measured(name, word, figures, None, runtime, latency))
    return rows


def _quantize(name: str, source: Source) -> list[Measured]:
    runtime = text(source.report.get("format"))
    return [
        Measured(name, text(row.get("name")), row, None, runtime, number(row.get("ms")))
        for row in records(source.report.get("rows"))
    ]


def _benchmark(name: str, source: Source) -> list[Measured]:
    rows = []
    for row in records(source.report.get("rows")):
        model = PurePath(text(row.get("model"))).name
        runtime = " ".join(text(row.get(key)) for key in ("runtime", "precision"))
        threads = number(row.get("threads"))
        runtime += f", {threads:.0f} thr" if threads and threads > 1 else ""
        rows.append(Measured(name, model, row, None, runtime, number(row.get("latency_ms"))))
    return rows


READERS: dict[str, Callable[[str, Source], list[Measured]]] = {
    "compress": _compress,
    "prune": _prune,
    "quantize": _quantize,
    "benchmark": _benchmark,
}
"""How the report of a verb is read, where it does not hold one model alone."""
