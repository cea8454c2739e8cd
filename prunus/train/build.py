"""Settings in, plain parts out: schedule, loss and optimizer, put together to an `Engine`."""

from collections.abc import Sequence

import torch
from torch import nn

from prunus.core.console import log
from prunus.core.device import resolve_precision, select_device
from prunus.core.distributed import ALONE, Processes
from prunus.core.shares import read_pattern
from prunus.model.detector import Detector
from prunus.model.loss import DetectionLoss, LossGains, scaled_gains
from prunus.model.synced_norm import synchronise_norms_
from prunus.train.config import TrainConfig
from prunus.train.distill import Teacher
from prunus.train.ema import ExponentialAverage
from prunus.train.engine import Engine
from prunus.train.freeze import freeze_, freeze_table, frozen_rows
from prunus.train.gammas import prunable_gammas
from prunus.train.holder import ZeroHolder
from prunus.train.hyperparameters import Hyperparameters
from prunus.train.masks import approach_pattern, approach_share, hold_zeros, learning_weights
from prunus.train.optimizer import build_optimizer, scaled_weight_decay
from prunus.train.quantization_aware import feel_quantization_
from prunus.train.ramp import Ramp
from prunus.train.regularisers import find_regulariser
from prunus.train.scales import Scales
from prunus.train.schedule import Schedule
from prunus.train.sparsity import GammaShrinker, choose_strength, pulling_rates


def build_engine(
    detector: Detector,
    settings: TrainConfig,
    *,
    image_size: int,
    batches: int,
    teacher: Detector | None = None,
    processes: Processes = ALONE,
) -> Engine:
    """Make all that an epoch needs.

    Args:
        detector: What is to learn; moved to the device, its frozen rows marked.
        settings: How.
        image_size: Side of the training images, in pixels, a multiple of the detector's stride.
        batches: Batches in an epoch.
        teacher: Whose answers are imitated; None to learn from labels alone.
        processes: Who else trains.

    Raises:
        ConfigError: The device or the precision does not exist here.
        TrainingError: The frozen rows, the sparsity or the zeros cannot work.
    """
    device = select_device(settings.device, processes.local_rank)
    precision = resolve_precision(settings.precision, device)
    rows = frozen_rows(settings.freeze, detector.spec)
    detector.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    freeze_(detector, rows)
    schedule = build_schedule(settings, batches)
    gains = scaled_gains(
        loss_gains(settings.hyp, settings.label_smoothing),
        levels=len(detector.strides),
        classes=len(detector.names),
        image_size=image_size,
    )
    average = ExponentialAverage(detector)
    synchronise_norms_(detector, processes)
    if settings.quantization_aware:
        feel_quantization_(detector, exact=detector.head.m)
    learning = nn.ModuleList([detector])
    imitated = None if teacher is None else Teacher(teacher, device, precision)
    if imitated is not None and settings.teacher_features:
        learning.append(imitated.show_features(detector, settings.teacher_features))
    return Engine(
        detector=detector,
        average=average,
        optimizer=build_optimizer(
            learning,
            settings.optimizer,
            lr=settings.hyp.lr0,
            momentum=settings.hyp.momentum,
            weight_decay=scaled_weight_decay(settings.hyp.weight_decay, schedule),
        ),
        loss=DetectionLoss(detector, gains),
        schedule=schedule,
        device=device,
        precision=precision,
        frozen=rows,
        shrinker=_build_shrinker(detector, settings, schedule, rows),
        holder=_build_holder(detector, average, settings),
        teacher=imitated,
        scales=Scales(image_size, detector.stride, settings.seed) if settings.multi_scale else None,
        processes=processes,
    )


def announce(engine: Engine) -> None:
    """Say what is frozen, where it is trained, and how many steps the schedule has."""
    schedule = engine.schedule
    if engine.frozen:
        log.info("%s", freeze_table(engine.detector, engine.frozen))
    if engine.processes.count > 1:
        log.info("%d processes train together", engine.processes.count)
    log.info(
        "training on %s in %s: %d batches an epoch, %d optimizer steps in all, %d of them warm-up",
        engine.device,
        engine.precision,
        schedule.batches,
        len(schedule.step_rates()),
        schedule.warmup_steps,
    )
    if schedule.warmup < schedule.wanted_warmup:
        log.info(
            "warm-up: %d iterations instead of %d, a third of this run's %d",
            schedule.warmup,
            schedule.wanted_warmup,
            schedule.iterations,
        )


def build_schedule(settings: TrainConfig, batches: int) -> Schedule:
    """Return the run's schedule."""
    hyp = settings.hyp
    return Schedule(
        epochs=settings.epochs,
        batches=batches,
        batch_size=settings.batch_size,
        nominal_batch=settings.nominal_batch,
        lr0=hyp.lr0,
        lrf=hyp.lrf,
        momentum=hyp.momentum,
        warmup_epochs=hyp.warmup_epochs,
        warmup_momentum=hyp.warmup_momentum,
        warmup_bias_lr=hyp.warmup_bias_lr,
        cosine=settings.cos_lr,
    )


def loss_gains(hyp: Hyperparameters, label_smoothing: float) -> LossGains:
    """Return the loss's part of the hyperparameters."""
    return LossGains(
        box=hyp.box,
        objectness=hyp.obj,
        classes=hyp.cls,
        class_positive_weight=hyp.cls_pw,
        objectness_positive_weight=hyp.obj_pw,
        label_smoothing=label_smoothing,
        anchor_threshold=hyp.anchor_t,
        focal_gamma=hyp.fl_gamma,
    )


def _build_shrinker(
    detector: Detector,
    settings: TrainConfig,
    schedule: Schedule,
    rows: Sequence[int],
) -> GammaShrinker | None:
    if settings.sparsity is None:
        return None
    rates = pulling_rates(schedule.step_rates())
    regularise = find_regulariser(settings.regulariser)
    gammas = prunable_gammas(detector, rows)
    momentum = settings.hyp.momentum
    strength = choose_strength(settings.sparsity, rates, momentum)
    return GammaShrinker(
        gammas,
        strength,
        rates,
        momentum,
        regularise=regularise,
        beta_share=settings.beta_sparsity,
    )


def _build_holder(
    detector: Detector, average: ExponentialAverage, settings: TrainConfig
) -> ZeroHolder | None:
    pattern = None if settings.nm is None else read_pattern(settings.nm)
    final = settings.weight_sparsity if pattern is None else pattern.zeros
    if final is None and not settings.keep_zeros:
        return None
    weights = learning_weights(detector)
    state = average.detector.state_dict()
    averages = {name: state[f"{name}.weight"] for name in weights}
    if final is None:
        return hold_zeros(weights, averages)
    ramp = Ramp(final, settings.weight_begin, settings.weight_end, settings.weight_schedule)
    if pattern is None:
        return approach_share(weights, averages, ramp, settings.weight_scope)
    return approach_pattern(weights, averages, ramp, pattern)
