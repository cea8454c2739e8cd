"""`val`: weights or an exported file + data → metrics, predictions as COCO JSON, a report."""

from prunus.core.console import log, table
from prunus.core.records import Runner
from prunus.core.runs import start
from prunus.data.index import ImageIndex, build_index
from prunus.data.loader import validation_batches
from prunus.data.spec import read_data
from prunus.evaluate.config import ValConfig
from prunus.evaluate.predictions import save_predictions
from prunus.evaluate.val import Evaluation, evaluate
from prunus.pipeline.models import fitting_size, open_model

PREDICTIONS = "predictions.json"


def val(settings: ValConfig) -> dict[str, object]:
    """Judge a model on a split of a data set and return the report."""
    with start("val", settings) as run:
        run.add_input("weights", settings.weights)
        run.add_input("data", settings.data)
        opened = open_model(
            settings.weights,
            device=settings.device,
            precision=settings.precision,
            sparsify_share=settings.sparsify,
        )
        index = build_index(read_data(settings.data), settings.split)
        evaluation = judge(opened.runner, index, settings)
        log.info("%s", metrics_table(settings.weights.name, evaluation))
        save_predictions(run.path(PREDICTIONS), evaluation.detections, index.paths)
        run.report = {
            "model": opened.facts,
            "metrics": evaluation.metrics(),
            "data": {
                "split": settings.split,
                "images": len(index),
                "problems": len(index.problems),
            },
        }
        if opened.sparsity is not None:
            run.report["sparsity"] = opened.sparsity.share
        return run.finish()


def judge(runner: Runner, index: ImageIndex, settings: ValConfig) -> Evaluation:
    """Evaluate a runner in batches that suit it: rectangles, or squares where its size is fixed."""
    batches = validation_batches(
        index,
        fitting_size(settings.image_size, runner),
        settings.batch_size,
        runner.stride,
        rectangular=settings.rectangular and runner.size_hw is None,
        workers=settings.workers,
    )
    return evaluate(
        runner,
        batches,
        index,
        confidence=settings.confidence,
        iou=settings.iou,
        max_detections=settings.max_detections,
        single_class=settings.single_class,
    )


def metrics_table(title: str, evaluation: Evaluation) -> str:
    """Return precision, recall and mAP per class, the mean of all first."""
    header = ("class", "images", "labels", "P", "R", "mAP50", "mAP50-95")
    mean = (evaluation.precision, evaluation.recall, evaluation.map50, evaluation.map50_95)
    rows: list[tuple[object, ...]] = [
        ("all", len(evaluation.detections), evaluation.labels, *map(_share, mean))
    ]
    for row in evaluation.per_class:
        figures = (row.precision, row.recall, row.map50, row.map50_95)
        rows.append((row.name, row.images, row.labels, *map(_share, figures)))
    return table(title, header, rows)


def _share(value: float) -> str:
    return f"{value:.3f}"
