"""Learn from a teacher: a dense detector's answers, where it is sure, beside the labels.

The teacher says of every anchor in every cell how much of an object is there; the student imitates
that, and imitates box and class in proportion to it (Mehta and Ozturk, "Object Detection at 200
Frames per Second", ECCV workshops 2018, arXiv:1805.06361, section 3.2). The terms have the form and
the gains of the label loss, so that both weigh alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunus.core.device import autocast
from prunus.core.distributed import ALONE, Processes
from prunus.core.errors import TrainingError
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.loss import DetectionLoss, LossTerms, Weigh, complete_iou, relative_boxes
from prunus.train.features import FeatureImitation, HeadInputs, head_widths

SURE = 0.05
"""Below this objectness the teacher's box and class say nothing: they are not computed."""


class Teacher:
    """A detector whose answers are imitated. It does not learn, and is not saved.

    Attributes:
        features: Imitation of its feature maps too; None without.
    """

    def __init__(self, detector: Detector, device: torch.device, precision: str) -> None:
        """Take a copy of `detector`, fused, on `device`; `precision` as in training."""
        self._detector = fuse(detector).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device, self._precision = device, precision
        self.features: FeatureImitation | None = None

    def show_features(self, student: Detector, gain: float) -> nn.Module:
        """Let `student` imitate the feature maps as well; return the adapters, which learn."""
        seen = HeadInputs(self._detector)
        self.features = FeatureImitation(student, seen, head_widths(self._detector), gain)
        return self.features.adapters

    def state(self) -> dict[str, Tensor]:
        """Return what of the imitation learns, to go on with it later."""
        return {} if self.features is None else self.features.adapters.state_dict()

    def restore_(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        if self.features is not None:
            self.features.adapters.load_state_dict(dict(state))

    def imitated(
        self,
        loss: DetectionLoss,
        raw: Sequence[Tensor],
        images: Tensor,
        weigh: Weigh = torch.ones_like,
        processes: Processes = ALONE,
    ) -> LossTerms:
        """Return how far a student is from this teacher, on the images it has just seen.

        Args:
            loss: As in `imitation`.
            raw: The student's maps.
            images: (B, 3, H, W) in [0, 1], from which it made them.
            weigh: As for `DetectionLoss`.
            processes: Who sees the other images of the batch.

        Returns:
            The terms of `imitation`; that of the feature maps is part of the objectness.
        """
        terms = imitation(loss, raw, self.answers(images), weigh)
        if self.features is None:
            return terms
        return replace(terms, objectness=terms.objectness + self.features(weigh, processes))

    @torch.no_grad()
    def answers(self, images: Tensor) -> list[Tensor]:
        """Return the raw maps (B, A, H, W, 5 + K) of each level, for (B, 3, H, W) in [0, 1]."""
        with autocast(self._device, self._precision):
            maps: list[Tensor] = self._detector(images)
        return [raw.float() for raw in maps]


def check_teacher(teacher: Detector, student: Detector, where: str) -> None:
    """Make sure that answer and question have the same form.

    Raises:
        TrainingError: Classes, strides or anchors differ.
    """
    if teacher.names != student.names:
        raise TrainingError(
            f"{where}: the teacher knows {len(teacher.names)} classes, the data set has "
            f"{len(student.names)} or others. Train the teacher on this data set first."
        )
    same = teacher.strides == student.strides and teacher.anchors.shape == student.anchors.shape
    if not same or not torch.allclose(teacher.anchors.cpu(), student.anchors.cpu(), rtol=1e-3):
        raise TrainingError(
            f"{where}: the teacher has other strides or anchors than the model that is trained. "
            "Start both from the same weights, and keep them with --no-auto-anchor."
        )


def imitation(
    loss: DetectionLoss,
    raw: Sequence[Tensor],
    answers: Sequence[Tensor],
    weigh: Weigh = torch.ones_like,
) -> LossTerms:
    """Return how far the student's raw maps are from the teacher's, as the label loss would.

    Args:
        loss: Gains, anchors and balance of the levels.
        raw: L maps (B, A, H, W, 5 + K) of the student.
        answers: The same of the teacher.
        weigh: As for `DetectionLoss`.
    """
    box = objectness = classes = torch.zeros((), device=raw[0].device)
    surenesses = [answer[..., 4].sigmoid() for answer in answers]  # (B, A, H, W)
    amounts = [float(sureness[sureness > SURE].sum()) for sureness in surenesses]
    every = torch.tensor([len(raw[0]), *amounts], dtype=torch.float64)
    share, *shares = weigh(every).tolist()
    for level, answer, sureness, anchors, balance, part in zip(
        raw,
        answers,
        surenesses,
        loss.anchors.to(raw[0].device),
        loss.balance,
        shares,
        strict=True,
    ):
        logits = level[..., 4].float()
        term = F.binary_cross_entropy_with_logits(logits, sureness)
        objectness = objectness + share * balance * term
        at = (sureness > SURE).nonzero(as_tuple=True)
        if len(at[0]) == 0:
            continue
        weight = part * sureness[at] / sureness[at].sum()  # (M,)
        own, taught = level[at].float(), answer[at]
        sizes = anchors[at[1]]
        overlap = complete_iou(relative_boxes(own, sizes), relative_boxes(taught, sizes))
        box = box + (weight * (1 - overlap)).sum()
        difference = F.binary_cross_entropy_with_logits(
            own[:, 5:], taught[:, 5:].sigmoid(), reduction="none"
        )
        classes = classes + (weight * difference.mean(dim=1)).sum()
    gains = loss.gains
    return LossTerms(box * gains.box, objectness * gains.objectness, classes * gains.classes)
