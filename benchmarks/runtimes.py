"""Every runtime and precision beside torch fp32: milliseconds, memory, mAP50-95 of the very file.

Run: python benchmarks/runtimes.py --assets FOLDER [--runs RUN ...] [--out FILE]
Official yolov5n at 640 on coco256's validation split; and, of runs of `prunus compress` on BCCD at
320, the dense model of the first and the pruned one of each. INT8 files are made by `prunus
quantize` from training images (--max-drop MAX_DROP). All contestants of a task take turns in one
run of `prunus benchmark`: batch 1, one thread; one JSON object a row.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from prunus.core.config import parse
from prunus.core.console import show_log
from prunus.export.config import COMPILED, BenchmarkConfig
from prunus.export.quantize.config import QuantizeConfig
from prunus.pipeline.benchmark import benchmark
from prunus.pipeline.quantize import quantize

RUNTIMES = ("torch", "torchscript", "onnx", "openvino")
MAX_DROP = 0.008


class Task(NamedTuple):
    """Models that are compared with each other."""

    name: str
    models: tuple[Path, ...]
    data: Path
    side: int
    runtimes: tuple[str, ...]


def tasks(assets: Path, runs: list[Path]) -> Iterator[Task]:
    """Yield what is measured."""
    data = assets / "data"
    yield Task(
        "coco",
        (assets / "weights" / "yolov5n.pt",),
        data / "coco256.yaml",
        640,
        (*RUNTIMES, COMPILED),
    )
    if runs:
        models = (runs[0] / "dense.safetensors", *(run / "pruned.safetensors" for run in runs))
        yield Task("bccd", models, data / "bccd.yaml", 320, RUNTIMES)


def quantized(model: Path, task: Task, work: Path) -> Iterator[Path]:
    """Yield INT8 files of a model."""
    for name in ("onnx", "openvino"):
        values = {
            "weights": model,
            "data": task.data,
            "format": name,
            "image_size": task.side,
            "max_drop": MAX_DROP,
            "out": work / f"{task.name}-{model.parent.name}-{model.stem}-{name}",
        }
        yield Path(str(quantize(parse(QuantizeConfig, values))["path"]))


def measure(task: Task, work: Path, repeats: int) -> list[Any]:
    small = [path for model in task.models for path in quantized(model, task, work)]
    values = {
        "weights": [*task.models, *small],
        "runtimes": task.runtimes,
        "precisions": ("fp32", "bf16"),
        "image_size": task.side,
        "data": task.data,
        "repeats": repeats,
        "pareto": True,
        "out": work / f"{task.name}-benchmark",
    }
    report: Any = benchmark(parse(BenchmarkConfig, values))
    rows: list[Any] = report["rows"]
    return [{"task": task.name, **row, "model": label(Path(row["model"]))} for row in rows]


def label(model: Path) -> str:
    """Return the file with its folder, which tells the runs apart."""
    return "/".join(model.parts[-2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="of `prunus compress`")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-runtimes"))
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/runtimes.jsonl"))
    arguments = parser.parse_args()
    show_log(quiet=False)
    rows = []
    for task in tasks(arguments.assets, arguments.runs):
        rows += measure(task, arguments.work, arguments.repeats)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
