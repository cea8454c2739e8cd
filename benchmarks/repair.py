"""Which criterion × repair keeps most accuracy without any training, on the official yolov5n.

Run: python benchmarks/repair.py --assets FOLDER --out benchmarks/results/repair.jsonl
One JSON object a line: the criterion, the share of the FLOPs kept, the repair, the scope, and the
mAP50-95 on coco256's validation split as a share of the dense one's. Calibrated on its training
split, 128 images; widths are multiples of 8. The most telling rows come first; those that the file
has already are not measured again.
"""

import argparse
import json
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, cast

from official import Official, official

from prunus.core.machine import machine_facts, package_versions
from prunus.model.cost import count_flops
from prunus.model.detector import Detector
from prunus.prune.detectors import probe, published_input
from prunus.prune.run import prune

SCOPES = ("global", "layer")
REPAIRS = ("ridge", "bn", "none")
FLOPS = (0.9, 0.8)
CRITERIA = (
    "reconstruction",
    "taylor",
    "l2",
    "l1",
    "group_l2",
    "bn_scale",
    "lamp",
    "fpgm",
    "activation",
    "random",
)

Key = dict[str, Any]
"""What a row is the measurement of."""


def jobs(criteria: list[str], scopes: list[str], seeds: int, img: int) -> Iterator[Key]:
    """Yield the keys of all rows, the most telling first."""
    for seed, scope, repair, flops, criterion in product(
        range(seeds), scopes, REPAIRS, FLOPS, criteria
    ):
        yield {
            "img": img,
            "criterion": criterion,
            "flops": flops,
            "repair": repair,
            "scope": scope,
            "seed": seed,
        }


def measure(subject: Official, key: Key) -> dict[str, Any]:
    start = time.perf_counter()
    dense = subject.detector
    result = prune(
        dense,
        probe(dense),
        **{name: key[name] for name in ("flops", "criterion", "repair", "scope", "seed")},
        calibration=subject.calibration(),
        cost_inputs=published_input(),
    )
    seconds = time.perf_counter() - start
    smaller = cast(Detector, result.model)
    return {
        **key,
        "flops_kept": round(count_flops(smaller) / count_flops(dense), 4),
        "map50_95": round(subject.map50_95(smaller), 4),
        "steps": None if result.repair is None else result.repair.errors,
        "kept": None if result.repair is None else result.repair.kept,
        "seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--img", type=int, default=640)
    parser.add_argument("--criteria", nargs="+", default=list(CRITERIA))
    parser.add_argument("--scopes", nargs="+", choices=SCOPES, default=list(SCOPES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/repair.jsonl"))
    arguments = parser.parse_args()
    lines = arguments.out.read_text("utf-8").splitlines() if arguments.out.exists() else []
    known = [json.loads(line) for line in lines]
    subject = official(arguments.assets, arguments.img)
    base = subject.map50_95(subject.detector)
    facts = {"machine": machine_facts(), "packages": package_versions()}
    for key in jobs(arguments.criteria, arguments.scopes, arguments.seeds, arguments.img):
        if any(key.items() <= row.items() for row in known):
            continue
        row = measure(subject, key)
        row["dense_map50_95"] = round(base, 4)
        row["share_of_dense"] = round(row["map50_95"] / base, 4)
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**row, **facts}) + "\n")
        print(*(row[name] for name in (*key, "map50_95", "share_of_dense", "seconds")), flush=True)


if __name__ == "__main__":
    main()
