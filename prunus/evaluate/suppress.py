"""Greedy suppression: of boxes that overlap, the most confident stays. Exact, whatever it takes.

Two engines give the same answer: `suppress_by_operator` runs ONNX Runtime's NonMaxSuppression
operator, `suppress_in_blocks` is plain torch for tensors that lie on a GPU.

Both keep groups (classes) apart as groups. Shifting every class to its own place, the usual trick,
rounds the coordinates: a shift by class x 7680 kept a wrong list on 7 of 40 (`dependencies.md`),
one by the largest coordinate still did on 2 of 128 COCO images.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunus.core.boxes import pairwise_iou

BLOCK = 1024
OPSET = 13
"""NonMaxSuppression has not changed since opset 11; any runtime of these years takes 13."""


def suppress(boxes_xyxy: Tensor, groups: Tensor, iou: float, limit: int) -> Tensor:
    """Return the places of the boxes that stay, at most `limit`, ascending.

    Args:
        boxes_xyxy: (N, 4) float32, most confident first.
        groups: (N,) int64; only boxes of one group suppress each other.
        iou: A box goes when its IoU with one that stays is greater than this, in [0, 1].
        limit: How many may stay.
    """
    if boxes_xyxy.device.type == "cpu":
        return torch.from_numpy(
            suppress_by_operator(boxes_xyxy.numpy(), groups.numpy(), iou, limit)
        )
    return suppress_in_blocks(boxes_xyxy, groups, iou, limit)


def suppress_in_blocks(boxes_xyxy: Tensor, groups: Tensor, iou: float, limit: int) -> Tensor:
    """Do `suppress` on the tensors' device, a block of boxes at a time."""
    device = boxes_xyxy.device
    keep = torch.empty(0, dtype=torch.int64, device=device)
    for block in torch.split(torch.arange(len(boxes_xyxy), device=device), BLOCK):
        beaten = _suppresses(boxes_xyxy, groups, keep, block, iou).any(dim=0)
        left = block[~beaten]
        stays = _greedy(_suppresses(boxes_xyxy, groups, left, left, iou))
        keep = torch.cat((keep, left[stays]))
        if len(keep) >= limit:
            break
    return keep[:limit]


def _suppresses(
    boxes: Tensor, groups: Tensor, winners: Tensor, losers: Tensor, iou: float
) -> Tensor:
    """Return (W, L): would this winner, if it stays, remove that loser?"""
    together = groups[winners, None] == groups[None, losers]
    threshold = torch.tensor(iou, dtype=boxes.dtype, device=boxes.device)
    return together & (pairwise_iou(boxes[winners], boxes[losers]) > threshold)


def _greedy(suppresses: Tensor) -> Tensor:
    """Return (N,) bool: which of N boxes, most confident first, stay among themselves.

    Every round settles at least one more link of each chain "a removes b, which would have removed
    c", so the rounds end at the sequential answer; real detections need a handful.
    """
    earlier = suppresses.triu(diagonal=1)
    stays = torch.ones(len(earlier), dtype=torch.bool, device=earlier.device)
    while True:
        settled = ~(earlier & stays[:, None]).any(dim=0)
        if torch.equal(settled, stays):
            return stays
        stays = settled


def suppress_by_operator(
    boxes_xyxy: NDArray[np.float32], groups: NDArray[np.int64], iou: float, limit: int
) -> NDArray[np.int64]:
    """Do `suppress` in ONNX Runtime: one group in each batch entry, padded to the largest."""
    count = len(boxes_xyxy)
    if count == 0:
        return np.empty(0, dtype=np.int64)
    _, row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(row, kind="stable")  # group after group, each still most confident first
    column = np.empty(count, dtype=np.int64)
    column[order] = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)

    shape = (len(sizes), int(sizes.max()))
    place = np.zeros(shape, dtype=np.int64)
    place[row, column] = np.arange(count)
    # The operator orders by score. The list's own order is given to it as falling whole numbers
    # (exact in float32 below 2^24), so equal scores keep their places; padding has 0 and is not
    # considered.
    rank = np.zeros((shape[0], 1, shape[1]), dtype=np.float32)
    rank[row, 0, column] = np.arange(count, 0, -1)
    (found,) = _session().run(
        None,
        {
            "boxes": boxes_xyxy[place],  # (groups, largest, 4)
            "scores": rank,
            "limit": np.array([limit], dtype=np.int64),
            "iou": np.array([iou], dtype=np.float32),
            "floor": np.zeros(1, dtype=np.float32),
        },
    )
    keep: NDArray[np.int64] = np.sort(place[found[:, 0], found[:, 2]])
    return keep[:limit]


@cache
def _session() -> Any:
    """Build the one-node network once. One thread: the work is too short to share."""
    import onnxruntime
    from onnx import TensorProto, helper

    inputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["groups", "largest", 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["groups", 1, "largest"]),
        helper.make_tensor_value_info("limit", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("iou", TensorProto.FLOAT, [1]),
        helper.make_tensor_value_info("floor", TensorProto.FLOAT, [1]),
    ]
    output = helper.make_tensor_value_info("keep", TensorProto.INT64, ["kept", 3])
    node = helper.make_node("NonMaxSuppression", [value.name for value in inputs], ["keep"])
    graph = helper.make_graph([node], "nms", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
