"""A batch of any size through a runner that takes only so many images at a time."""

import torch
from torch import Tensor

from prunus.core.records import Runner


def run_in_pieces(runner: Runner, images: Tensor) -> Tensor:
    """Return the runner's (B, N, 5 + K) candidates for (B, 3, H, W) images, whatever its batch.

    The last piece is filled up with black images, whose output is dropped.
    """
    if runner.batch is None or runner.batch == len(images):
        return runner(images)
    outputs = []
    for start in range(0, len(images), runner.batch):
        piece = images[start : start + runner.batch]
        filling = piece.new_zeros((runner.batch - len(piece), *piece.shape[1:]))
        outputs.append(runner(torch.cat((piece, filling)))[: len(piece)])
    return torch.cat(outputs)
