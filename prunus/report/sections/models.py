"""The table of models: accuracy with intervals, cost and speed, against the fair comparator."""

from collections.abc import Sequence

from prunus.report.blocks import Block, Cell, MissingError, Paragraph, Table, columns
from prunus.report.compressed import LONGER, PARENT, RESULT, Compressed
from prunus.report.judged import Judged, Model
from prunus.report.values import Record, interval, number, record
from prunus.report.wording import between, count, decimal, gflops, plural, points, share, times

ROLES = {
    PARENT: "dense parent",
    LONGER: "trained as long",
    RESULT: "pruned, in float",
    "scratch": "trained from scratch",
    "smaller": "next smaller model",
}
"""What a role is called, where its own name does not say it."""


def models(run: Compressed) -> Sequence[Block]:
    """Return the table of all models."""
    if not run.models:
        raise MissingError("the report names no models.")
    tested = any(model.test.map50_95 is not None for model in run.models)
    figures = ["mAP50-95", "change", "mAP50", *(["test mAP50-95", "test change"] if tested else [])]
    figures += [*run.runtimes, "parameters", "MB"]
    headings = columns("model") + columns(*figures, numeric=True)
    rows = [_row(run, model, tested=tested) for model in run.models]
    marked = [place for place, model in enumerate(run.models) if model is run.result]
    table = Table("Every model of this run, as measured", headings, rows, marked)
    return [Paragraph(_words(run)), table]


def _row(run: Compressed, model: Model, *, tested: bool) -> list[Cell]:
    cells = [
        Cell(model.name, model.name, _description(run, model)),
        _accuracy(model.val),
        _change(run, model, "val"),
        Cell(share(model.val.map50), model.val.map50),
    ]
    if tested:
        cells += [_accuracy(model.test), _change(run, model, "test")]
    for name in run.runtimes:
        latency, speedup = model.latency_ms.get(name), run.speedup(model, name)
        milliseconds = "" if latency is None else f"{decimal(latency)} ms"
        cells.append(Cell(times(speedup), speedup, milliseconds))
    params, file_mb = model.figure("params"), model.figure("file_mb")
    cells.append(Cell(count(params), params, gflops(model.figure("gflops"))))
    return [*cells, Cell(decimal(file_mb), file_mb)]


def _description(run: Compressed, model: Model) -> str:
    role = "shipped" if model is run.result else ROLES.get(model.role, model.role)
    return " · ".join(word for word in (role, model.step) if word and word != model.name)


def _accuracy(judged: Judged) -> Cell:
    return Cell(share(judged.map50_95), judged.map50_95, between(judged.spread))


def _change(run: Compressed, model: Model, split: str) -> Cell:
    if model is run.fair:
        return Cell("reference", 0.0)
    change, mood = run.change(model, split), ""
    if model is run.result and split == "val" and change is not None and run.max_drop is not None:
        mood = "bad" if run.lost_too_much(change) else "good"
    return Cell(points(change), change, mood=mood)


def _words(run: Compressed) -> str:
    fair = run.fair
    if fair is None:
        return "No dense comparator was kept, so nothing is said of speed-ups and drops."
    words = f"Changes, in points of mAP50-95, are against {fair.name}"
    if fair.role == LONGER:
        words += ", the dense model trained for as many extra epochs as the pruned one got"
    elif run.of_role(LONGER):
        words += ", which as many extra epochs as the pruned one got did not make better"
    else:
        words += (
            "; a dense model with as many extra epochs was not trained, so they flatter pruning"
        )
    said = [f"{words}."]
    dense = run.of_role(PARENT, LONGER)
    if dense and run.runtimes:
        said.append(f"Speed-ups are against {dense.name}.")
    if any(judged.spread for model in run.models for judged in (model.val, model.test)):
        said.append("Small figures: 95 % bootstrap intervals over the images.")
    threads = number(run.target.get("threads"))
    if threads:
        said.append(f"Milliseconds: batch 1, {plural(threads, 'thread')}.")
    if run.result:
        said += _paired(run.result.val.told("comparison"))
    return " ".join(said)


def _paired(comparison: Record) -> list[str]:
    """Return what the paired comparison of `prunus val --compare` says, if there was one."""
    facts = record(comparison.get("mAP50-95"))
    difference, spread = number(facts.get("difference")), interval(facts.get("interval"))
    if difference is None:
        return []
    more = facts.get("more_than_noise") is True
    noise = "is more than noise" if more else "cannot be told from noise"
    ends = f" ({points(spread[0])} to {points(spread[1])})" if spread else ""
    return [
        "Judged in pairs, image by image, the result's difference of "
        f"{points(difference)} points{ends} {noise}."
    ]
