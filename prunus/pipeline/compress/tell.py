"""What a compress run leaves to look at: table, picture, TensorBoard, `report.json`, the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunus.core.console import log
from prunus.core.files import write_text
from prunus.core.runs import Run
from prunus.export.latency.runtimes import RUNTIMES
from prunus.pipeline.chain.chain import Chain
from prunus.pipeline.compress.ship import Shipped
from prunus.pipeline.compress.work import Model, Work
from prunus.pipeline.pictures import save_before_after
from prunus.report.steps import StepRow, steps_markdown, steps_table
from prunus.train.loggers.events import Events

TABLE, PICTURE = "steps.md", "before-after.jpg"


def table_rows(shipped: Sequence[Shipped], between: Sequence[Model]) -> list[StepRow]:
    """Return the table's lines: the dense models, what came between, what ships."""
    rows = [_row(entry.model, entry) for entry in shipped]
    dense = sum(entry.model.role in ("parent", "longer", "smaller") for entry in shipped)
    return [*rows[:dense], *(_row(model, None) for model in between), *rows[dense:]]


def _row(model: Model, entry: Shipped | None) -> StepRow:
    test = None if entry is None or entry.test is None else entry.test.report["metrics"]
    return StepRow(
        step=model.step,
        map50=model.metrics["map50"],
        map50_95=model.map50_95,
        test_map50_95=None if test is None else test["map50_95"],
        **model.size,
        file_mb=None if entry is None else entry.file_mb,
        latency_ms={} if entry is None else {_title(k): v for k, v in entry.latency_ms.items()},
    )


def _title(name: str) -> str:
    """Return the column of a runtime: INT8 stands where its float twin does."""
    runtime, _, precision = name.partition(" ")
    words = precision.split()
    return f"{RUNTIMES[runtime].title} {'fp32' if words == ['int8'] else words[-1]}"


def show(run: Run, work: Work, rows: list[StepRow], sides: tuple[Shipped, Shipped]) -> None:
    """Show the table, and write it and the picture of the same images before and after."""
    settings = work.settings
    assert settings.data is not None
    title = (
        f"\n{settings.data.name} at {settings.image_size} px; batch 1, {settings.threads} thread(s)"
    )
    log.info("%s", steps_table(title, rows))
    write_text(run.path(TABLE), steps_markdown(rows) + "\n")
    before, after = sides
    save_before_after(
        run.path(PICTURE),
        settings.data,
        settings.image_size,
        (before.runtime_file, after.runtime_file),
        (_caption("before", before, work), _caption("after", after, work)),
    )


def _caption(word: str, shipped: Shipped, work: Work) -> str:
    model = shipped.model
    ms = shipped.ms(work.target)
    took = "" if ms is None else f", {ms:.1f} ms"
    params = f"{model.size['params']:,} parameters"
    return f"{word}: {model.step}\n{params}, mAP50-95 {model.map50_95:.3f}{took}"


def write_events(folder: Path, models: Sequence[Model]) -> None:
    """Write each judged model as a point, so that TensorBoard on the run's folder shows the way."""
    from torch.utils.tensorboard.summary import scalar  # late: it takes a second to import

    events = Events(folder, 0)
    for step, model in enumerate(models):
        values = {"map50_95": model.map50_95, "map50": model.metrics["map50"], **model.size}
        for name, value in values.items():
            events.add(scalar(f"compress/{name}", value), step)  # type: ignore[no-untyped-call]
    events.close()


def between(chain: Chain, work: Work, stages: Sequence[str]) -> list[Model]:
    """Judge what the chosen trial went through: after sparsity training, and as cut."""
    models = []
    for name in stages:
        if name.startswith("sparsity"):
            done = chain.done[name]
            models.append(work.model(name, "step", "trained for sparsity", done, "last"))
    cuts = [chain.done[name] for name in stages if name.startswith("prune-")]
    if cuts:
        models.append(work.model(cuts[-1].stage.name, "step", "pruned", cuts[-1], "weights"))
    return models


def facts(
    run: Run, shipped: Sequence[Shipped], steps: Sequence[Model], rows: Sequence[StepRow]
) -> dict[str, Any]:
    """Return the models and the table as the report holds them."""
    folder = run.folder
    return {
        "models": [entry.facts(folder) for entry in shipped],
        "between": [
            {"name": model.name, "step": model.step, "metrics": model.metrics} for model in steps
        ],
        "steps": [vars(row) for row in rows],
        "table": TABLE,
        "picture": PICTURE,
    }
