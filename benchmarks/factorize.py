"""Other activations, and one convolution as two: is the runtime faster, and what does it cost?

Run: python benchmarks/factorize.py --assets FOLDER [--img 320] [--out FILE]
Official yolov5n: as it is, with other activations (untrained: they are timed only), and with pairs
at half the rank or within a budget of operations, from the weights alone and from what layers put
out on coco256's training images; no training afterwards. All take turns in one run of `prunus
benchmark`: batch 1, one thread. mAP50-95 on coco256's validation split, torch fp32. One JSON object
a line.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from official import Official, official

from prunus.core.config import parse
from prunus.core.machine import machine_facts, package_versions
from prunus.export.config import BenchmarkConfig
from prunus.model.activations import ACTIVATIONS, DEFAULT_ACTIVATION
from prunus.model.cost import count_flops
from prunus.model.detector import Detector
from prunus.model.swap import with_activation
from prunus.pipeline.benchmark import benchmark
from prunus.prune.low_rank.run import factorise
from prunus.weights.native import save_weights

MEASURED = ("runtime", "precision", "latency_ms", "iqr_ms", "clock")
GOALS: dict[str, dict[str, Any]] = {
    "rank 0.5, widest 8": {"rank": 0.5, "widest": 8},
    "rank 0.5": {"rank": 0.5},
    "flops 0.8": {"flops": 0.8},
}


def contestants(subject: Official) -> Iterator[tuple[str, Detector, bool]]:
    """Yield name, detector, and whether its accuracy says anything."""
    dense = subject.detector
    yield DEFAULT_ACTIVATION, dense, True
    for name in ACTIVATIONS:
        if name != DEFAULT_ACTIVATION:
            yield name, with_activation(dense, name), False
    for goal, values in GOALS.items():
        yield f"{goal}, weights", factorise(dense, **values).model, True
        images = subject.calibration()
        yield f"{goal}, outputs", factorise(dense, **values, calibration=images).model, True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--img", type=int, default=320)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-factorize"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/factorize.jsonl"))
    arguments = parser.parse_args()
    subject = official(arguments.assets, arguments.img)
    dense_flops = count_flops(subject.detector)
    facts: dict[str, dict[str, Any]] = {}
    arguments.work.mkdir(parents=True, exist_ok=True)
    for number, (name, detector, judged) in enumerate(contestants(subject)):
        path = arguments.work / f"{number}.safetensors"
        save_weights(detector, path)
        facts[path.name] = {
            "name": name,
            "img": arguments.img,
            "flops": round(count_flops(detector) / dense_flops, 4),
            "map50_95": round(subject.map50_95(detector), 4) if judged else None,
        }
        print(facts[path.name], flush=True)
    values = {
        "weights": [arguments.work / name for name in facts],
        "runtimes": ("onnx", "openvino"),
        "precisions": ("fp32", "bf16"),
        "image_size": arguments.img,
        "threads": 1,
        "repeats": arguments.repeats,
        "out": arguments.work / "benchmark",
    }
    report: Any = benchmark(parse(BenchmarkConfig, values))
    environment = {"machine": machine_facts(), "packages": package_versions()}
    rows = [
        {
            **facts[Path(row["model"]).name],
            **{key: row[key] for key in MEASURED},
            **environment,
        }
        for row in report["rows"]
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
