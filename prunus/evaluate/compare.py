"""Two runs on the same images: is the difference of their mAP more than noise?

A paired bootstrap: both are judged on the same resamples of the images, so what is hard for both
cancels out (Efron and Tibshirani 1993, chapter 8; Koehn, "Statistical Significance Tests for
Machine Translation Evaluation", EMNLP 2004, section 4). Both sides go through the results file, so
that a run compared with itself differs by exactly 0.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prunus.core.errors import ConfigError
from prunus.core.records import Detections
from prunus.evaluate.bootstrap import Counts, Floats, Resamples, draw, interval, resample
from prunus.evaluate.match import match_images
from prunus.evaluate.predictions import from_json, to_json
from prunus.evaluate.truth import Labels

if TYPE_CHECKING:
    from prunus.data.coco_ids import CocoIds

PREDICTIONS, REPORT = "predictions.json", "report.json"
STRICTNESS = ("confidence", "iou", "max_detections")
"""Settings that change the figures of one and the same model."""
METRICS = {"map50": "mAP50", "map50_95": "mAP50-95"}


@dataclass(frozen=True)
class Difference:
    """One metric of this run and the other.

    Attributes:
        metric: As it is shown.
        here: This run's figure on all images.
        there: The other's.
        low: 95 % of the differences over the resamples lie between this ...
        high: ... and this.
        resamples: How many there were.
    """

    metric: str
    here: float
    there: float
    low: float
    high: float
    resamples: int

    @property
    def value(self) -> float:
        """What this run has more."""
        return self.here - self.there

    @property
    def is_real(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low > 0 or self.high < 0

    def sentence(self) -> str:
        verdict = "more than noise" if self.is_real else "cannot be told from noise"
        return (
            f"{self.metric}: {self.here:.4f} against {self.there:.4f}, a difference of "
            f"{self.value:+.4f} (95 % of {self.resamples} resamples: {self.low:+.4f} to "
            f"{self.high:+.4f}): {verdict} on these images."
        )

    def as_dict(self) -> dict[str, object]:
        return {
            "here": self.here,
            "there": self.there,
            "difference": self.value,
            "interval": [self.low, self.high],
            "resamples": self.resamples,
            "more_than_noise": self.is_real,
        }


@dataclass(frozen=True)
class OtherRun:
    """A finished run of `prunus val`.

    Attributes:
        folder: Where it lies.
        data_sha256: The fingerprint of its images and labels.
        settings: What it was asked for.
        coco_ids: Whether its results have the ids of a COCO JSON.
    """

    folder: Path
    data_sha256: str
    settings: dict[str, Any]
    coco_ids: bool = False

    def other_strictness(self, settings: dict[str, Any]) -> list[str]:
        """Return the settings in which it was judged more or less strictly, with both values."""
        return [
            f"{name} {settings[name]} against {self.settings[name]}"
            for name in STRICTNESS
            if name in self.settings and self.settings[name] != settings[name]
        ]


def read_run(folder: Path) -> OtherRun:
    """Return what is known of a run.

    Raises:
        ConfigError: It is no folder of a `prunus val` that can be compared with.
    """
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        sha256 = report["data"]["sha256"]
        settings = dict(report["settings"])
        has_coco_ids = bool(report["data"].get("coco_ids", False))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"--compare: {folder} is no run of prunus val that can be compared with: {REPORT} is "
            "missing, damaged, or of an older version. Run prunus val again."
        ) from error
    if settings.get("task") == "speed":
        raise ConfigError(
            f"--compare: {folder} was run with --task speed, which judges less strictly and takes "
            "no mAP. Run prunus val there without it."
        )
    if not (folder / PREDICTIONS).is_file():
        raise ConfigError(
            f"--compare: {folder} has no {PREDICTIONS}. Run prunus val again with --save-json."
        )
    return OtherRun(folder, sha256, settings, has_coco_ids)


def compare(
    detections: Sequence[Detections],
    other: OtherRun,
    truth: Sequence[Labels],
    image_paths: Sequence[Path],
    *,
    resamples: int,
    seed: int,
    ids: "CocoIds | None" = None,
) -> list[Difference]:
    """Return the differences of mAP50 and mAP50-95.

    Args:
        detections: This run's, one entry an image.
        other: The other run, on the same images and labels: see `check_same`.
        truth: The labels of each image.
        image_paths: The images.
        resamples: How many.
        seed: Of the resamples.
        ids: What this data set's COCO JSON calls images and classes, if it has one.

    Raises:
        ConfigError: The other's results file is damaged, or has the ids of a COCO JSON that this
            data set does not have.
    """
    if other.coco_ids and ids is None:
        raise ConfigError(
            f"--compare: {other.folder} has the ids of a COCO JSON, this data set has none. "
            "Judge both on the same data set."
        )
    path = other.folder / PREDICTIONS
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}. Run prunus val again.") from error
    here = from_json(to_json(detections, image_paths), image_paths, "this run")
    there = from_json(text, image_paths, str(path), ids if other.coco_ids else None)
    counts = draw(len(truth), resamples, seed)
    counts = _with_all(counts)
    ours, theirs = (_judge(found, truth, counts) for found in (here, there))
    return [
        _difference(title, getattr(ours, name), getattr(theirs, name))
        for name, title in METRICS.items()
    ]


def check_same(other: OtherRun, sha256: str) -> None:
    """Check that the other run had the same images and labels.

    Raises:
        ConfigError: It had not.
    """
    if other.data_sha256 != sha256:
        raise ConfigError(
            f"--compare: {other.folder} was judged on other images, labels or classes. "
            "Run prunus val there and here on the same split of the same data set."
        )


def _with_all(counts: Counts) -> Counts:
    """Put the data set as it is before the resamples: each image once."""
    return np.concatenate((np.ones((1, counts.shape[1]), dtype=counts.dtype), counts))


def _judge(found: Sequence[Detections], truth: Sequence[Labels], counts: Counts) -> Resamples:
    return resample(match_images(found, truth), counts)


def _difference(metric: str, here: Floats, there: Floats) -> Difference:
    """Compare (1 + R,) figures, those of the data set as it is first."""
    low, high = interval(here[1:] - there[1:]) or (0.0, 0.0)
    return Difference(metric, float(here[0]), float(there[0]), low, high, len(here) - 1)
