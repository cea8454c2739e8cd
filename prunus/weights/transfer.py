"""Weights of one detector carried over to another: by name and shape, the head by class name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunus.model.blocks import Detect
from prunus.model.build import build_detector
from prunus.model.detector import Detector
from prunus.weights.fit import prove_fit
from prunus.weights.widths import adopt_shapes_

BOX_ROWS = 5
"""x, y, width, height and objectness come before the classes."""
SHOWN = 3


@dataclass(frozen=True)
class Unfitted:
    """A tensor of the target that kept its own values.

    Attributes:
        source: The shape of the source's tensor of that name, None when it has none.
        target: The shape of the target's tensor.
    """

    name: str
    source: tuple[int, ...] | None
    target: tuple[int, ...]


@dataclass(frozen=True)
class Transfer:
    """What was carried from one detector to another.

    Attributes:
        fitted: Tensors carried whole.
        partly: Head tensors of which the rows of boxes, objectness and common classes were carried.
        unfitted: Tensors that kept the target's values.
        common_classes: Classes that both have, by name.
        class_count: Classes of the target.
    """

    fitted: tuple[str, ...]
    partly: tuple[str, ...]
    unfitted: tuple[Unfitted, ...]
    common_classes: tuple[str, ...]
    class_count: int

    def summary(self) -> str:
        """Return one line for the log."""
        total = len(self.fitted) + len(self.partly) + len(self.unfitted)
        parts = [f"transferred {len(self.fitted)} of {total} tensors"]
        if self.partly:
            parts.append(
                f"head: boxes, objectness and {len(self.common_classes)} of {self.class_count} "
                "classes by name"
            )
        if self.unfitted:
            shown = ", ".join(_described(tensor) for tensor in self.unfitted[:SHOWN])
            more = len(self.unfitted) - SHOWN
            parts.append(f"fresh: {shown}" + (f" and {more} more" if more > 0 else ""))
        return "; ".join(parts)


def transfer(source: Detector, target: Detector) -> Transfer:
    """Copy into `target`, in place, every tensor of `source` that fits it.

    Tensors go by name and equal shape. Where the class lists differ, the head's rows for boxes and
    objectness are carried and those of classes that both have, by name. Anchors stay the target's
    own.
    """
    theirs, ours = source.state_dict(), target.state_dict()
    same_classes = source.names == target.names
    head = _head_tensors(target)
    anchors = f"{_head_name(target)}.anchors"
    fitted, partly, unfitted = [], [], []
    with torch.no_grad():
        for name, tensor in ours.items():
            other = theirs.get(name)
            by_class = name in head and not same_classes
            if name == anchors and other is not None and not _equal(other, tensor):
                unfitted.append(Unfitted(name, tuple(other.shape), tuple(tensor.shape)))
            elif by_class and other is not None and _carry_rows(source, target, other, tensor):
                partly.append(name)
            elif not by_class and other is not None and other.shape == tensor.shape:
                tensor.copy_(other)
                fitted.append(name)
            else:
                shape = None if other is None else tuple(other.shape)
                unfitted.append(Unfitted(name, shape, tuple(tensor.shape)))
    common = tuple(name for name in target.names if name in source.names)
    return Transfer(tuple(fitted), tuple(partly), tuple(unfitted), common, len(target.names))


def adapt_classes(detector: Detector, names: Sequence[str]) -> tuple[Detector, Transfer]:
    """Return a detector of the same rows, widths and anchors whose head finds other classes.

    Everything but the head is carried over, and of the head what `transfer` carries; rows of new
    classes get fresh values (seed torch beforehand).

    Args:
        detector: Pruned or not; left as it is.
        names: The new classes.
    """
    adapted = build_detector(detector.spec, names)
    adapted = adapted.to(detector.anchors.device)
    adopt_shapes_(adapted, _shapes_with_head_of(detector, adapted))
    for conv in adapted.head.m:
        assert isinstance(conv, nn.Conv2d)
        nn.init.kaiming_uniform_(conv.weight, a=5**0.5)  # torch's default, now at its true width
    adapted.head.anchors.copy_(detector.anchors)
    done = transfer(detector, adapted)
    prove_fit(adapted)
    return adapted.train(detector.training), done


def _shapes_with_head_of(detector: Detector, adapted: Detector) -> Mapping[str, Tensor]:
    """Return tensors with the shapes that `adapted` shall have: inputs as now, outputs its own."""
    shapes = dict(detector.state_dict())
    own = adapted.state_dict()
    for name in _head_tensors(adapted):
        outputs = own[name].shape[0]
        shapes[name] = torch.empty(outputs, *shapes[name].shape[1:], device="meta")
    return shapes


def _carry_rows(source: Detector, target: Detector, other: Tensor, tensor: Tensor) -> bool:
    """Copy box, objectness and common class rows of one head tensor; False when they cannot be."""
    theirs, ours = source.head, target.head
    if _mismatch(theirs, ours) or other.shape[1:] != tensor.shape[1:]:
        return False
    rows = list(range(BOX_ROWS))
    common = [(source.names.index(n), i) for i, n in enumerate(target.names) if n in source.names]
    from_rows = rows + [BOX_ROWS + index for index, _ in common]
    to_rows = rows + [BOX_ROWS + index for _, index in common]
    per_anchor = other.view(theirs.anchors_per_level, BOX_ROWS + theirs.classes, *other.shape[1:])
    into = tensor.view(ours.anchors_per_level, BOX_ROWS + ours.classes, *tensor.shape[1:])
    into[:, to_rows] = per_anchor[:, from_rows].to(into)
    return True


def _mismatch(theirs: Detect, ours: Detect) -> bool:
    return theirs.anchors_per_level != ours.anchors_per_level


def _head_name(detector: Detector) -> str:
    return f"model.{len(detector.model) - 1}"


def _head_tensors(detector: Detector) -> set[str]:
    prefix = f"{_head_name(detector)}.m."
    return {name for name in detector.state_dict() if name.startswith(prefix)}


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.to(other), other)


def _described(tensor: Unfitted) -> str:
    theirs = "not in the source" if tensor.source is None else f"{tensor.source}"
    return f"{tensor.name} {tensor.target} from {theirs}"
