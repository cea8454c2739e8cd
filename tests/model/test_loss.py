"""The loss: values by hand, gradients that stop where they should, and determinism."""

import math
from types import SimpleNamespace
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from prunus.model.detector import Detector
from prunus.model.loss import DetectionLoss, LossGains, complete_iou, scaled_gains

PLAIN = LossGains(box=1.0, objectness=1.0, classes=1.0)


def detector_like(anchors: Tensor, names: tuple[str, ...]) -> Detector:
    return cast(Detector, SimpleNamespace(anchors=anchors, names=names))


def one_level(names: tuple[str, ...] = ("a", "b"), gains: LossGains = PLAIN) -> DetectionLoss:
    return DetectionLoss(detector_like(torch.tensor([[[2.0, 2.0]]]), names), gains)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_one_target_on_one_level_by_hand() -> None:
    raw = torch.zeros(
        1, 1, 2, 2, 7
    )  # zeros decode to a box of the anchor's size in the cell's middle
    raw[..., 4] = -1.0
    raw[..., 5:] = torch.tensor([2.0, -3.0])
    # 1 x 1 cells around the centre of a 2 x 2 grid's first cell; predicted are 2 x 2 around it.
    target = torch.tensor([[0, 1, 0.25, 0.25, 0.5, 0.5]])

    terms = one_level()([raw], target)

    overlap = 1 / 4  # same centre, same aspect ratio: CIoU is IoU
    assert terms.box.item() == pytest.approx(1 - overlap, abs=1e-5)
    bce_matched = softplus(-1.0) + overlap * 1.0  # softplus(x) - goal * x
    balance = 4.0  # of the finest level
    assert terms.objectness.item() == pytest.approx(
        balance * (bce_matched + 3 * softplus(-1.0)) / 4, abs=1e-5
    )
    assert terms.classes.item() == pytest.approx((softplus(2.0) + softplus(3.0)) / 2, abs=1e-5)
    whole = terms.box + terms.objectness + terms.classes
    assert terms.total(8).item() == pytest.approx(8 * whole.item())


def test_complete_iou_by_hand() -> None:
    wide, tall = torch.tensor([[2.0, 1.0, 4.0, 2.0]]), torch.tensor([[3.0, 2.0, 2.0, 4.0]])
    # overlap x 2..4, y 0..2 = 4; union 8 + 8 - 4 = 12; hull 0..4 x 0..4; centres (1, 1) apart
    iou, distance, diagonal = 4 / 12, 2.0, 32.0
    shape = 4 / math.pi**2 * (math.atan(0.5) - math.atan(2)) ** 2
    expected = iou - distance / diagonal - shape**2 / (1 - iou + shape)
    assert complete_iou(wide, tall).item() == pytest.approx(expected, abs=1e-6)


def test_complete_iou_is_one_for_equal_boxes_and_takes_alpha_as_a_constant() -> None:
    box = torch.tensor([[0.3, 0.6, 1.7, 2.3]])
    assert complete_iou(box, box).item() == pytest.approx(1, abs=1e-5)
    moving = torch.tensor([[2.0, 1.0, 4.0, 2.0]], requires_grad=True)
    still = torch.tensor([[2.0, 1.0, 2.0, 4.0]])
    complete_iou(moving, still).sum().backward()  # type: ignore[no-untyped-call]

    def with_constant_alpha(boxes: Tensor) -> Tensor:
        w, h = boxes[:, 2], boxes[:, 3]
        overlap = torch.minimum(w, still[:, 2]) * torch.minimum(h, still[:, 3])
        iou = overlap / (w * h + 8 - overlap)
        shape = 4 / math.pi**2 * (torch.atan(w / h) - math.atan(0.5)) ** 2
        alpha = (shape / (1 - iou + shape)).detach()
        return iou - alpha * shape  # centres are equal

    other = moving.detach().clone().requires_grad_()
    with_constant_alpha(other).sum().backward()  # type: ignore[no-untyped-call]
    assert moving.grad is not None
    assert other.grad is not None
    torch.testing.assert_close(moving.grad[:, 2:], other.grad[:, 2:], atol=1e-5, rtol=1e-4)


def test_no_gradient_flows_through_the_objectness_goal() -> None:
    raw = torch.randn(1, 1, 4, 4, 7, requires_grad=True)
    terms = one_level()([raw], torch.tensor([[0, 0, 0.4, 0.4, 0.5, 0.6]]))
    (gradient,) = torch.autograd.grad(terms.objectness, raw)
    assert gradient[..., :4].abs().max() == 0
    assert gradient[..., 5:].abs().max() == 0
    assert gradient[..., 4].abs().min() > 0


def test_the_class_term_is_left_out_for_one_class() -> None:
    raw = torch.randn(2, 1, 4, 4, 6)
    terms = one_level(("only",))([raw], torch.tensor([[0, 0, 0.4, 0.4, 0.5, 0.6]]))
    assert terms.classes.item() == 0
    assert terms.box.item() > 0


def test_levels_are_averaged_on_their_own_and_balanced() -> None:
    anchors = torch.tensor([[[2.0, 2.0]], [[1.0, 1.0]], [[0.5, 0.5]]])
    loss = DetectionLoss(detector_like(anchors, ("a", "b")), PLAIN)
    raw = [torch.zeros(1, 1, side, side, 7) for side in (8, 4, 2)]
    terms = loss(raw, torch.zeros(0, 6))
    assert terms.box.item() == 0
    assert terms.classes.item() == 0
    assert terms.objectness.item() == pytest.approx((4.0 + 1.0 + 0.4) * math.log(2), abs=1e-5)


def test_each_level_has_its_own_mean() -> None:
    anchors = torch.tensor([[[2.0, 2.0]], [[1.0, 1.0]], [[0.5, 0.5]]])
    target = torch.tensor([[0, 0, 0.52, 0.47, 0.25, 0.3]])
    generator = torch.Generator().manual_seed(0)
    raw = [torch.randn(1, 1, side, side, 7, generator=generator) for side in (8, 4, 2)]
    together = DetectionLoss(detector_like(anchors, ("a", "b")), PLAIN)(raw, target)
    alone = [
        DetectionLoss(detector_like(level[None], ("a", "b")), PLAIN)([level_raw], target)
        for level, level_raw in zip(anchors, raw, strict=True)
    ]
    assert together.box.item() == pytest.approx(sum(t.box.item() for t in alone), abs=1e-5)
    assert together.classes.item() == pytest.approx(sum(t.classes.item() for t in alone), abs=1e-5)


def test_label_smoothing_positive_weight_and_focal_loss() -> None:
    raw = torch.zeros(1, 1, 2, 2, 7)
    raw[..., 5:] = torch.tensor([2.0, -3.0])
    target = torch.tensor([[0, 1, 0.25, 0.25, 0.5, 0.5]])
    logits = torch.tensor([2.0, -3.0])
    smooth = one_level(gains=LossGains(1, 1, 1, label_smoothing=0.2, class_positive_weight=0.5))
    expected = F.binary_cross_entropy_with_logits(
        logits, torch.tensor([0.1, 0.9]), pos_weight=torch.tensor(0.5)
    )
    assert smooth([raw], target).classes.item() == pytest.approx(expected.item(), abs=1e-6)

    focal = one_level(gains=LossGains(1, 1, 1, focal_gamma=2.0))
    p0, p1 = torch.sigmoid(logits).tolist()
    by_hand = (0.75 * p0**2 * -math.log(1 - p0) + 0.25 * (1 - p1) ** 2 * -math.log(p1)) / 2
    assert focal([raw], target).classes.item() == pytest.approx(by_hand, abs=1e-6)


def test_where_targets_collide_the_last_one_counts_every_time() -> None:
    raw = torch.zeros(1, 1, 2, 2, 7)
    raw[..., 4] = 1.0  # at logit 0 the cross entropy would not depend on the goal
    same_cell = torch.tensor([[0, 0, 0.25, 0.25, 0.5, 0.5], [0, 0, 0.25, 0.25, 0.9, 0.9]])
    both = one_level()([raw], same_cell).objectness
    last = one_level()([raw], same_cell[1:]).objectness
    first = one_level()([raw], same_cell[:1]).objectness
    assert both.item() == pytest.approx(last.item(), abs=1e-6)
    assert abs(first.item() - last.item()) > 0.1


def test_is_computed_in_float32_and_needs_no_targets() -> None:
    raw = torch.randn(2, 1, 4, 4, 7, dtype=torch.bfloat16, requires_grad=True)
    terms = one_level()([raw], torch.zeros(0, 6))
    assert terms.objectness.dtype == torch.float32
    terms.total(2).backward()  # type: ignore[no-untyped-call]
    assert raw.grad is not None
    assert raw.grad.isfinite().all()


def test_gains_are_scaled_to_levels_classes_and_image_size() -> None:
    scaled = scaled_gains(LossGains(), levels=4, classes=20, image_size=320)
    assert scaled.box == pytest.approx(0.05 * 3 / 4)
    assert scaled.classes == pytest.approx(0.5 * 20 / 80 * 3 / 4)
    assert scaled.objectness == pytest.approx(1.0 * 0.25 * 3 / 4)
    assert scaled_gains(LossGains(), levels=3, classes=80, image_size=640) == LossGains()
