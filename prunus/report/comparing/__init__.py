"""Finished runs of any verbs side by side, as a page."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

from prunus.report.comparing.figures import distinct, models, tradeoff, trainings
from prunus.report.comparing.runs import Runs, data_digest, list_runs, settings_that_differ
from prunus.report.measured import Measured, measured
from prunus.report.outline import Page, Verdict, section
from prunus.report.sources import Source
from prunus.report.values import text
from prunus.report.wording import decimal, share

OTHER_RUNS = "Milliseconds of different runs compare roughly, of different machines not at all."


def comparison_page(sources: Sequence[Source]) -> Page:
    """Return the page of some runs, at least one."""
    runs = named(sources)
    rows = [row for name, source in runs.items() for row in measured(name, source)]
    many = len(runs) > 1
    title = f"{len(runs)} runs compared" if many else f"A run of {sources[0].verb}"
    makers = (
        ("models", "Models", partial(models, rows)),
        ("latency", "Accuracy against latency", partial(tradeoff, rows, list(runs))),
        ("trainings", "Trainings", partial(trainings, runs)),
        ("runs", "Runs", partial(list_runs, runs)),
        ("settings", "Settings that differ", partial(settings_that_differ, runs)),
    )
    sections = [section(name, heading, make) for name, heading, make in makers]
    verbs = Counter(source.verb for source in sources)
    subtitle = ", ".join(f"{times} {verb}" for verb, times in verbs.items())
    return Page(title, subtitle, _verdict(runs, rows), sections=sections)


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


def _verdict(runs: Runs, rows: Sequence[Measured]) -> Verdict:
    """Name the most accurate and the fastest; say first what cannot be compared."""
    differ = len(distinct(data_digest(source) for source in runs.values())) > 1
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
    if len(distinct(row.run for row in timed)) > 1:
        words.append(OTHER_RUNS)
    sentence = " ".join(words) or "What the reports say was measured."
    if differ:
        return Verdict(sentence, "Judged on different data: the accuracies do not compare", "bad")
    return Verdict(sentence)
