"""`quantize`: weights + data → a file in 8 bits, what it lost, which layers stayed float and why.

Three sets of images, none shared: training images to calibrate on, other training images to judge
the search for layers by, and the validation split for the figures at the end.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch

from prunus.core.config import parse
from prunus.core.console import log
from prunus.core.device import keep_freed_pages
from prunus.core.files import sha256
from prunus.core.records import Runner
from prunus.core.runs import Run, start
from prunus.data.index import ImageIndex, build_index
from prunus.data.loader import validation_batches
from prunus.data.spec import read_data
from prunus.evaluate.evaluation import Evaluation
from prunus.evaluate.val import evaluate
from prunus.export.backends import BACKENDS, find_writer
from prunus.export.backends import onnx as onnx_backend
from prunus.export.facts import Facts, Origin, facts_of
from prunus.export.form import Form
from prunus.export.latency.timing import time_in_turn
from prunus.export.quantize.config import QuantizeConfig
from prunus.export.quantize.layers import layers_meant
from prunus.export.quantize.outcome import Row, returned, search_facts, tell
from prunus.export.quantize.quantizers import Calibrated, find_quantizer
from prunus.export.quantize.search import Found, noisiest_first, search
from prunus.export.quantize.training_images import CalibrationImages, split_positions
from prunus.model.detector import Detector
from prunus.pipeline.models import rounded_size
from prunus.pipeline.train import train
from prunus.train.config import TrainConfig
from prunus.weights.files import load_weights

TOGETHER = 16
"""Images that are decoded and judged in one batch."""
ROUNDS = 15
FINE_TUNE = {
    "quantization_aware": True,
    "hyp": {"lr0": 0.0005, "lrf": 0.1, "warmup_epochs": 0.0, "mosaic": 0.0, "scale": 0.2},
    "batch_size": 16,
    "nominal_batch": 16,
    "auto_anchor": False,
    "patience": 0,
    "plots": False,
}
"""Gentle: the weights know the data already. The last epoch counts, for the best in float need not
be the best in INT8."""
FLOAT, ALL, MIXED = "float", "int8", "int8, some float"


def quantize(settings: QuantizeConfig) -> dict[str, object]:
    """Write a file within `max_drop` of its float twin where that can be had, and a report.

    Raises:
        ExportError: Format, method or graph cannot be quantized.
        ConfigError: `--float` names no layer.
        DataError: The data set cannot be read.
    """
    find_quantizer(settings.format)
    keep_freed_pages()
    with start("quantize", settings) as run, TemporaryDirectory() as drafts:
        run.add_input("weights", settings.weights)
        run.add_input("data", settings.data)
        subject = _prepare(settings, settings.weights, Path(drafts))
        fixed = layers_meant(settings.floating, subject.calibrated.layers)
        noise: dict[str, float] = {}
        found = _search(subject, settings, fixed, noise)
        trained = None
        if settings.fine_tune_epochs and found is not None and not found.reached:
            weights = _fine_tune(settings, run)
            again = _prepare(settings, weights, Path(drafts), float_file=subject.float_file)
            noise_again: dict[str, float] = {}
            found_again = _search(again, settings, fixed, noise_again)
            if found_again is not None and found_again.is_better_than(found):
                trained, subject, found, noise = weights, again, found_again, noise_again
            else:
                log.warning("the fine-tune did not help: the weights are quantized as they were")
        floating = (*fixed, *(found.chosen.floating if found is not None else ()))
        path = run.folder / f"{settings.weights.stem}-int8{BACKENDS[settings.format].suffix}"
        subject.calibrated.save(path, subject.facts, floating)
        files = {FLOAT: subject.float_file, MIXED if floating else ALL: path}
        if found is not None and found.chosen.floating:
            files = {FLOAT: subject.float_file, ALL: subject.draft(fixed), MIXED: path}
        rows = _measure(subject, files)
        drop = rows[0].map50_95 - rows[-1].map50_95
        judged = len(subject.validation.boxes) > 0
        run.report = {
            "path": str(path),
            "sha256": sha256(path),
            "format": settings.format,
            "fine_tuned": None if trained is None else str(trained),
            "method": subject.calibrated.method,
            "images": subject.images(),
            "rows": [row.as_dict() for row in rows],
            "drop": round(drop, 4),
            "judged": judged,
            "within_max_drop": judged
            and drop <= settings.max_drop
            and (found is None or found.reached),
            "float_layers": returned(fixed, found, noise),
            "search": None if found is None else search_facts(found),
        }
        tell(run.report, rows, settings.max_drop)
        return run.finish()


@dataclass(frozen=True)
class _Subject:
    """A detector on its way to 8 bits, with the images of all three sets."""

    format: str
    calibrated: Calibrated
    calibration: ImageIndex
    judging: ImageIndex
    validation: ImageIndex
    facts: Facts
    float_file: Path
    form: Form
    workers: int

    def draft(self, floating: Collection[str]) -> Path:
        """Write a file with these layers in float, over the last one."""
        path = self.float_file.with_stem("draft")
        self.calibrated.save(path, self.facts, floating)
        return path

    def judge(self, path: Path, index: ImageIndex) -> Evaluation:
        runner = self.open(path)
        batches = validation_batches(
            index,
            self.form.size_hw[0],
            TOGETHER,
            runner.stride,
            rectangular=runner.size_hw is None,
            workers=self.workers,
        )
        return evaluate(runner, batches, index, coco=False)

    def open(self, path: Path, threads: int | None = None) -> Runner:
        return BACKENDS[self.format].open(path, device="cpu", precision="fp32", threads=threads)

    def images(self) -> dict[str, int]:
        return {
            "calibration": len(self.calibration),
            "judging": len(self.judging),
            "validation": len(self.validation),
        }


def _fine_tune(settings: QuantizeConfig, run: Run) -> Path:
    """Train the weights while they feel INT8, and return those of the last epoch."""
    log.info("not within --max-drop: training %d epochs that feel INT8", settings.fine_tune_epochs)
    values = {
        **FINE_TUNE,
        "weights": settings.weights,
        "teacher": settings.weights,
        "data": settings.data,
        "image_size": settings.image_size,
        "epochs": settings.fine_tune_epochs,
        "workers": settings.workers,
        "out": run.folder / "fine-tune",
    }
    return Path(str(train(parse(TrainConfig, values))["last"]))


def _prepare(
    settings: QuantizeConfig, weights: Path, drafts: Path, float_file: Path | None = None
) -> _Subject:
    """Let the quantizer see the calibration images.

    Args:
        settings: What is wanted.
        weights: What is quantized.
        drafts: A folder for files that nobody keeps.
        float_file: What INT8 is compared with; exported here where there is none yet.
    """
    checkpoint, data = load_weights(weights), read_data(settings.data)
    detector = checkpoint.detector
    side = rounded_size(settings.image_size, detector.stride)
    form = Form((side, side), settings.batch_size, settings.dynamic, settings.opset)
    origin = Origin(checkpoint.sha256, checkpoint.licence)
    if float_file is None:
        suffix, write = find_writer(settings.format)
        float_file = drafts / f"float{suffix}"
        write(detector, float_file, form, origin)
    train, validation = build_index(data, "train"), build_index(data, "val")
    first, second = split_positions(len(train), settings.calibration_images, settings.judge_images)
    calibration = train.subset(first)
    images = _calibration_images(calibration, detector, form, settings.workers)
    log.info("calibrating on %d training images", len(calibration))
    calibrated = find_quantizer(settings.format)(
        _graph_of(detector, form, drafts), images, settings.method
    )
    return _Subject(
        settings.format,
        calibrated,
        calibration,
        train.subset(second),
        validation,
        facts_of(detector, form, origin),
        float_file,
        form,
        settings.workers,
    )


def _graph_of(detector: Detector, form: Form, drafts: Path) -> onnx.ModelProto:
    path = drafts / "graph.onnx"
    onnx_backend.write(detector, path, form)
    return onnx.load_model(path)


def _calibration_images(
    index: ImageIndex, detector: Detector, form: Form, workers: int
) -> CalibrationImages:
    batches = validation_batches(
        index, form.size_hw[0], TOGETHER, detector.stride, rectangular=False, workers=workers
    )
    return CalibrationImages(torch.cat([batch.images for batch in batches]), form.batch)


def _search(
    subject: _Subject,
    settings: QuantizeConfig,
    fixed: tuple[str, ...],
    noise: dict[str, float],
) -> Found | None:
    """Find the layers that must be float besides `fixed`; None where no labels tell.

    Args:
        subject: What is quantized.
        settings: How far it may drop, and how often it may be tried.
        fixed: Layers that are float anyway.
        noise: Filled with each layer's, if that was needed.
    """
    if not len(subject.judging) or not len(subject.judging.boxes):
        log.warning("no labelled training images are left to judge by: no layer is searched for")
        return None

    def accuracy_of(floating: tuple[str, ...]) -> float:
        path = subject.draft((*fixed, *floating))
        accuracy = subject.judge(path, subject.judging).map50_95
        log.info("%d layers in float: mAP50-95 %.4f", len(fixed) + len(floating), accuracy)
        return accuracy

    def order() -> list[str]:
        noise.update(subject.calibrated.layer_noise())
        return [name for name in noisiest_first(noise) if name not in fixed]

    least = subject.judge(subject.float_file, subject.judging).map50_95 - settings.max_drop
    log.info("%d other training images: at least %.4f is wanted", len(subject.judging), least)
    return search(order, accuracy_of, least=least, max_trials=settings.max_trials)


def _measure(subject: _Subject, files: Mapping[str, Path]) -> list[Row]:
    """Judge the files on validation images, and time them in turn, one thread each."""
    image = torch.zeros(subject.form.batch, 3, *subject.form.size_hw, dtype=torch.uint8)
    runners = {name: subject.open(path, threads=1) for name, path in files.items()}
    calls = {name: lambda runner=runner: runner(image) for name, runner in runners.items()}
    times_ms = time_in_turn(calls, threads=1, rounds=ROUNDS)
    rows = []
    for name, path in files.items():
        found = subject.judge(path, subject.validation)
        size = BACKENDS[subject.format].megabytes(path)
        rows.append(Row(name, found.map50, found.map50_95, size, times_ms[name]))
    return rows
