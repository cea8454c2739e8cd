"""What fits is carried over, by name; the head's class rows go to the class of the same name."""

from dataclasses import replace

import pytest
import torch

from prunus.model.build import build_detector
from prunus.model.detector import Detector
from prunus.weights.transfer import adapt_classes, transfer

HEAD = ("model.9.m.0.weight", "model.9.m.0.bias", "model.9.m.1.weight", "model.9.m.1.bias")


def fresh(like: Detector, names: tuple[str, ...], seed: int = 1) -> Detector:
    torch.manual_seed(seed)
    return build_detector(like.spec, names).eval()


def head_rows(detector: Detector, level: int) -> torch.Tensor:
    """(anchors, 5 + classes, inputs) weights of one level of the head."""
    weight = detector.head.m[level].weight.detach()
    return weight.view(detector.head.anchors_per_level, -1, weight.shape[1])


def test_the_same_classes_and_shapes_are_carried_whole(small_detector: Detector) -> None:
    target = fresh(small_detector, small_detector.names)
    done = transfer(small_detector, target)
    total = len(small_detector.state_dict())
    assert (len(done.fitted), done.partly, done.unfitted) == (total, (), ())
    for name, tensor in small_detector.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor)
    assert done.summary() == f"transferred {total} of {total} tensors"


def test_class_rows_go_by_name_and_the_rest_stay_fresh(small_detector: Detector) -> None:
    """Source: plum, leaf, blossom. Target: blossom, stone, plum, worm."""
    names = ("blossom", "stone", "plum", "worm")
    target, untouched = fresh(small_detector, names), fresh(small_detector, names)
    done = transfer(small_detector, target)

    assert done.partly == HEAD
    assert done.unfitted == ()
    assert done.common_classes == ("blossom", "plum")
    total = len(small_detector.state_dict())
    assert done.summary() == (
        f"transferred {total - 4} of {total} tensors; head: boxes, objectness and 2 of 4 classes "
        "by name"
    )
    for level in (0, 1):
        theirs, ours = head_rows(small_detector, level), head_rows(target, level)
        own = head_rows(untouched, level)
        assert torch.equal(ours[:, :5], theirs[:, :5])
        assert torch.equal(ours[:, 5], theirs[:, 7])  # blossom
        assert torch.equal(ours[:, 7], theirs[:, 5])  # plum
        assert torch.equal(ours[:, [6, 8]], own[:, [6, 8]])  # stone and worm
        bias = small_detector.head.m[level].bias.view(3, -1)
        assert torch.equal(target.head.m[level].bias.view(3, -1)[:, [5, 7]], bias[:, [7, 5]])


def test_equal_counts_of_other_classes_are_not_carried_by_place(small_detector: Detector) -> None:
    names = ("leaf", "plum", "worm")
    target, untouched = fresh(small_detector, names), fresh(small_detector, names)
    transfer(small_detector, target)
    assert torch.equal(head_rows(target, 0)[:, 5], head_rows(small_detector, 0)[:, 6])
    assert torch.equal(head_rows(target, 0)[:, 7], head_rows(untouched, 0)[:, 7])


@pytest.mark.parametrize("seed", range(3))
def test_common_classes_are_detected_as_before(small_detector: Detector, seed: int) -> None:
    """The property behind it: boxes, objectness and scores of common classes do not change."""
    target = fresh(small_detector, ("worm", "leaf", "plum"), seed)
    transfer(small_detector, target)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    for ours, theirs in zip(target(image), small_detector(image), strict=True):
        torch.testing.assert_close(ours[..., :5], theirs[..., :5])
        torch.testing.assert_close(ours[..., [6, 7]], theirs[..., [6, 5]])


def test_anchors_of_the_target_stay(small_detector: Detector) -> None:
    target = fresh(small_detector, small_detector.names)
    target.head.anchors.mul_(2)
    wanted = target.anchors.clone()
    done = transfer(small_detector, target)
    assert torch.equal(target.anchors, wanted)
    assert [tensor.name for tensor in done.unfitted] == ["model.9.anchors"]


def test_a_head_with_other_anchor_counts_stays_fresh(small_detector: Detector) -> None:
    two = tuple(level[:2] for level in small_detector.spec.anchors_px)
    torch.manual_seed(1)
    target = build_detector(replace(small_detector.spec, anchors_px=two), ("plum", "worm"))
    before = target.head.m[0].weight.detach().clone()
    done = transfer(small_detector, target)
    assert torch.equal(target.head.m[0].weight, before)
    assert {tensor.name for tensor in done.unfitted} == {*HEAD, "model.9.anchors"}


def test_equal_shapes_of_other_anchor_counts_are_not_mixed_up(small_detector: Detector) -> None:
    """2 anchors x (5 + 7) and 3 anchors x (5 + 3) both make 24 channels."""
    two = tuple(level[:2] for level in small_detector.spec.anchors_px)
    torch.manual_seed(1)
    names = tuple(f"new {i}" for i in range(7))
    target = build_detector(replace(small_detector.spec, anchors_px=two), names)
    before = target.head.m[0].weight.detach().clone()
    assert before.shape == small_detector.head.m[0].weight.shape
    done = transfer(small_detector, target)
    assert torch.equal(target.head.m[0].weight, before)
    assert {tensor.name for tensor in done.unfitted} == {*HEAD, "model.9.anchors"}


def test_what_does_not_fit_is_told_with_both_shapes(
    small_detector: Detector, narrow_detector: Detector
) -> None:
    target = fresh(small_detector, small_detector.names)
    before = target.model[0].conv.weight.detach().clone()
    done = transfer(narrow_detector, target)
    first = done.unfitted[0]
    assert (first.name, first.source, first.target) == (
        "model.0.conv.weight",
        (5, 3, 6, 6),
        (8, 3, 6, 6),
    )
    assert torch.equal(target.model[0].conv.weight, before)
    assert "fresh: model.0.conv.weight (8, 3, 6, 6) from (5, 3, 6, 6)," in done.summary()
    assert done.summary().endswith(f"and {len(done.unfitted) - 3} more")


def test_tensors_that_the_source_lacks_are_told(small_detector: Detector) -> None:
    target = fresh(small_detector, small_detector.names)
    target.model[0].register_buffer("extra", torch.ones(2))
    (missing,) = transfer(small_detector, target).unfitted
    assert (missing.name, missing.source, missing.target) == ("model.0.extra", None, (2,))


def test_adapting_keeps_pruned_widths_and_anchors(narrow_detector: Detector) -> None:
    narrow_detector.head.anchors.mul_(1.5)
    before = {name: tensor.clone() for name, tensor in narrow_detector.state_dict().items()}
    adapted, done = adapt_classes(narrow_detector, ("leaf", "worm"))

    assert adapted.names == ("leaf", "worm")
    assert adapted.model[0].conv.out_channels == 5
    assert torch.equal(adapted.anchors, narrow_detector.anchors)
    assert done.unfitted == ()
    assert len(done.partly) == 4
    assert done.common_classes == ("leaf",)
    assert torch.equal(head_rows(adapted, 1)[:, 5], head_rows(narrow_detector, 1)[:, 6])
    for name, tensor in narrow_detector.state_dict().items():
        assert torch.equal(tensor, before[name]), "the source must be left alone"
        if name not in HEAD:
            assert torch.equal(adapted.state_dict()[name], tensor), name
    assert not adapted.training
    sum(raw.mean() for raw in adapted.train()(torch.rand(1, 3, 32, 32))).backward()
    assert all(parameter.grad is not None for parameter in adapted.parameters())


def test_a_pruned_head_input_gets_fresh_rows_of_its_width(small_detector: Detector) -> None:
    last = small_detector.model[8].cv3
    keep = [0, 3, 5, 6, 7]
    last.conv.weight = torch.nn.Parameter(last.conv.weight.detach()[keep])
    last.conv.out_channels = last.bn.num_features = 5
    for key in ("weight", "bias"):
        setattr(last.bn, key, torch.nn.Parameter(getattr(last.bn, key).detach()[keep]))
    last.bn.running_mean, last.bn.running_var = torch.zeros(5), torch.ones(5)
    conv = small_detector.head.m[0]
    conv.weight, conv.in_channels = torch.nn.Parameter(conv.weight.detach()[:, keep]), 5

    torch.manual_seed(0)
    adapted, _ = adapt_classes(small_detector, ("worm",))
    rows = head_rows(adapted, 0)
    assert rows.shape == (3, 6, 5)
    assert torch.equal(rows[:, :5], head_rows(small_detector, 0)[:, :5])
    assert rows.isfinite().all()
    assert rows[:, 5].abs().max() <= 5**-0.5  # torch's default bound, 1 / sqrt(inputs)
    assert rows[:, 5].abs().min() > 0


def test_fresh_class_biases_expect_few_objects(small_detector: Detector) -> None:
    """ln(0.6 / (classes - 0.99999)), give or take the default initialisation's 1/sqrt(8)."""
    adapted, _ = adapt_classes(small_detector, tuple(f"new {i}" for i in range(10)))
    biases = adapted.head.m[0].bias.view(3, -1)[:, 5:]
    assert (biases - torch.tensor(0.6 / 9.00001).log()).abs().max() < 8**-0.5 + 1e-6


def test_fewer_bottlenecks_are_adapted_like_any(small_detector: Detector) -> None:
    del small_detector.model[2].m[1]
    del small_detector.model[8].m[0]
    small_detector.spec = small_detector.spec.with_repeats([1, 1, 1, 1, 1, 1, 1, 1, 0, 1])
    adapted, done = adapt_classes(small_detector, ("leaf", "worm"))
    assert adapted.spec == small_detector.spec
    assert done.unfitted == ()
    for name, tensor in small_detector.state_dict().items():
        if name not in HEAD:
            assert torch.equal(adapted.state_dict()[name], tensor), name


def test_of_two_depths_the_common_blocks_are_carried(small_detector: Detector) -> None:
    """By name: what is called m.0 goes to m.0, and m.1 has no source."""
    target = fresh(small_detector, small_detector.names)
    del small_detector.model[2].m[1]
    done = transfer(small_detector, target)
    names = [name for name in target.state_dict() if name.startswith("model.2.m.1.")]
    assert [tensor.name for tensor in done.unfitted] == names
    assert all(tensor.source is None for tensor in done.unfitted)
