"""A small real sweep on the official yolov5n: what it finds, and what a trial costs.

Run: python benchmarks/sweep.py --assets FOLDER --folder runs/sweep/benchmark
Four criteria at three budgets with the ridge repair, two criteria with the cheaper repairs, and one
trial at 640 pixels, all without a fine-tune. One JSON object a trial: settings, mAP50-95 on
coco256's validation split, GFLOPs, seconds with one thread by the clock, and those that its process
computed. Then one a part: its front, all seconds, and `forecast_s`, what `--dry-run` says of a
trial beforehand. A part goes on where it was stopped; what the file has is not written again.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prunus.core.config import parse
from prunus.core.console import show_log
from prunus.core.machine import machine_facts, package_versions
from prunus.pipeline.sweep.config import SweepConfig
from prunus.pipeline.sweep.run import sweep
from prunus.pipeline.sweep.table import read_trials

PARTS: Mapping[str, Mapping[str, object]] = {
    "criteria": {
        "criterion": "bn_scale,l1,taylor,reconstruction",
        "flops": "0.7:0.9:0.1",
        "image_size": 320,
    },
    "repairs": {
        "criterion": "l1,reconstruction",
        "flops": 0.8,
        "repair": "bn,none",
        "image_size": 320,
    },
    "full size": {"criterion": "reconstruction", "flops": 0.8, "image_size": 640},
}


def settings_of(assets: Path, part: str, workers: int, **values: object) -> SweepConfig:
    return parse(
        SweepConfig,
        {
            "weights": assets / "weights" / "yolov5n.pt",
            "data": assets / "data" / "coco256.yaml",
            "workers": workers,
            **PARTS[part],
            **values,
        },
    )


def rows_of(part: str, folder: Path) -> list[dict[str, Any]]:
    """Return a row for each trial."""
    rows = [
        {"name": "trial", "part": part, "img": PARTS[part]["image_size"], **asdict(trial)}
        for trial in read_trials(folder)
    ]
    for row in rows:
        del row["worker"], row["weights"]
    return rows


def total_of(part: str, report: Mapping[str, Any], forecast: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row that sums a part up."""
    return {
        "name": "sweep",
        "part": part,
        "img": PARTS[part]["image_size"],
        "trials": report["trials"],
        "core_seconds": round(report["core_seconds"], 1),
        "forecast_s": forecast["seconds_per_trial"],
        "front": [one["trials"] for one in report["front"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("runs/sweep/benchmark"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sweep.jsonl"))
    arguments = parser.parse_args()
    show_log(quiet=False)
    facts = {"machine": machine_facts(), "packages": package_versions()}
    for part in PARTS:
        lines = arguments.out.read_text("utf-8").splitlines() if arguments.out.exists() else []
        known = [json.loads(line) for line in lines]
        if any((row["name"], row["part"]) == ("sweep", part) for row in known):
            continue
        given = (arguments.assets, part, arguments.workers)
        forecast: Any = sweep(settings_of(*given, dry_run=True))
        folder = arguments.folder / part.replace(" ", "-")
        report: Any = sweep(settings_of(*given, out=folder))
        with arguments.out.open("a", encoding="utf-8") as file:
            for row in (*rows_of(part, folder), total_of(part, report, forecast)):
                file.write(json.dumps({**row, **facts}) + "\n")


if __name__ == "__main__":
    main()
