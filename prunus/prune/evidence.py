"""What criteria and repairs may look at besides weights: images, and a loss where there are labels.

Everything is streamed: each call of a stream starts it anew, one batch is in memory at a time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.probe import Inputs, tensors_in
from prunus.model.channels.table import ChannelTable
from prunus.prune.surgery import named_tensors

SEED = 0

Weigh = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""Outputs of a network (its tensors, in order) -> as many tensors of their shapes: how much a small
squared error of each value matters."""


def by_variance(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Weigh each output tensor by one over its variance: what is known of any network."""
    return [
        torch.full_like(output, 1 / (float(output.var()) + torch.finfo(output.dtype).eps))
        if output.numel() > 1
        else torch.ones_like(output)
        for output in outputs
    ]


@dataclass(frozen=True)
class Calibration:
    """Images (or other inputs) to calibrate on.

    Attributes:
        batches: Starts the stream anew, the same batches in the same order; each item is what the
            network is called with, on its device, such as (B, 3, H, W) float in [0, 1]. Training
            images, never those it is judged on.
        losses: Network -> the loss of each batch, ready for `backward`; None without labels.
        weigh: What matters in the outputs, for criteria that need no labels.
        total: Number of batches; None when unknown, then they are counted.
    """

    batches: Callable[[], Iterable[Inputs]]
    losses: Callable[[nn.Module], Iterable[Tensor]] | None = None
    weigh: Weigh = by_variance
    total: int | None = None


@dataclass(frozen=True)
class Observed:
    """What calibration images show of one layer, at places drawn where its output matters.

    Attributes:
        places: Per batch (B, P) flat numbers of output places.
        targets: Per batch (B * P, O) what the layer puts out there, before any normalisation.
        weight: (O,) float64: squared change of the network's outputs for a small squared error
            of each output channel at every place of an image.
    """

    places: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    weight: Tensor = field(default_factory=lambda: torch.zeros(()))


@dataclass(frozen=True)
class Observation:
    """What calibration images show of a network.

    Attributes:
        layers: By path, in the order in which they run.
        calibration: The images.
        batches: How many batches of them.
    """

    layers: Mapping[str, Observed]
    calibration: Calibration
    batches: int


@dataclass(frozen=True)
class Evidence:
    """What a criterion may look at.

    Attributes:
        model: The network; left as it is.
        table: Its channels.
        calibration: None without images.
        seed: Of everything random.
        observation: What the images show, where that is known already.
    """

    model: nn.Module
    table: ChannelTable
    calibration: Calibration | None = None
    seed: int = SEED
    observation: Observation | None = None

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Return parameters and buffers by name."""
        return named_tensors(self.model)

    def images(self, criterion: str) -> Calibration:
        """Return the calibration images.

        Raises:
            PruningError: There are none.
        """
        if self.calibration is None:
            raise PruningError(
                f"criterion {criterion}: looks at images, and there are none. Give --data, or a "
                "criterion that looks at weights only (l2, group_l2, bn_scale …)."
            )
        return self.calibration

    def losses(self, criterion: str) -> Callable[[nn.Module], Iterable[Tensor]]:
        """Return the stream of losses.

        Raises:
            PruningError: There are no labels.
        """
        losses = self.images(criterion).losses
        if losses is None:
            raise PruningError(
                f"criterion {criterion}: needs labels. Give a data set with labels, or a criterion "
                "that looks at images only (activation, reconstruction)."
            )
        return losses


def output_tensors(outputs: object) -> list[Tensor]:
    """Return the floating-point tensors of a network's outputs, in order."""
    return [tensor for tensor in tensors_in(outputs) if tensor.is_floating_point()]
