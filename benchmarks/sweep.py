"""A small real sweep: four criteria at three budgets on the official yolov5n, and what it costs.

Run: python benchmarks/sweep.py --assets FOLDER --folder runs/sweep/benchmark
One JSON object a trial: settings, mAP50-95 on coco256's validation split, GFLOPs, and the seconds
that it took with one thread; then one that sums up: the front, all seconds, and `forecast_s`,
what `--dry-run` says of a trial beforehand. The sweep goes on where it was stopped; rows that the
file has already are not written again.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prunus.core.config import parse
from prunus.core.console import show_log
from prunus.core.machine import machine_facts, package_versions
from prunus.pipeline.sweep.config import SweepConfig
from prunus.pipeline.sweep.run import sweep
from prunus.pipeline.sweep.table import read_trials

CRITERIA = ("bn_scale", "l1", "taylor", "reconstruction")
FLOPS = (0.7, 0.8, 0.9)
IMAGE_SIZE = 320


def settings_of(assets: Path, folder: Path, workers: int, **values: object) -> SweepConfig:
    return parse(
        SweepConfig,
        {
            "weights": assets / "weights" / "yolov5n.pt",
            "data": assets / "data" / "coco256.yaml",
            "criterion": CRITERIA,
            "flops": FLOPS,
            "image_size": IMAGE_SIZE,
            "workers": workers,
            "out": folder,
            **values,
        },
    )


def rows_of(folder: Path, report: dict[str, Any], forecast: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each trial, and the sum of all."""
    trials = [
        {"name": "trial", "img": IMAGE_SIZE, **asdict(trial)} for trial in read_trials(folder)
    ]
    for row in trials:
        del row["worker"], row["weights"]
    total = {
        "name": "sweep",
        "img": IMAGE_SIZE,
        "trials": report["trials"],
        "core_seconds": round(report["core_seconds"], 1),
        "forecast_s": forecast["seconds_per_trial"],
        "front": [one["trials"] for one in report["front"]],
    }
    return [*trials, total]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("runs/sweep/benchmark"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sweep.jsonl"))
    arguments = parser.parse_args()
    show_log(quiet=False)
    settings = settings_of(arguments.assets, arguments.folder, arguments.workers)
    elsewhere = arguments.folder.with_name("forecast")  # nothing is done there: an estimate
    forecast: Any = sweep(settings_of(arguments.assets, elsewhere, arguments.workers, dry_run=True))
    report: Any = sweep(settings)
    lines = arguments.out.read_text("utf-8").splitlines() if arguments.out.exists() else []
    known = [json.loads(line) for line in lines]
    facts = {"machine": machine_facts(), "packages": package_versions()}
    with arguments.out.open("a", encoding="utf-8") as file:
        for row in rows_of(arguments.folder, report, forecast):
            if not any(row.items() <= other.items() for other in known):
                file.write(json.dumps({**row, **facts}) + "\n")


if __name__ == "__main__":
    main()
