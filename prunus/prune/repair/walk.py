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
from prunus.prune.observe.moments import Moments, Sums
from prunus.prune.observe.readers import patch_length, read_patches
from prunus.prune.repair.replay import Replay
from prunus.prune.repair.ridge import Cut, offset_of, set_layer_, solve

RIDGES = (1e-2, 1e-1, 1.0, 10.0)
STILL = 1e-9
"""Variance, relative to a layer's largest, below which an output is taken for a constant."""


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


class _Regression(NamedTuple):
    """Moments of inputs with what is wanted, over some batches.

    Attributes:
        mean: (D,) of the inputs.
        covariance: (D, D) of the inputs.
        cross: (D, O) covariance of inputs with what is wanted.
        target_mean: (O,) of what is wanted.
        target_variance: (O,) of what is wanted.
    """

    mean: Tensor
    covariance: Tensor
    cross: Tensor
    target_mean: Tensor
    target_variance: Tensor

    @classmethod
    def of(cls, moments: Moments, length: int) -> "_Regression":
        """Take apart the moments of inputs, so many values long, followed by what is wanted."""
        mean, covariance = moments
        return cls(
            mean[:length],
            covariance[:length, :length],
            covariance[:length, length:],
            mean[length:],
            covariance.diagonal()[length:],
        )

    def error(self, weight: Tensor, offset: Tensor) -> float:
        """Return the squared error as a share of the variance of what is wanted, mean over outputs.

        Outputs that never change say nothing of a fit and do not count.
        """
        shift = weight @ self.mean + offset - self.target_mean
        fitted = ((weight @ self.covariance) * weight).sum(1)
        squared = self.target_variance - 2 * (weight.T * self.cross).sum(0) + fitted + shift**2
        varied = self.target_variance > STILL * self.target_variance.max()
        return float((squared / self.target_variance)[varied].mean().nan_to_num(0.0))


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
    fit, judge = _regressions(cut, seen, replay, fitting)
    prior = cut.layer.weight.detach().to(fit.mean).flatten(1)
    before = judge.error(prior, offset_of(cut, smaller, model).to(fit.mean))
    best: tuple[float, Tensor, Tensor] | None = None
    for ridge in RIDGES:
        weight = solve(fit.covariance, fit.cross, prior, ridge)
        offset = fit.target_mean - weight @ fit.mean
        error = judge.error(weight, offset)
        if best is None or error < best[0]:
            best = (error, weight, offset)
    assert best is not None
    refit = Refit(cut.path, before, best[0])
    if refit.kept:
        set_layer_(cut, best[1], best[2], smaller, model)
    return refit


def _regressions(
    cut: Cut, seen: Observed, replay: Replay, fitting: int
) -> tuple[_Regression, _Regression]:
    """Return what a layer now reads with what it is to say: to fit to, and to judge by."""
    fit, judge = Sums(), Sums()
    arrivals = zip(replay.inputs_of(cut.path), seen.places, seen.targets, strict=True)
    for number, (given, places, targets) in enumerate(arrivals):
        patches = read_patches(cut.layer, given, places.to(given.device))
        wanted = targets[:, cut.rows].to(patches)
        (fit if number < fitting else judge).add(torch.cat((patches, wanted), dim=1))
    length = patch_length(cut.layer)
    return _Regression.of(fit.moments(), length), _Regression.of(judge.moments(), length)
