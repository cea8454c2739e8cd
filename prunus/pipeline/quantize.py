"""`quantize`: weights + data → a file in 8 bits, what it lost, which layers are float and why."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from prunus.core.config import parse
from prunus.core.console import log
from prunus.core.device import keep_freed_pages
from prunus.core.files import sha256, write_atomically
from prunus.core.runs import Run, start
from prunus.export.latency.timing import time_in_turn
from prunus.export.quantize.config import QuantizeConfig
from prunus.export.quantize.layers import layers_meant
from prunus.export.quantize.outcome import Row, returned, search_facts, tell
from prunus.export.quantize.quantizers import find_quantizer
from prunus.export.quantize.search import Found, noisiest_first, search
from prunus.pipeline.quantize_subject import Subject, prepare
from prunus.pipeline.train import train
from prunus.train.config import TrainConfig

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


@dataclass(frozen=True)
class Attempt:
    """Weights in 8 bits, searched and judged.

    Attributes:
        subject: What was quantized.
        fixed: Layers in float that the user named.
        found: What the search chose besides; None where no labels tell.
        noise: Of each layer, if that was needed.
        path: The file.
        rows: Of files on validation images: the float one first, the one at `path` last.
    """

    subject: Subject
    fixed: tuple[str, ...]
    found: Found | None
    noise: Mapping[str, float]
    path: Path
    rows: Sequence[Row]

    @property
    def judged(self) -> bool:
        """Whether any validation image has labels."""
        return len(self.subject.validation.boxes) > 0

    @property
    def drop(self) -> float:
        """mAP50-95 lost on validation images."""
        return self.rows[0].map50_95 - self.rows[-1].map50_95

    def falls_short(self, max_drop: float) -> bool:
        """Return whether it is known that too much is lost, on judging or on validation images."""
        content = self.found is None or self.found.reached
        return not content or (self.judged and self.drop > max_drop)

    def is_better_than(self, other: "Attempt", max_drop: float) -> bool:
        """Return whether it loses less of the same float file.

        Validation images tell, for a fine-tune has learnt from those that the search is judged on;
        where they have no labels, the search does.
        """
        if self.judged:
            own, its = ((not a.falls_short(max_drop), -a.drop) for a in (self, other))
            return own > its
        both = self.found, other.found
        return both[0] is not None and both[1] is not None and both[0].is_better_than(both[1])


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
        subject = prepare(settings, settings.weights, Path(drafts))
        path = run.folder / f"{settings.weights.stem}-int8{subject.backend.suffix}"
        chosen, trained = _attempt(subject, settings, path), None
        if settings.fine_tune_epochs and chosen.falls_short(settings.max_drop):
            weights = _fine_tune(settings, run)
            subject = prepare(settings, weights, Path(drafts), float_file=subject.float_file)
            again = _attempt(subject, settings, Path(drafts) / path.name)
            if again.is_better_than(chosen, settings.max_drop):
                _take_over(again, path)
                chosen, trained = again, weights
            else:
                log.warning("the fine-tune did not help: the weights are quantized as they were")
        run.report = _report(chosen, path, settings, trained)
        tell(run.report, chosen.rows, settings.max_drop)
        return run.finish()


def _report(
    chosen: Attempt, path: Path, settings: QuantizeConfig, trained: Path | None
) -> dict[str, object]:
    found = chosen.found
    return {
        "path": str(path),
        "sha256": sha256(path),
        "format": settings.format,
        "fine_tuned": None if trained is None else str(trained),
        "method": chosen.subject.calibrated.method,
        "images": chosen.subject.images(),
        "rows": [row.as_dict() for row in chosen.rows],
        "drop": round(chosen.drop, 4),
        "judged": chosen.judged,
        "within_max_drop": chosen.judged and not chosen.falls_short(settings.max_drop),
        "float_layers": returned(chosen.fixed, found, chosen.noise),
        "search": None if found is None else search_facts(found),
    }


def _attempt(subject: Subject, settings: QuantizeConfig, path: Path) -> Attempt:
    """Search for the layers that must be float, write the file, and measure it."""
    fixed = layers_meant(settings.floating, subject.calibrated.layers)
    noise: dict[str, float] = {}
    found = _search(subject, settings, fixed, noise)
    searched = () if found is None else found.chosen.floating
    floating = (*fixed, *searched)
    subject.calibrated.save(path, subject.facts, floating)
    files = {FLOAT: subject.float_file, MIXED if floating else ALL: path}
    if searched:
        files = {FLOAT: subject.float_file, ALL: subject.draft(fixed), MIXED: path}
    return Attempt(subject, fixed, found, noise, path, _measure(subject, files))


def _take_over(attempt: Attempt, path: Path) -> None:
    """Put an attempt's files, which were measured, where others are."""
    backend = attempt.subject.backend

    def copy(temporary: Path) -> None:
        for source, target in zip(
            backend.files(attempt.path), backend.files(temporary), strict=True
        ):
            shutil.copyfile(source, target)

    write_atomically(path, copy, companion=backend.companion)


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


def _search(
    subject: Subject,
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


def _measure(subject: Subject, files: Mapping[str, Path]) -> list[Row]:
    """Judge the files on validation images, and time them in turn, one thread each."""
    image = torch.zeros(subject.form.batch, 3, *subject.form.size_hw, dtype=torch.uint8)
    runners = {name: subject.open(path, threads=1) for name, path in files.items()}
    calls = {name: partial(runner, image) for name, runner in runners.items()}
    times_ms = time_in_turn(calls, threads=1, rounds=ROUNDS)
    rows = []
    for name, path in files.items():
        found = subject.judge(path, subject.validation)
        size = subject.backend.megabytes(path)
        rows.append(Row(name, found.map50, found.map50_95, size, times_ms[name]))
    return rows
