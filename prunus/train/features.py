"""Imitate what a teacher sees, not only what it answers: the feature maps that its head reads.

Channels are compared by correlation, so that neither their scale nor their offset matters: each is
brought to mean 0 and variance 1 over the batch, then half the mean squared difference is taken,
which is 1 - Pearson's r (Cao et al., "PKD", NeurIPS 2022, arXiv:2207.02039, section 3.2). A pruned
student has fewer channels: a 1x1 convolution, which learns with it and is not part of the weights,
carries its maps to the teacher's width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prunus.core.distributed import ALONE, Processes
from prunus.core.sums import sum_of_all
from prunus.model.detector import Detector
from prunus.model.loss import Weigh

EPSILON = 1e-6
"""Added to the student's variances: a channel may be constant, and its gradient must not burst."""
TINY = 1e-20
"""Added to the teacher's, which has no gradient and whose scale must not matter."""


class HeadInputs:
    """The feature maps that a detector's head read in its latest pass.

    Attributes:
        maps: L tensors (B, C, H, W), fine to coarse; empty before the first pass.
    """

    def __init__(self, detector: Detector) -> None:
        """Watch from now on."""
        self.maps: list[Tensor] = []
        detector.head.register_forward_pre_hook(self._note)

    def _note(self, _head: nn.Module, given: tuple[Any, ...]) -> None:
        self.maps = list(given[0])


class FeatureImitation:
    """Compares the feature maps of student and teacher.

    Attributes:
        adapters: One module a level, from the student's width to the teacher's.
    """

    def __init__(
        self, student: Detector, teacher: HeadInputs, teacher_widths: Sequence[int], gain: float
    ) -> None:
        """Make the adapters, with torch's default initialisation.

        Args:
            student: What learns; watched from now on.
            teacher: What it imitates.
            teacher_widths: Channels of the teacher's maps.
            gain: Weight of the term.
        """
        self._student, self._teacher, self._gain = HeadInputs(student), teacher, gain
        pairs = zip(head_widths(student), teacher_widths, strict=True)
        device = next(student.parameters()).device
        self.adapters = nn.ModuleList(
            nn.Identity() if own == wanted else nn.Conv2d(own, wanted, 1, bias=False)
            for own, wanted in pairs
        ).to(device)

    def __call__(self, weigh: Weigh = torch.ones_like, processes: Processes = ALONE) -> Tensor:
        """Return the term for the latest pass of both, summed over levels.

        Args:
            weigh: As for `DetectionLoss`.
            processes: Who has seen the other images of the batch.
        """
        total = torch.zeros((), device=self._student.maps[0].device)
        images = torch.tensor([len(self._student.maps[0])], dtype=torch.float64)
        for own, taught, adapter in zip(
            self._student.maps, self._teacher.maps, self.adapters, strict=True
        ):
            total = total + dissimilarity(adapter(own.float()), taught.float(), processes)
        return total * self._gain * weigh(images).item()


def dissimilarity(own: Tensor, taught: Tensor, processes: Processes = ALONE) -> Tensor:
    """Return 1 - correlation of (B, C, H, W) maps with others, a mean over channels; 0 to 2.

    Of several processes each gets its images' part: their mean, each weighed by its images, is the
    figure for the images of all.
    """
    difference = _standard(own, EPSILON, processes) - _standard(taught, TINY, processes)
    return difference.square().mean() / 2


def head_widths(detector: Detector) -> list[int]:
    """Return the channels that each level of the head reads."""
    return [conv.in_channels for conv in detector.head.m if isinstance(conv, nn.Conv2d)]


def _standard(maps: Tensor, least: float, processes: Processes) -> Tensor:
    """Bring each channel to mean 0 and variance 1 over the images of all processes."""
    dimensions = (0, 2, 3)
    count = sum_of_all(maps.new_tensor(maps.numel() / maps.shape[1]), processes)
    centred = maps - sum_of_all(maps.sum(dimensions, keepdim=True), processes) / count
    variance = sum_of_all(centred.square().sum(dimensions, keepdim=True), processes) / count
    return centred / (variance + least).sqrt()
