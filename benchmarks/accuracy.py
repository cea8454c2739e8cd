"""The official yolov5n on coco256, dense and with zeros, beside the official code's figures.

Run: python benchmarks/accuracy.py --assets FOLDER --out benchmarks/results/accuracy.jsonl
One JSON object a line: the share of zeros, what came out and what the official code gives. The
figures do not depend on the machine's speed; fp32, batches of 32 rectangles, as published.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from prunus.core.config import parse
from prunus.core.machine import machine_facts, package_versions
from prunus.evaluate.config import ValConfig
from prunus.pipeline.val import val

OFFICIAL: dict[float | None, dict[str, float]] = {
    None: {"precision": 0.605, "recall": 0.465, "map50": 0.509, "map50_95": 0.336},
    0.1: {"map50": 0.510, "map50_95": 0.333},
    0.2: {"map50": 0.490, "map50_95": 0.311},
    0.3: {"map50": 0.317, "map50_95": 0.194},
    0.4: {"map50": 0.084, "map50_95": 0.036},
    0.5: {"map50": 0.010, "map50_95": 0.003},
}
"""Share of zeros → the official code's figures on the same images."""


def measure(assets: Path, share: float | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        settings = parse(
            ValConfig,
            {
                "weights": assets / "weights" / "yolov5n.pt",
                "data": assets / "data" / "coco256.yaml",
                "precision": "fp32",
                "sparsify": share,
                "out": Path(folder) / "val",
            },
        )
        report: Any = val(settings)
    metrics = report["metrics"]
    ours = {key: round(metrics[key], 4) for key in ("precision", "recall", "map50", "map50_95")}
    return {
        "zeros": share or 0.0,
        "prunus": {**ours, "detections": metrics["detections"], "coco": metrics["coco"]},
        "official": OFFICIAL[share],
        "worst_difference": round(
            max(abs(ours[key] - figure) for key, figure in OFFICIAL[share].items()), 4
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/accuracy.jsonl"))
    arguments = parser.parse_args()
    facts = {"machine": machine_facts(), "packages": package_versions()}
    rows = [{**measure(arguments.assets, share), **facts} for share in OFFICIAL]
    arguments.out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for row in rows:
        print(row["zeros"], row["prunus"]["map50_95"], row["official"]["map50_95"])


if __name__ == "__main__":
    main()
