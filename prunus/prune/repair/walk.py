"""The second round: layer by layer, from what the cut network itself hands on.

The first round (`ridge`) solves each layer as if its inputs were those of the dense network. Here
the layers are walked in order, each one reads what the repaired ones before it now say, and what it
is to say is still what the dense one said. The strength of the ridge is chosen, and the layer
changed at all, by the error at places of images that it was not fitted to.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from prunus.core.console import track
from prunus.prune.evidence import Observation, Observed
from prunus.prune.observe.readers import read_patches
from prunus.prune.repair.replay import Replay
from prunus.prune.repair.ridge import Cut, offset_of, set_layer_, solve

RIDGES = (1e-2, 1e-1, 1.0, 10.0)


class Refit(NamedTuple):
    """What became of one layer.

    Attributes:
        path: Where it is.
        before: Its error on held-out images, as a share of the variance of what it is to say.
        after: The same with the best ridge; the layer was changed if that is less.
    """

    path: str
    before: float
    after: float

    @property
    def kept(self) -> bool:
        return self.after < self.before


class _Sums(NamedTuple):
    """Moments of inputs with targets over some batches."""

    mean: Tensor
    covariance: Tensor
    target_mean: Tensor
    target_variance: Tensor
    cross: Tensor

    def error(self, weight: Tensor, offset: Tensor) -> float:
        """Return the squared error as a share of the targets' variance, mean over outputs."""
        shift = weight @ self.mean + offset - self.target_mean
        fitted = ((weight @ self.covariance) * weight).sum(1)
        squared = self.target_variance - 2 * (weight.T * self.cross).sum(0) + fitted + shift**2
        tiny = torch.finfo(torch.float64).tiny
        return float((squared / self.target_variance.clamp(min=tiny)).mean())


def walk_(
    cuts: Sequence[Cut],
    smaller: nn.Module,
    model: nn.Module,
    observation: Observation,
    fitting: int,
) -> list[Refit]:
    """Refit the layers in place, in order.

    Args:
        cuts: The layers, in the order in which they run.
        smaller: The cut network.
        model: The dense one.
        observation: Of the dense one.
        fitting: So many of the first batches are fitted to; the others judge.
    """
    replay = Replay(smaller, observation.calibration.batches)
    return [
        _refit(cut, smaller, model, observation.layers[cut.path], replay, fitting)
        for cut in track(cuts, "repairing")
    ]


def _refit(
    cut: Cut,
    smaller: nn.Module,
    model: nn.Module,
    seen: Observed,
    replay: Replay,
    fitting: int,
) -> Refit:
    pairs = [
        (
            read_patches(cut.layer, given, places.to(given.device)).double().cpu(),
            targets[:, cut.rows].double(),
        )
        for given, places, targets in zip(
            replay.inputs_of(cut.path), seen.places, seen.targets, strict=True
        )
    ]
    fit, judge = _sums(pairs[:fitting]), _sums(pairs[fitting:])
    prior = cut.layer.weight.detach().double().flatten(1).cpu()
    before = judge.error(prior, offset_of(cut, smaller, model))
    best: tuple[float, Tensor, Tensor] | None = None
    for ridge in RIDGES:
        weight = solve(fit.covariance, fit.cross, prior, ridge)
        offset = fit.target_mean - weight @ fit.mean
        error = judge.error(weight, offset)
        if best is None or error < best[0]:
            best = (error, weight, offset)
    assert best is not None
    if best[0] < before:
        set_layer_(cut, best[1], best[2], smaller, model)
    return Refit(cut.path, before, best[0])


def _sums(pairs: Sequence[tuple[Tensor, Tensor]]) -> _Sums:
    count = sum(len(seen) for seen, _ in pairs)
    mean = torch.stack([seen.sum(0) for seen, _ in pairs]).sum(0) / count
    target_mean = torch.stack([target.sum(0) for _, target in pairs]).sum(0) / count
    second = sum((seen.T @ seen for seen, _ in pairs), torch.zeros(len(mean), len(mean)).double())
    cross = sum((s.T @ t for s, t in pairs), torch.zeros(len(mean), len(target_mean)).double())
    squares = torch.stack([target.square().sum(0) for _, target in pairs]).sum(0)
    return _Sums(
        mean,
        second / count - torch.outer(mean, mean),
        target_mean,
        squares / count - target_mean**2,
        cross / count - torch.outer(mean, target_mean),
    )
