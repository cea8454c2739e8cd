"""Finished runs of any verbs side by side, as a page."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from prunus.report.blocks import (
    Block,
    Cell,
    Column,
    Details,
    Figure,
    Figures,
    Key,
    MissingError,
    Page,
    Section,
    Table,
    Verdict,
)
from prunus.report.measured import Measured, measured
from prunus.report.sections import section
from prunus.report.sections.trainings import curves
from prunus.report.sources import Source
from prunus.report.svg.scatter import Dot, front_words, scatter_chart
from prunus.report.values import Record, number, record, text
from prunus.report.wording import between, count, decimal, duration, share

PLACE = ("project", "name", "out", "exist_ok", "resume")
"""Settings that say where a run wrote, not what it did."""
MOST_SETTINGS = 150
OTHER_RUNS = "Milliseconds of different runs compare roughly, of different machines not at all."

Runs = Mapping[str, Source]


def comparison_page(sources: Sequence[Source]) -> Page:
    """Return the page of some runs, at least one."""
    runs = named(sources)
    rows = [row for name, source in runs.items() for row in measured(name, source)]
    many = len(runs) > 1
    title = f"{len(runs)} runs compared" if many else f"A run of {sources[0].verb}"
    makers = (
        ("models", "Models", partial(_models, rows)),
        ("latency", "Accuracy against latency", partial(_tradeoff, rows, list(runs))),
        ("trainings", "Trainings", partial(_trainings, runs)),
        ("runs", "Runs", partial(_runs, runs)),
        ("settings", "Settings that differ", partial(_settings, runs)),
    )
    sections: list[Section] = [section(name, heading, make) for name, heading, make in makers]
    verbs = ", ".join(f"{number} {verb}" for verb, number in _verbs(sources))
    return Page(title, verbs, _verdict(runs, rows), sections=sections)


def named(sources: Sequence[Source]) -> dict[str, Source]:
    """Return each run by the shortest name that no other has: its folder, or more of its path."""
    names = [source.name for source in sources]
    for parts in (2, 3):
        twice = {name for name, times in Counter(names).items() if times > 1}
        names = [
            text("/".join(source.folder.resolve().parts[-parts:])) if name in twice else name
            for name, source in zip(names, sources, strict=True)
        ]
    found: dict[str, Source] = {}
    for name, source in zip(names, sources, strict=True):
        found[name if name not in found else f"{name} ({len(found) + 1})"] = source
    return found


def _verbs(sources: Iterable[Source]) -> list[tuple[str, int]]:
    return list(Counter(source.verb for source in sources).items())


def _verdict(runs: Runs, rows: Sequence[Measured]) -> Verdict:
    """Name the most accurate and the fastest; say first what cannot be compared."""
    differ = len(_distinct(_data(source) for source in runs.values())) > 1
    judged = [] if differ else [row for row in rows if row.map50_95 is not None]
    timed = [row for row in rows if row.latency_ms]
    words = []
    if len(judged) > 1:
        best = max(judged, key=lambda row: row.map50_95 or 0.0)
        words.append(f"Most accurate: {best.title}, mAP50-95 {share(best.map50_95)}.")
    if len(timed) > 1:
        fastest = min(timed, key=lambda row: row.latency_ms or 0.0)
        time = f"{decimal(fastest.latency_ms)} ms in {fastest.runtime}"
        words.append(f"Fastest: {fastest.title}, {time}.")
    if len(_distinct(row.run for row in timed)) > 1:
        words.append(OTHER_RUNS)
    sentence = " ".join(words) or "What the reports say was measured."
    if differ:
        return Verdict(sentence, "Judged on different data: the accuracies do not compare", "bad")
    return Verdict(sentence)


def _data(source: Source) -> str:
    """Return what tells a data set from others: of its images and labels, or else of its file."""
    own = record(source.report.get("data")).get("sha256")
    inputs = record(source.report.get("inputs"))
    return text(record(inputs.get("data")).get("sha256") or own)


def _distinct(words: Iterable[str]) -> set[str]:
    return {word for word in words if word}


def _models(rows: Sequence[Measured]) -> Sequence[Block]:
    if not rows:
        raise MissingError("none of these runs measured a model.")
    numeric = ("mAP50-95", "mAP50", "precision", "recall", "parameters", "MB", "ms")
    columns = [Column("run"), Column("model"), *(Column(name, numeric=True) for name in numeric)]
    cells = [
        [
            Cell(row.run),
            Cell(row.model),
            Cell(share(row.map50_95), row.map50_95, between(row.spread)),
            Cell(share(row.map50), row.map50),
            Cell(share(row.precision), row.precision),
            Cell(share(row.recall), row.recall),
            Cell(count(row.params), row.params, _gflops(row)),
            Cell(decimal(row.file_mb), row.file_mb),
            Cell(decimal(row.latency_ms), row.latency_ms, row.runtime),
        ]
        for row in rows
    ]
    return [Table("Everything that was measured", columns, cells)]


def _gflops(row: Measured) -> str:
    return "" if row.gflops is None else f"{decimal(row.gflops)} GFLOPs"


def _tradeoff(rows: Sequence[Measured], runs: Sequence[str]) -> Sequence[Block]:
    slots = {name: place for place, name in enumerate(runs)}
    placed = [row for row in rows if row.latency_ms and row.map50_95 is not None]
    if not placed:
        raise MissingError("no run has both an accuracy and a latency.")
    runtimes = _distinct(row.runtime for row in placed)
    dots = [
        Dot(_dot_name(row, runtimes), row.latency_ms, row.map50_95, row.spread, slots[row.run])
        for row in placed
        if row.latency_ms is not None and row.map50_95 is not None
    ]
    listed = "; ".join(
        f"{row.title} {decimal(row.latency_ms)} ms in {row.runtime}, {share(row.map50_95)}"
        for row in placed
    )
    axis = f"ms in {runtimes.pop()}" if len(runtimes) == 1 else "ms"
    svg = scatter_chart(f"Accuracy against latency: {listed}", dots, axis, "mAP50-95")
    shown = dict.fromkeys(row.run for row in placed)
    legend = [Key(name, slots[name], "dot") for name in shown]
    return [Figures([Figure(svg, f"Up and to the left is better.{front_words(dots)}")], legend)]


def _dot_name(row: Measured, runtimes: set[str]) -> str:
    """Return what stands beside a dot, whose colour says the run already."""
    words = [row.model or row.run, row.runtime if len(runtimes) > 1 else ""]
    return ", ".join(word for word in words if word)


def _trainings(runs: Runs) -> Sequence[Block]:
    """Return the curves of the runs, and of the stages of those that were chains."""
    found: dict[str, Source] = {}
    for name, source in runs.items():
        if source.results:
            found[name] = source
        lines = source.report.get("stages")
        for line in lines if isinstance(lines, list) else ():
            stage = source.inner(record(line).get("folder"))
            if stage is not None and stage.results:
                found[f"{name}: {stage.name}"] = stage
    names = {id(source): name for name, source in found.items()}
    return curves(list(found.values()), lambda source: names[id(source)])


def _runs(runs: Runs) -> Sequence[Block]:
    titles = ("run", "verb", "finished", "folder", "data", "processor", "torch")
    columns = [Column(title) for title in titles]
    columns.insert(3, Column("time", numeric=True))
    rows = []
    for name, source in runs.items():
        seconds = number(source.report.get("seconds"))
        machine = record(source.report.get("machine"))
        packages = record(source.report.get("packages"))
        rows.append(
            [
                Cell(name),
                Cell(source.verb),
                Cell(text(source.report.get("finished"))),
                Cell(duration(seconds), seconds),
                Cell(text(str(source.folder))),
                Cell(_data(source)[:12]),
                Cell(text(machine.get("gpu") or machine.get("processor"))),
                Cell(text(packages.get("torch"))),
            ]
        )
    return [Table("The runs; data: the first digits of its SHA-256", columns, rows)]


def _settings(runs: Runs) -> Sequence[Block]:
    flat = {name: _flat(source.settings) for name, source in runs.items()}
    keys = list(dict.fromkeys(key for settings in flat.values() for key in settings))
    differing = [key for key in keys if len({flat[name].get(key, "") for name in runs}) > 1]
    if len(runs) < 2:
        raise MissingError("there is one run only.")
    if not differing:
        raise MissingError("these runs had the same settings.")
    rows = [
        [Cell(key), *(Cell(flat[name].get(key, "")) for name in runs)]
        for key in differing[:MOST_SETTINGS]
    ]
    columns = [Column("setting"), *(Column(name) for name in runs)]
    table = Table("Settings; empty: the verb has no such setting", columns, rows)
    return [table] if len(rows) <= 20 else [Details(f"{len(rows)} settings", [table])]


def _flat(settings: Record, before: str = "") -> dict[str, str]:
    """Return settings by name, those within others by both names."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        key = f"{before}{text(name)}"
        if not before and name in PLACE:
            continue
        if isinstance(value, dict) and not before:
            found.update(_flat(value, f"{key}."))
        else:
            found[key] = text(" ".join(map(str, value)) if isinstance(value, list) else value)
    return found
