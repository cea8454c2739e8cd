"""Which criterion × repair keeps most accuracy without any training, on the official yolov5n.

Run: python benchmarks/repair.py --assets FOLDER --out benchmarks/results/repair.jsonl
One JSON object a line: the criterion, the share of the FLOPs kept, the repair, and the mAP50-95 on
coco256's validation split as a share of the dense one's. Calibrated on its training split, 128
images; widths are multiples of 8. Rows that the file has already are not measured again.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch

from prunus.core.machine import machine_facts, package_versions
from prunus.model.cost import count_flops
from prunus.model.detector import Detector
from prunus.pipeline.images import DetectorImages
from prunus.prune.detectors import probe, published_input
from prunus.prune.run import prune
from prunus.weights.files import load_weights

FLOPS = (0.9, 0.8)
CRITERIA = ("reconstruction", "taylor", "l2", "group_l2", "bn_scale", "activation", "random")
REPAIRS = ("ridge", "bn", "none")
IMAGES, BATCH = 128, 16


def measure(
    dense: Detector, images: DetectorImages, criterion: str, flops: float, repair: Any, seed: int
) -> dict[str, object]:
    start = time.perf_counter()
    result = prune(
        dense,
        probe(dense),
        flops=flops,
        criterion=criterion,
        repair=repair,
        calibration=images.calibration(IMAGES),
        cost_inputs=published_input(),
        seed=seed,
    )
    seconds = time.perf_counter() - start
    smaller = cast(Detector, result.model)
    return {
        "criterion": criterion,
        "flops": flops,
        "repair": repair,
        "seed": seed,
        "flops_kept": round(count_flops(smaller) / count_flops(dense), 4),
        "map50_95": round(images.judge(smaller).map50_95, 4),
        "steps": None if result.repair is None else result.repair.errors,
        "kept": None if result.repair is None else result.repair.kept,
        "seconds": round(seconds, 1),
    }


def jobs(criteria: list[str], seeds: int) -> Iterator[tuple[str, float, str, int]]:
    for seed in range(seeds):
        for criterion in criteria:
            for flops in FLOPS:
                for repair in REPAIRS:
                    yield criterion, flops, repair, seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--img", type=int, default=640)
    parser.add_argument("--criteria", nargs="+", default=list(CRITERIA))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/repair.jsonl"))
    arguments = parser.parse_args()
    lines = arguments.out.read_text("utf-8").splitlines() if arguments.out.exists() else []
    known = [json.loads(line) for line in lines]
    dense = load_weights(arguments.assets / "weights" / "yolov5n.pt").detector.eval()
    images = DetectorImages(
        arguments.assets / "data" / "coco256.yaml",
        dense,
        side=arguments.img,
        batch_size=BATCH,
        workers=0,
        device=torch.device("cpu"),
    )
    base = images.judge(dense).map50_95
    facts = {"machine": machine_facts(), "packages": package_versions()}
    for criterion, flops, repair, seed in jobs(arguments.criteria, arguments.seeds):
        key = {
            "img": arguments.img,
            "criterion": criterion,
            "flops": flops,
            "repair": repair,
            "seed": seed,
        }
        if any(all(row[name] == value for name, value in key.items()) for row in known):
            continue
        row = {"img": arguments.img, **measure(dense, images, criterion, flops, repair, seed)}
        row["dense_map50_95"] = round(base, 4)
        row["share_of_dense"] = round(cast(float, row["map50_95"]) / base, 4)
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**row, **facts}) + "\n")
        print(*(row[name] for name in (*key, "map50_95", "share_of_dense", "seconds")), flush=True)


if __name__ == "__main__":
    main()
