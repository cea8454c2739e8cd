"""`val`: weights or exported files + data → metrics, intervals, predictions, plots, a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunus.core.console import log
from prunus.core.files import write_text
from prunus.core.records import Runner
from prunus.core.runs import Run, start
from prunus.data.coco_ids import CocoIds, coco_ids
from prunus.data.index import ImageIndex, build_index
from prunus.data.loader import validation_batches
from prunus.data.spec import read_data
from prunus.evaluate.compare import PREDICTIONS, OtherRun, check_same, compare, read_run
from prunus.evaluate.config import ValConfig
from prunus.evaluate.confusion import CONFIDENCE, IOU, confusion_matrix, count_background
from prunus.evaluate.evaluation import Evaluation
from prunus.evaluate.intervals import Intervals, intervals_of
from prunus.evaluate.plots import plot_confusion, plot_curves
from prunus.evaluate.predictions import save_predictions
from prunus.evaluate.tables import coco_table, speed_table, yolov5_table
from prunus.evaluate.truth import fingerprint, names_of, truth_of
from prunus.evaluate.val import evaluate
from prunus.model.augmented import AugmentedRunner
from prunus.model.ensemble import EnsembleRunner
from prunus.pipeline.models import OpenedModel, fitting_size, open_model
from prunus.predict.save import LABEL_FOLDER, free_names, to_label_lines

CURVES, CONFUSION = "curves.png", "confusion.png"
SPEED_CONFIDENCE, SPEED_IOU = 0.25, 0.45
"""Of detectors as they are deployed (`spec/yolov5.md` 2.7): far fewer candidates than for mAP."""
MOST_CONFUSED = 1500
"""Classes of a confusion matrix: more would take millions of numbers, and nobody could read it."""
RESAMPLES = 1000
"""For `--compare` where `--bootstrap` does not say."""


def val(settings: ValConfig) -> dict[str, object]:
    """Judge a model, or several as one, on a split of a data set and return the report."""
    with start("val", settings) as run:
        other = None if settings.compare is None else read_run(settings.compare)
        for number, path in enumerate(settings.weights, start=1):
            run.add_input("weights" if number == 1 else f"weights {number}", path)
        run.add_input("data", settings.data)
        runner, models = open_runners(settings)
        spec = read_data(settings.data)
        index = build_index(spec, settings.images)
        ids = None if settings.single_class else coco_ids(spec, settings.images, index.paths)
        data_sha256 = _fingerprint(index, settings)
        if other is not None:
            check_same(other, data_sha256)
        evaluation = judge(runner, index, settings)
        run.report = {
            "model": _facts(settings.weights, models),
            "metrics": evaluation.metrics(),
            "data": {
                "split": settings.images,
                "images": len(index),
                "problems": len(index.problems),
                "sha256": data_sha256,
                "coco_ids": ids is not None,
            },
        }
        if models[0].sparsity is not None:
            run.report["sparsity"] = models[0].sparsity.share
        title = _title(settings)
        if settings.task == "speed":
            log.info("%s", speed_table(title, evaluation.timings_ms))
        else:
            _tell(run, settings, evaluation, title)
            _compare(run, settings, evaluation, index, other, ids)
        _save(run, settings, evaluation, index, ids)
        report = run.finish()
        if settings.plots and settings.task != "speed":  # last: a picture must not cost the figures
            _draw(run, evaluation)
        return report


def open_runners(settings: ValConfig) -> tuple[Runner, list[OpenedModel]]:
    """Open all weights as one runner, augmented if that is asked for; and each by itself.

    Raises:
        ConfigError: The members of an ensemble do not fit together, or cannot be augmented.
        WeightsError: See `weights.files.load_weights`.
        ExportError: See `export.backends.open_runner`.
    """
    models = [
        open_model(
            path,
            device=settings.device,
            precision=settings.precision,
            sparsify_share=settings.sparsify,
        )
        for path in settings.weights
    ]
    titles = [path.name for path in settings.weights]
    runners: list[Runner] = [model.runner for model in models]
    if settings.augment:
        runners = [
            AugmentedRunner(runner, title) for runner, title in zip(runners, titles, strict=True)
        ]
    return (runners[0] if len(runners) == 1 else EnsembleRunner(runners, titles)), models


@dataclass(frozen=True)
class _Strictness:
    """How a task judges."""

    confidence: float
    iou: float
    rectangular: bool


def judge(runner: Runner, index: ImageIndex, settings: ValConfig) -> Evaluation:
    """Evaluate a runner in batches that suit it: rectangles, or squares where its size is fixed."""
    rules = _strictness(settings)
    batches = validation_batches(
        index,
        fitting_size(settings.image_size, runner),
        settings.batch_size,
        runner.stride,
        rectangular=rules.rectangular and runner.size_hw is None,
        workers=settings.workers,
    )
    return evaluate(
        runner,
        batches,
        index,
        confidence=rules.confidence,
        iou=rules.iou,
        max_detections=settings.max_detections,
        single_class=settings.single_class,
        coco=settings.task != "speed",
    )


def _fingerprint(index: ImageIndex, settings: ValConfig) -> str:
    one = settings.single_class
    return fingerprint(
        index.paths, truth_of(index, single_class=one), names_of(index, single_class=one)
    )


def _strictness(settings: ValConfig) -> _Strictness:
    if settings.task != "speed":
        return _Strictness(settings.confidence, settings.iou, settings.rectangular)
    log.info(
        "--task speed: squares, confidence %.2f and overlap %.2f, as detectors are deployed, "
        "whatever --rect, --conf-thres and --iou-thres say",
        SPEED_CONFIDENCE,
        SPEED_IOU,
    )
    return _Strictness(SPEED_CONFIDENCE, SPEED_IOU, rectangular=False)


def _title(settings: ValConfig) -> str:
    models = " + ".join(path.name for path in settings.weights)
    return f"{models}{', augmented' if settings.augment else ''}"


def _facts(paths: Sequence[Path], models: Sequence[OpenedModel]) -> dict[str, Any]:
    """Return the facts of one model; of several their sums (None where one does not say)."""
    facts = [model.facts for model in models]
    if len(facts) == 1:
        return facts[0]
    together: dict[str, Any] = {
        name: None if any(one[name] is None for one in facts) else sum(one[name] for one in facts)
        for name in facts[0]
    }
    members = [{"file": path.name, **one} for path, one in zip(paths, facts, strict=True)]
    return {**together, "members": members}


def _tell(run: Run, settings: ValConfig, evaluation: Evaluation, title: str) -> None:
    """Show and report the figures of both metrics, and what was taken for what."""
    found: Intervals | None = None
    if settings.bootstrap:
        found = intervals_of(evaluation, resamples=settings.bootstrap, seed=settings.seed)
        run.report["bootstrap"] = found.as_dict()
    log.info("%s", yolov5_table(title, evaluation, found))
    if found is not None:
        log.info(
            "mean of %d resamples: mAP50 %.3f, mAP50-95 %.3f. Far from the figures, it says that "
            "classes have too few labels.",
            found.resamples,
            *found.centre,
        )
    log.info("%s", coco_table(title, evaluation))
    times = evaluation.timings_ms
    log.info("ms an image: %s", ", ".join(f"{stage} {ms:.1f}" for stage, ms in times.items()))
    background = count_background(evaluation.detections, evaluation.truth).as_dict()
    if background["images"]:
        log.info(
            "%d images without objects: %.2f false positives an image at confidence %.2f",
            background["images"],
            background["false_positives_per_image"],
            CONFIDENCE,
        )
    run.report["background"] = background
    if len(evaluation.names) <= MOST_CONFUSED:
        run.report["confusion"] = {
            "confidence": CONFIDENCE,
            "iou": IOU,
            "rows": "found as",
            "columns": "labelled as",
            "names": [*evaluation.names, "nothing"],
            "matrix": _confusion(evaluation).tolist(),
        }
    else:
        log.info("no confusion matrix: more than %d classes", MOST_CONFUSED)


def _confusion(evaluation: Evaluation) -> NDArray[np.int64]:
    return confusion_matrix(evaluation.detections, evaluation.truth, len(evaluation.names))


def _draw(run: Run, evaluation: Evaluation) -> None:
    """Draw the curves, and which class was taken for which."""
    plot_curves(run.path(CURVES), evaluation.figures, evaluation.names)
    if len(evaluation.names) <= MOST_CONFUSED:
        plot_confusion(run.path(CONFUSION), _confusion(evaluation), evaluation.names)


def _compare(
    run: Run,
    settings: ValConfig,
    evaluation: Evaluation,
    index: ImageIndex,
    other: OtherRun | None,
    ids: CocoIds | None,
) -> None:
    if other is None:
        return
    for setting in other.other_strictness(settings.model_dump()):
        log.warning("%s was judged with another strictness: %s", other.folder, setting)
    found = compare(
        evaluation.detections,
        other,
        evaluation.truth,
        index.paths,
        resamples=settings.bootstrap or RESAMPLES,
        seed=settings.seed,
        ids=ids,
    )
    log.info("against %s:", other.folder)
    for difference in found:
        log.info("%s", difference.sentence())
    run.report["comparison"] = {
        "run": other.folder,
        **{difference.metric: difference.as_dict() for difference in found},
    }


def _save(
    run: Run,
    settings: ValConfig,
    evaluation: Evaluation,
    index: ImageIndex,
    ids: CocoIds | None,
) -> None:
    """Write the detections in the forms that are asked for."""
    if settings.save_json:
        save_predictions(run.path(PREDICTIONS), evaluation.detections, index.paths, ids)
    if settings.save_txt:
        rows = zip(
            free_names(index.paths), evaluation.detections, index.sizes_hw.tolist(), strict=True
        )
        for name, found, (height, width) in rows:
            lines = to_label_lines(found, (height, width), with_scores=settings.save_conf)
            write_text(run.path(LABEL_FOLDER) / f"{name}.txt", lines)
