"""The door of the room: a detector in, one with pairs of convolutions out."""

from collections.abc import Collection, Sequence
from itertools import islice
from typing import cast

import torch
from torch import nn

from prunus.core.console import log
from prunus.core.errors import PruningError
from prunus.model.blocks import ConvBlock
from prunus.model.channels.trace import trace
from prunus.model.cost import flops_by_layer
from prunus.model.detector import Detector
from prunus.model.fuse import scale_and_shift
from prunus.prune.detectors import probe, row_paths
from prunus.prune.evidence import Calibration
from prunus.prune.low_rank.bases import Basis, basis_of_outputs, basis_of_weight
from prunus.prune.low_rank.outcome import Factorised, FactorisedLayer
from prunus.prune.low_rank.pairs import with_pairs
from prunus.prune.low_rank.ranks import Candidate, by_budget, by_energy, by_share
from prunus.prune.observe.observation import observe
from prunus.prune.repair.batch_norm import recalibrate
from prunus.prune.repair.choose import fitting_batches, held_out_error

AS_MADE = "as made"
SAVES_NOTHING = "stays: two would have no fewer operations"
ENOUGH = "stays: the budget is met without it"


def factorise(  # noqa: PLR0913  one argument a setting of the verb
    detector: Detector,
    *,
    rank: float | None = None,
    energy: float | None = None,
    flops: float | None = None,
    rows: Collection[int] = (),
    widest: int = 0,
    round_to: int = 8,
    calibration: Calibration | None = None,
) -> Factorised:
    """Make two convolutions of one, wherever that saves operations.

    Args:
        detector: Left as it is; it may be pruned or partly factorised already.
        rank: Share of each layer's full rank to keep, in (0, 1); or
        energy: Share of what each layer puts out (without images: of its squared weights) to keep,
            in (0, 1); or
        flops: Share of the detector's operations to keep, in (0, 1): ranks lie where least is lost.
        rows: Only layers of these rows; all of them if empty.
        widest: Only so many of these, those of the most weights; 0 for all.
        round_to: Ranks are multiples of this.
        calibration: Images: then not the weights but what layers put out is kept best, where it
            matters for what is detected, and batch-norm statistics are taken anew if that helps.

    Raises:
        PruningError: Not exactly one goal, no such row, or nothing would be saved.
    """
    if sum(goal is not None for goal in (rank, energy, flops)) != 1:
        raise PruningError("give one of --rank, --energy and --flops.")
    counts = flops_by_layer(detector)
    bases = _bases(detector, _layers(detector, rows, widest), calibration)
    weights = {name: detector.get_parameter(f"{name}.weight") for name in bases}
    candidates = {
        name: Candidate(weights[name].shape, counts[name], basis) for name, basis in bases.items()
    }
    if flops is not None:
        ranks = by_budget(candidates, sum(counts.values()), flops, round_to)
    elif rank is not None:
        ranks = {name: by_share(found, rank, round_to) for name, found in candidates.items()}
    elif energy is not None:
        ranks = {name: by_energy(found, energy, round_to) for name, found in candidates.items()}
    chosen = {name: r for name, r in ranks.items() if candidates[name].saves(r)}
    if not chosen:
        raise PruningError(
            "at these ranks no layer would have fewer operations as two. Ask for lower ranks."
        )
    model = with_pairs(detector, {name: (bases[name], r) for name, r in chosen.items()})
    layers = tuple(
        _told(name, found, chosen.get(name), budget=flops is not None)
        for name, found in candidates.items()
    )
    if calibration is None:
        return Factorised(model, layers, {})
    return _settled(model, detector, layers, calibration)


def _layers(detector: Detector, rows: Collection[int], widest: int) -> list[str]:
    """Return the names of the convolutions that may become pairs, in order.

    Raises:
        PruningError: There is no such row, or none is left.
    """
    inside = tuple(f"{path}." for path in row_paths(detector, sorted(rows)))
    sizes = {
        f"{name}.conv": block.conv.weight.numel()
        for name, block in detector.named_modules()
        if isinstance(block, ConvBlock)
        and isinstance(block.conv, nn.Conv2d)
        and (not inside or f"{name}.".startswith(inside))
    }
    if not sizes:
        raise PruningError(
            "there is no convolution that could become two: they are pairs already, or --rows "
            "names rows without any."
        )
    chosen = sorted(sizes, key=lambda name: -sizes[name])[: widest or None]
    return [name for name in sizes if name in chosen]


def _bases(
    detector: Detector, names: Sequence[str], calibration: Calibration | None
) -> dict[str, Basis]:
    """Return the directions of each layer's outputs: seen on images, or else of its weight."""
    convs = {name: cast(nn.Conv2d, detector.get_submodule(name)) for name in names}
    bases = {name: _folded_basis(detector, name, conv) for name, conv in convs.items()}
    if calibration is None:
        return bases
    observation = observe(detector, trace(detector, probe(detector)), calibration)
    fitting = fitting_batches(observation.batches)
    for name in names:
        if name in observation.layers:
            seen = observation.layers[name]
            targets = seen.targets[:fitting]
            bases[name] = basis_of_outputs(targets, seen.weight, bases[name].full_rank)
    return bases


def _folded_basis(detector: Detector, name: str, conv: nn.Conv2d) -> Basis:
    """Return the directions of a weight, its rows weighed as the batch norm behind it does."""
    norm = cast(ConvBlock, detector.get_submodule(name.rpartition(".")[0])).bn
    if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
        return basis_of_weight(conv.weight, torch.ones(conv.out_channels))
    scale, _ = scale_and_shift(norm)
    return basis_of_weight(conv.weight, scale.square(), norm.running_mean)


def _told(name: str, candidate: Candidate, rank: int | None, *, budget: bool) -> FactorisedLayer:
    full = candidate.basis.full_rank
    if rank is not None:
        return FactorisedLayer(
            name,
            full,
            rank,
            candidate.flops,
            candidate.flops_at(rank),
            candidate.basis.lost_share(rank),
        )
    note = ENOUGH if budget and candidate.saves(1) else SAVES_NOTHING
    return FactorisedLayer(name, full, full, candidate.flops, candidate.flops, 0.0, note)


def _settled(
    model: Detector,
    detector: Detector,
    layers: tuple[FactorisedLayer, ...],
    calibration: Calibration,
) -> Factorised:
    """Take batch-norm statistics anew, if that brings the outputs nearer to those of `detector`."""
    total = calibration.total or sum(1 for _ in calibration.batches())
    error = held_out_error(detector, calibration, total)
    settled = recalibrate(model, islice(calibration.batches(), fitting_batches(total)))
    candidates = {AS_MADE: model, "batch norm": cast(Detector, settled)}
    errors = {step: error(candidate) for step, candidate in candidates.items()}
    kept = min(errors, key=lambda step: errors[step])
    log.info(
        "relative error of the outputs on held-out images: %s; kept: %s",
        ", ".join(f"{step} {value:.4f}" for step, value in errors.items()),
        kept,
    )
    return Factorised(candidates[kept], layers, errors, kept)
