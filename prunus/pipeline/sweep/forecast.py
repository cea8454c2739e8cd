"""What a sweep will cost, before it is run: a forward pass is timed, the rest is counted.

A trial is counted in forward passes of one image. The counts were fitted to the official yolov5n at
320 pixels (`benchmarks/results/sweep.jsonl`); expect the truth within a factor of two. Where trials
of the same sweep are done already, their median time is taken instead.
"""

import time
from collections.abc import Mapping
from statistics import fmean, median
from typing import Any

import torch

from prunus.core.console import log
from prunus.evaluate.config import Split
from prunus.export.benchmark import torch_threads
from prunus.model.fuse import fuse
from prunus.pipeline.models import rounded_size
from prunus.pipeline.sweep.config import SweepConfig
from prunus.weights.files import load_weights

START_S = 5.0
"""To load torch and the weights, and to trace."""
TIMING_S = 10.0
"""To export and time two models."""
REPAIRED_PASSES = {"ridge": 7.0, "bn": 1.5, "none": 0.0}
"""Of a calibration image, by repair."""
RANKED_PASSES = 6.0
"""Of a calibration image, for a criterion that looks at images."""
LOOKING = frozenset({"auto", "activation", "reconstruction", "taylor"})
"""Criteria that do."""
JUDGEMENTS = 3
"""Of the validation split: the dense and the cut model in `prune`, the final one in float32."""
JUDGED_PASSES = 0.7
"""Of a validation image: batches are faster than single images, suppression and matching cost."""
TRAINED_PASSES = 4.0
"""Of a training image in an epoch: forward, backward (twice that), and the teacher's forward."""
ROUNDS = 3


def forecast(
    settings: SweepConfig,
    count: int,
    images: Mapping[Split, int],
    workers: int | None,
    known_seconds: float | None,
) -> dict[str, Any]:
    """Say how many trials there are, and what they cost; return the same.

    Args:
        settings: Of the sweep.
        count: Trials that are missing.
        images: Number of them in the splits that trials look at.
        workers: At a time; None where a cluster decides.
        known_seconds: Median of the trials that are done, if any.
    """
    seconds = known_seconds or trial_seconds(settings, _pass_seconds(settings), images)
    hours = count * seconds / 3600
    facts: dict[str, Any] = {
        "dry_run": True,
        "trials": count,
        "seconds_per_trial": round(seconds, 1),
        "measured": known_seconds is not None,
        "core_hours": round(hours, 3),
        "workers": workers,
        "hours": None if workers is None else round(-(-count // workers) * seconds / 3600, 3),
        "cost": None if settings.price is None else round(hours * settings.price, 4),
    }
    source = "as those that are done" if known_seconds else "an estimate, within a factor of two"
    log.info(
        "%d trials x %.0f s (%s) = %.2f core hours", count, seconds, source, facts["core_hours"]
    )
    if workers is not None:
        log.info("%d at a time: about %.2f hours", workers, facts["hours"])
    if settings.price is not None:
        log.info("at %g a core hour: %.4g", settings.price, facts["cost"])
    return facts


def trial_seconds(settings: SweepConfig, pass_seconds: float, images: Mapping[Split, int]) -> float:
    """Return the seconds of a trial on one core.

    Args:
        settings: Of the sweep.
        pass_seconds: Of one forward pass of one image with one thread.
        images: Number of them in the splits `train` and `val`.
    """
    calibration = min(settings.calibration_images, images.get("train", 0))
    passes = calibration * fmean(REPAIRED_PASSES[repair] for repair in settings.repair)
    passes += calibration * RANKED_PASSES * fmean(name in LOOKING for name in settings.criterion)
    passes += JUDGEMENTS * JUDGED_PASSES * images["val"]
    passes += settings.finetune_epochs * TRAINED_PASSES * images.get("train", 0)
    timing = TIMING_S if settings.timed_in else 0.0
    return START_S + timing + passes * pass_seconds


def _pass_seconds(settings: SweepConfig) -> float:
    """Time a forward pass of the dense model, fused, with one thread."""
    assert settings.weights is not None
    detector = load_weights(settings.weights).detector
    side = rounded_size(settings.image_size, detector.stride)
    network, image = fuse(detector).eval(), torch.rand(1, 3, side, side)
    times = []
    with torch_threads(1), torch.inference_mode():
        for _ in range(ROUNDS + 1):
            start = time.process_time()
            network(image)
            times.append(time.process_time() - start)
    return median(times[1:])
