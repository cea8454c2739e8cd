"""A budget of milliseconds against a share of channels: the same accuracy, which one is faster?

Run: python benchmarks/speedup.py --assets FOLDER --out benchmarks/results/speedup.jsonl
Official yolov5n in ONNX Runtime, one thread; reconstruction and ridge repair, no training; judged
on coco256's validation split. One JSON object a line: the budget, the predicted speed-up (latency
budgets), the measured one and mAP50-95. All cuts and the dense model are timed in turn in one run.
"""

import argparse
import json
from pathlib import Path
from typing import Any, cast

from official import official

from prunus.core.machine import machine_facts, package_versions
from prunus.model.detector import Detector
from prunus.pipeline.latency import RuntimeLatency
from prunus.prune.detectors import probe, published_input
from prunus.prune.run import PruneResult, prune

SPEEDUPS = (1.5,)
PERCENTS = (0.1, 0.2, 0.3, 0.4, 0.45)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--img", type=int, default=320)
    parser.add_argument("--runtime", default="onnx")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/speedup.jsonl"))
    arguments = parser.parse_args()
    subject = official(arguments.assets, arguments.img)
    dense = subject.detector
    latency = RuntimeLatency(dense, arguments.runtime, arguments.img, threads=1)
    budgets: dict[str, dict[str, Any]] = {
        **{
            f"speedup {times}": {
                "latency_ms": latency.dense_ms / times,
                "pricing": latency.pricing(dense, efficient=True),
            }
            for times in SPEEDUPS
        },
        **{f"percent {percent}": {"percent": percent} for percent in PERCENTS},
    }
    results: dict[str, PruneResult] = {}
    for name, budget in budgets.items():
        results[name] = prune(
            dense,
            probe(dense),
            calibration=subject.calibration(),
            cost_inputs=published_input(),
            **budget,
        )
        print(name, "cut", flush=True)
    models = {"dense": dense, **{n: cast(Detector, r.model) for n, r in results.items()}}
    measured = latency.measure(models)
    facts = {"machine": machine_facts(), "packages": package_versions()}
    rows = []
    for name, model in models.items():
        predicted = results[name].selection.predicted if name.startswith("speedup") else None
        rows.append(
            {
                "img": arguments.img,
                "runtime": arguments.runtime,
                "budget": name,
                "predicted_speedup": predicted and round(predicted[0] / predicted[1], 3),
                "measured_speedup": round(measured["dense"] / measured[name], 3),
                "ms": round(measured[name], 3),
                "map50_95": round(subject.map50_95(model), 4),
                **facts,
            }
        )
        print({key: rows[-1][key] for key in list(rows[-1])[:7]}, flush=True)
    arguments.out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
