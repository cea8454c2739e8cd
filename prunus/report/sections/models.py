"""The table of models: accuracy with intervals, cost and speed, against the fair comparator."""

from collections.abc import Sequence

from prunus.report.blocks import Block, Cell, Column, MissingError, Paragraph, Table
from prunus.report.compressed import LONGER, PARENT, RESULT, Compressed, Judged, Model
from prunus.report.values import interval, number
from prunus.report.wording import between, count, decimal, plural, points, share, times

ROLES = {
    PARENT: "dense parent",
    LONGER: "fair comparator",
    RESULT: "shipped",
    "scratch": "trained from scratch",
    "smaller": "next smaller model",
    "step": "on the way",
}
"""What a role is called, where its own name does not say it."""


def models(run: Compressed) -> Sequence[Block]:
    """Return the table of all models."""
    if not run.models:
        raise MissingError("the report names no models.")
    tested = any(model.test.map50_95 is not None for model in run.models)
    timed = run.runtimes
    columns = [
        Column("model"),
        Column("mAP50-95", numeric=True),
        Column("change", numeric=True),
        Column("mAP50", numeric=True),
    ]
    if tested:
        columns += [Column("test mAP50-95", numeric=True), Column("test change", numeric=True)]
    for name in timed:
        columns.append(Column(name, numeric=True))
    columns += [Column(name, numeric=True) for name in ("parameters", "MB")]
    rows = [_row(run, model, tested=tested) for model in run.models]
    marked = [place for place, model in enumerate(run.models) if model.role == RESULT]
    return [
        Paragraph(_words(run)),
        Table("Every model of this run, as measured", columns, rows, marked),
    ]


def _row(run: Compressed, model: Model, *, tested: bool) -> list[Cell]:
    cells = [
        Cell(model.name, model.name, _description(model)),
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
    params, gflops, megabytes = (model.figure(name) for name in ("params", "gflops", "file_mb"))
    operations = "" if gflops is None else f"{decimal(gflops)} GFLOPs"
    cells.append(Cell(count(params), params, operations))
    return [*cells, Cell(decimal(megabytes), megabytes)]


def _description(model: Model) -> str:
    role = ROLES.get(model.role, model.role)
    return " · ".join(word for word in (role, model.step) if word and word != model.name)


def _accuracy(judged: Judged) -> Cell:
    return Cell(share(judged.map50_95), judged.map50_95, between(judged.spread))


def _change(run: Compressed, model: Model, split: str) -> Cell:
    if model is run.fair:
        return Cell("reference", 0.0)
    change = run.change(model, split)
    allowed = run.max_drop
    mood = ""
    if model.role == RESULT and change is not None and allowed is not None and split == "val":
        mood = "bad" if -change * 100 > allowed + 1e-9 else "good"
    return Cell(points(change), change, mood=mood)


def _words(run: Compressed) -> str:
    fair = run.fair
    if fair is None:
        return "No dense comparator was kept, so nothing is said of speed-ups and drops."
    words = f"Changes, in points of mAP50-95, are against {fair.name}"
    if fair.role == LONGER:
        words += ", the dense model trained for as many extra epochs as the pruned one got"
    else:
        words += (
            "; a dense model with as many extra epochs was not trained, so they flatter pruning"
        )
    spread = " Small figures: 95 % bootstrap intervals over the images." if _spread(run) else ""
    batch = number(run.target.get("threads"))
    threads = f" Milliseconds: batch 1, {plural(batch, 'thread')}." if batch else ""
    verdict = run.result.val.run if run.result else None
    paired = {} if verdict is None else verdict.report.get("comparison")
    dense = run.of_role(PARENT, LONGER)
    times_words = f" Speed-ups are against {dense.name}." if dense and run.runtimes else ""
    return f"{words}.{times_words}{spread}{threads}{_paired(paired)}"


def _spread(run: Compressed) -> bool:
    return any(judged.spread for model in run.models for judged in (model.val, model.test))


def _paired(found: object) -> str:
    """Return what the paired comparison of `prunus val --compare` says, if there was one."""
    facts = found.get("mAP50-95") if isinstance(found, dict) else None
    if not isinstance(facts, dict) or number(facts.get("difference")) is None:
        return ""
    more = facts.get("more_than_noise") is True
    noise = "is more than noise" if more else "cannot be told from noise"
    spread = interval(facts.get("interval"))
    between_them = f" ({points(spread[0])} to {points(spread[1])})" if spread else ""
    return (
        " Judged in pairs, image by image, the result's difference of "
        f"{points(number(facts.get('difference')))} points{between_them} {noise}."
    )
