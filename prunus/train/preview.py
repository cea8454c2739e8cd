"""`prunus train --dry-run`: what a training would do, and what a step of it costs, without it."""

from typing import Any

import torch

from prunus.core.console import log, table
from prunus.core.device import keep_freed_pages
from prunus.model.detector import Detector
from prunus.train.batch_size import with_fitting_batch
from prunus.train.build import announce, build_engine
from prunus.train.config import TrainConfig
from prunus.train.engine import Engine
from prunus.train.freeze import frozen_parameters, leading_rows
from prunus.train.images import TrainingImages
from prunus.train.measure import StepCost, measured_step
from prunus.train.run import fitting_size
from prunus.train.start import read_splits, starting_point

IMAGES = 4
"""Images in the steps that are timed."""
REPEATS = 2
"""Steps each; the last one counts."""


def preview(settings: TrainConfig) -> dict[str, Any]:
    """Say what is frozen, the schedule, the pull on gammas, and what a step costs; train nothing.

    Returns:
        The same, JSON-ready.

    Raises:
        PrunusError: Files or settings cannot be used: as a training would say.
    """
    keep_freed_pages()
    training, _ = read_splits(settings)
    torch.manual_seed(settings.seed)
    detector, _ = starting_point(settings, training.names)
    image_size = fitting_size(settings.image_size, detector.stride)
    settings = with_fitting_batch(settings, detector, image_size, len(training))
    batches = len(TrainingImages(training, settings, image_size, detector.stride))
    engine = build_engine(detector, settings, image_size=image_size, batches=batches)
    announce(engine)
    schedule = _schedule_facts(engine)
    log.info("%s", table("Schedule", ("", ""), list(schedule.items())))
    return {
        "frozen": _frozen_facts(engine),
        "schedule": schedule,
        "step": _step_facts(engine.detector, settings, image_size, frozen=bool(engine.frozen)),
    }


def _frozen_facts(engine: Engine) -> dict[str, Any]:
    frozen, total = frozen_parameters(engine.detector, engine.frozen)
    return {
        "rows": list(engine.frozen),
        "rows_without_gradients": leading_rows(engine.frozen),
        "parameters": frozen,
        "share": frozen / total,
    }


def _schedule_facts(engine: Engine) -> dict[str, Any]:
    schedule, shrinker = engine.schedule, engine.shrinker
    rates = schedule.step_rates()
    facts: dict[str, Any] = {
        "epochs": schedule.epochs,
        "batches an epoch": schedule.batches,
        "images a step": schedule.batch_size * schedule.accumulate,
        "optimizer steps": len(rates),
        "of them warm-up": schedule.warmup_steps,
        "highest learning rate": max(rates),
        "last learning rate": rates[-1],
    }
    if shrinker is not None:
        facts |= {
            "sparsity strength": round(shrinker.strength, 6),
            "pull on each gamma": round(shrinker.budget, 3),
            "gammas": shrinker.gammas.count,
        }
    return facts


def _step_facts(
    detector: Detector, settings: TrainConfig, image_size: int, *, frozen: bool
) -> dict[str, Any]:
    """Time a small step, with and without frozen rows where there are some."""
    costs = {"as asked": measured_step(detector, settings, image_size, IMAGES, repeats=REPEATS)}
    if frozen:
        free = settings.model_copy(update={"freeze": ()})
        costs["nothing frozen"] = measured_step(detector, free, image_size, IMAGES, repeats=REPEATS)
    rows = [(name, *_per_image(cost)) for name, cost in costs.items()]
    if frozen:
        asked, free_cost = costs.values()
        time, memory = asked.seconds / free_cost.seconds, asked.kept_bytes / free_cost.kept_bytes
        rows.append(("share", f"{time:.0%}", f"{memory:.0%}"))
    title = f"One step of {IMAGES} images at {image_size}"
    log.info("%s", table(title, ("", "ms an image", "MB kept an image"), rows))
    return {
        name: {"ms_per_image": cost.seconds / IMAGES * 1e3, "kept_bytes": cost.kept_bytes // IMAGES}
        for name, cost in costs.items()
    }


def _per_image(cost: StepCost) -> tuple[str, str]:
    return f"{cost.seconds / IMAGES * 1e3:.1f}", f"{cost.kept_bytes / IMAGES / 1e6:.1f}"
