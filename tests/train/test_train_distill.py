"""Imitation of a teacher: none is left to learn from itself, and learning brings closer."""

from collections.abc import Callable

import pytest
import torch

from prunus.core.errors import TrainingError
from prunus.core.records import Batch
from prunus.model.build import build_detector
from prunus.model.detector import Detector
from prunus.model.loss import DetectionLoss, LossGains, LossTerms
from prunus.model.spec import read_arch
from prunus.train.distill import Teacher, check_teacher, imitation
from prunus.train.engine import Engine

CPU = torch.device("cpu")


def maps(objectness: float, value: float = 0.0) -> list[torch.Tensor]:
    """Raw maps of a 64-pixel image, two classes, the same in every cell."""
    levels = [torch.full((1, 3, side, side, 7), value) for side in (8, 4, 2)]
    for level in levels:
        level[..., 4] = objectness
    return levels


@pytest.fixture
def loss(nano: Detector) -> DetectionLoss:
    return DetectionLoss(nano, LossGains(box=1.0, objectness=1.0, classes=1.0))


def test_equal_boxes_cost_nothing_and_the_rest_its_entropy(loss: DetectionLoss) -> None:
    terms = imitation(loss, maps(0.0), maps(0.0))
    assert terms.box.item() == pytest.approx(0, abs=1e-5)
    half = -torch.tensor(0.5).log().item()  # cross entropy of one half with itself
    assert terms.objectness.item() == pytest.approx(half * (4.0 + 1.0 + 0.4), rel=1e-5)
    assert terms.classes.item() == pytest.approx(half * 3, rel=1e-5)


def test_where_the_teacher_is_not_sure_box_and_class_do_not_count(loss: DetectionLoss) -> None:
    terms = imitation(loss, maps(0.0, value=1.0), maps(-9.0))
    assert terms.box == 0
    assert terms.classes == 0
    assert terms.objectness > 0


def test_sure_cells_weigh_by_their_sureness(loss: DetectionLoss) -> None:
    answers, own = maps(-20.0), maps(0.0)
    answers[0][0, 0, 0, 0, 4], answers[0][0, 0, 1, 1, 4] = 2.0, -1.0
    own[0][0, 0, 0, 0, 0] = 3.0  # the first box lies elsewhere, the second agrees
    alone = maps(-20.0)
    alone[0][0, 0, 0, 0, 4] = 2.0
    sure, unsure = torch.tensor(2.0).sigmoid(), torch.tensor(-1.0).sigmoid()
    both = imitation(loss, own, answers).box
    one = imitation(loss, own, alone).box
    assert both.item() == pytest.approx((one * sure / (sure + unsure)).item(), rel=1e-5)


def test_the_answer_is_the_least_of_all_losses(loss: DetectionLoss) -> None:
    torch.manual_seed(0)
    answers = [torch.randn(1, 3, side, side, 7) for side in (8, 4, 2)]
    best = imitation(loss, answers, answers).total(1)
    for seed in range(5):
        torch.manual_seed(seed)
        other = [answer + 0.3 * torch.randn_like(answer) for answer in answers]
        assert imitation(loss, other, answers).total(1) > best


def test_terms_add_up() -> None:
    one, two = (LossTerms(*torch.tensor(values)) for values in ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)))
    torch.testing.assert_close((one + two).stacked(), torch.tensor([5.0, 7.0, 9.0]))


def test_training_minimises_labels_and_imitation_together(
    nano: Detector, make_engine: Callable[..., Engine], make_batch: Callable[..., Batch]
) -> None:
    torch.manual_seed(7)
    teacher = Teacher(build_detector(nano.spec, nano.names), CPU, "fp32")
    batch = make_batch(4, 0)
    engine = make_engine()
    engine.detector.eval()  # the same statistics in all three passes
    labels = engine._forward(batch, 0)
    engine.teacher = teacher
    both = engine._forward(batch, 0)
    images = batch.images.float() / 255
    alone = imitation(engine.loss, engine.detector(images), teacher.answers(images))
    assert alone.objectness > 0
    torch.testing.assert_close(both.stacked(), (labels + alone).stacked())


def test_a_teacher_does_not_change(
    nano: Detector, make_engine: Callable[..., Engine], make_batch: Callable[..., Batch]
) -> None:
    source = build_detector(nano.spec, nano.names)
    engine = make_engine()
    engine.teacher = Teacher(source, CPU, "fp32")
    images = make_batch(4, 0).images.float() / 255
    before = engine.teacher.answers(images)
    engine.run_epoch([make_batch(4, seed) for seed in range(2)], lambda: False)
    for one, other in zip(engine.teacher.answers(images), before, strict=True):
        assert torch.equal(one, other)


def test_a_teacher_of_another_form_is_refused(nano: Detector) -> None:
    others = build_detector(read_arch("yolov5n"), ["plum"])
    with pytest.raises(TrainingError, match=r"t\.pt: the teacher knows 1 classes"):
        check_teacher(others, nano, "t.pt")
    moved = build_detector(nano.spec, nano.names)
    moved.head.anchors *= 1.5
    with pytest.raises(TrainingError, match="other strides or anchors"):
        check_teacher(moved, nano, "t.pt")
    deeper = build_detector(read_arch("yolov5n6"), nano.names)
    with pytest.raises(TrainingError, match="other strides or anchors"):
        check_teacher(deeper, nano, "t.pt")
    check_teacher(build_detector(nano.spec, nano.names), nano, "t.pt")
