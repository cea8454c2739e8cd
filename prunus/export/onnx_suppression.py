"""Non-maximum suppression inside an ONNX file, and the proof that it keeps what ours keeps."""

from pathlib import Path

import onnx
import onnxruntime
import torch
from onnx import parser
from torch import Tensor

from prunus.core.errors import ParityError
from prunus.evaluate.nms import non_maximum_suppression
from prunus.export.engines.onnx import INPUT, OUTPUT
from prunus.export.form import Form, Suppression
from prunus.export.parity import MAX_BOX_PX, TOGETHER, box_distance, filled

DETECTIONS = "detections"
"""Second output of a file that suppresses: (M, 7) float32 image, x1, y1, x2, y2, score, class, in
input pixels; best first."""

GRAPH = """
suppress (float[B, N, V] output0) => (float[M, 7] detections)
<
    int64[1] nms_0 = {{0}}, int64[1] nms_1 = {{1}}, int64[1] nms_2 = {{2}}, int64[1] nms_4 = {{4}},
    int64[1] nms_5 = {{5}}, int64[1] nms_end = {{{values}}}, int64[1] nms_k = {{{classes}}},
    int64[1] nms_most = {{{most}}}, int64[1] nms_limit = {{{limit}}},
    int64[2] nms_place = {{0, 2}}, float[1] nms_iou = {{{iou}}},
    float[1] nms_least = {{{confidence}}}, float[1] nms_half = {{0.5}},
    float[2] nms_off_on = {{0, 1}}
>
{{
    nms_centres = Slice(output0, nms_0, nms_2, nms_2)
    nms_sizes = Slice(output0, nms_2, nms_4, nms_2)
    nms_halves = Mul(nms_sizes, nms_half)
    nms_low = Sub(nms_centres, nms_halves)
    nms_high = Add(nms_centres, nms_halves)
    nms_boxes = Concat <axis = 2> (nms_low, nms_high)
    nms_object = Slice(output0, nms_4, nms_5, nms_2)
    nms_each = Slice(output0, nms_5, nms_end, nms_2)
    nms_scores = Mul(nms_object, nms_each)
    nms_best = ArgMax <axis = 2, keepdims = 0> (nms_scores)
    nms_is_best = OneHot <axis = 2> (nms_best, nms_k, nms_off_on)
    nms_of_best = Mul(nms_scores, nms_is_best)
    nms_by_class = Transpose <perm = [0, 2, 1]> (nms_of_best)
    nms_kept = NonMaxSuppression(nms_boxes, nms_by_class, nms_most, nms_iou, nms_least)
    nms_where = Gather <axis = 1> (nms_kept, nms_place)
    nms_kept_boxes = GatherND(nms_boxes, nms_where)
    nms_kept_scores = GatherND(nms_by_class, nms_kept)
    nms_floats = Cast <to = 1> (nms_kept)
    nms_image = Gather <axis = 1> (nms_floats, nms_0)
    nms_class = Gather <axis = 1> (nms_floats, nms_1)
    nms_score = Unsqueeze(nms_kept_scores, nms_1)
    nms_rows = Concat <axis = 1> (nms_image, nms_kept_boxes, nms_score, nms_class)
    nms_count = Shape(nms_kept_scores)
    nms_number = Min(nms_count, nms_limit)
    nms_sorted, nms_order = TopK <axis = 0> (nms_kept_scores, nms_number)
    detections = Gather <axis = 0> (nms_rows, nms_order)
}}
"""
"""In ONNX's own language. Only a candidate's best class counts, as in `predict`."""
UNLIMITED = 1 << 40


def add_suppression_(model: onnx.ModelProto, form: Form, values: int) -> None:
    """Add the output `detections`.

    Args:
        model: With the one output `output0`, (B, N, values) candidates.
        form: Its `suppression`; its limit holds for an image where the file takes one, and else for
            each class of each image.
        values: Numbers of a candidate.
    """
    suppression = form.suppression or Suppression()
    graph = parser.parse_graph(
        GRAPH.format(
            values=values,
            classes=values - 5,
            most=suppression.max_detections,
            limit=suppression.max_detections if form.one_image else UNLIMITED,
            iou=suppression.iou,
            confidence=suppression.confidence,
        )
    )
    model.graph.node.extend(graph.node)
    model.graph.initializer.extend(graph.initializer)
    model.graph.output.extend(graph.output)


def check_suppression(path: Path, form: Form, images: Tensor) -> None:
    """Check that a file keeps the boxes that `evaluate.nms` keeps of its own candidates.

    Args:
        path: Of the file.
        form: Its `suppression`.
        images: (B, 3, H, W) uint8 that it takes.

    Raises:
        ParityError: A box differs by more than MAX_BOX_PX, or has no partner.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    only_batch = None if form.dynamic else form.batch
    for part in torch.split(images, only_batch or TOGETHER):
        batch = (filled(part, only_batch).float() / 255).numpy()
        candidates, rows = map(torch.from_numpy, session.run([OUTPUT, DETECTIONS], {INPUT: batch}))
        distance = max(
            box_distance(expected, rows[rows[:, 0] == number, 1:])
            for number, expected in enumerate(_suppressed(candidates, form))
        )
        if distance > MAX_BOX_PX:
            raise ParityError(
                f"the boxes that the file suppresses differ from ours by {distance:.3g} px "
                f"(allowed {MAX_BOX_PX:g}). "
            )


def _suppressed(candidates: Tensor, form: Form) -> list[Tensor]:
    """Return the boxes of each image that a file of this form should keep."""
    suppression = form.suppression or Suppression()
    most = suppression.max_detections
    found = non_maximum_suppression(
        candidates,
        confidence=suppression.confidence,
        iou=suppression.iou,
        max_detections=most if form.one_image else candidates.shape[1],
        multi_label=False,
    )
    if form.one_image:
        return found
    return [_most_of_each_class(boxes, most) for boxes in found]


def _most_of_each_class(boxes: Tensor, most: int) -> Tensor:
    """Return the first so many boxes of each class, by class."""
    by_class = (boxes[boxes[:, 5] == number][:most] for number in set(boxes[:, 5].tolist()))
    return torch.cat([boxes[:0], *by_class])
