"""What each block of the official yolov5n is worth: damage without labels, and accuracy lost.

Run: python benchmarks/blocks.py --assets FOLDER --out benchmarks/results/blocks.jsonl
One JSON object a line: a block, the share of parameters and operations that go with it, the damage
(relative squared difference of the raw outputs on training images of coco256) and mAP50-95 on its
validation images without the block, nothing repaired. The first line is the whole detector. The
last line says how well damage ranks the blocks: Spearman's correlation with the mAP lost.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunus.core.machine import machine_facts, package_versions
from prunus.data.index import build_index
from prunus.data.loader import validation_batches
from prunus.data.spec import read_data
from prunus.evaluate.val import evaluate
from prunus.model.cost import count_flops, count_parameters
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.runner import TorchRunner
from prunus.prune.blocks.damage import block_damage
from prunus.prune.blocks.find import removable_blocks
from prunus.prune.blocks.remove import remove_blocks
from prunus.weights.files import load_weights

SIDE = 320
BATCH = 16
CALIBRATION_IMAGES = 32


class Images:
    """coco256: training images to calibrate on, validation images to judge on."""

    def __init__(self, assets: Path, stride: int) -> None:
        data = read_data(assets / "data" / "coco256.yaml")
        self._index = build_index(data, "val")
        self._training = validation_batches(build_index(data, "train"), SIDE, BATCH, stride)
        self._validation = validation_batches(self._index, SIDE, BATCH, stride)

    def calibration(self) -> Iterator[Tensor]:
        """Yield batches (B, 3, H, W) in [0, 1], evenly spread over the shapes of all images."""
        step = len(self._training) * BATCH // CALIBRATION_IMAGES
        for batch in self._training:
            yield batch.images[::step].float() / 255

    def map50_95(self, detector: Detector) -> float:
        runner = TorchRunner(fuse(detector), torch.device("cpu"), "fp32")
        return evaluate(runner, self._validation, self._index, coco=False).map50_95


def measure(assets: Path) -> list[dict[str, Any]]:
    detector = load_weights(assets / "weights" / "yolov5n.pt").detector
    images = Images(assets, detector.stride)
    blocks = removable_blocks(detector)
    damage = block_damage(detector, [block.path for block in blocks], images.calibration())
    parameters, flops = count_parameters(detector), count_flops(detector)
    dense = images.map50_95(detector)
    rows: list[dict[str, Any]] = [{"block": None, "map50_95": round(dense, 4)}]
    for block in blocks:
        accuracy = images.map50_95(remove_blocks(detector, [block.path]))
        rows.append(
            {
                "block": block.path,
                "residual": block.residual,
                "parameters_share": round(block.parameters / parameters, 4),
                "flops_share": round(block.flops / flops, 4),
                "damage": round(damage[block.path], 5),
                "map50_95": round(accuracy, 4),
                "map50_95_lost": round(dense - accuracy, 4),
            }
        )
    judged = rows[1:]
    ranked = spearman([row["damage"] for row in judged], [row["map50_95_lost"] for row in judged])
    return [*rows, {"spearman": round(ranked, 3), "blocks": len(judged)}]


def spearman(one: list[float], other: list[float]) -> float:
    """Return the correlation of the ranks."""
    ranks = [torch.tensor(values).argsort().argsort().double() for values in (one, other)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/blocks.jsonl"))
    arguments = parser.parse_args()
    facts = {"image_size": SIDE, "machine": machine_facts(), "packages": package_versions()}
    rows = measure(arguments.assets)
    text = "".join(json.dumps({**row, **facts}) + "\n" for row in rows)
    arguments.out.write_text(text, encoding="utf-8")
    for row in rows:
        print(*(f"{key}={value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
