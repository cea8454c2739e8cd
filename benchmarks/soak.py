"""Does a long training leak? Memory, open files and threads at each epoch, and their slopes.

Run: python benchmarks/soak.py --epochs 200 --out benchmarks/results/soak.jsonl
Trains `prunus train` on the demo data in a process of its own and looks at it, and at its loader
workers, from outside. One JSON object: for each measure the first, last and largest value, and the
slope an epoch over the epochs after the first quarter, in which buffers still grow to their size.
Memory is in MB; that of workers is counted as often as they share it.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from prunus.core.machine import machine_facts, package_versions
from prunus.data.scenes.write import write_demo

LOOK_EVERY_S = 0.2
SETTLING_SHARE = 0.25
MEASURES = ("rss_mb", "workers_rss_mb", "descriptors", "threads", "processes")

Sample = dict[str, float]


def look(pid: int) -> Sample:
    """Return what a process holds now."""
    own = _status(pid)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    workers = [_status(int(child)) for child in children if Path(f"/proc/{child}/status").exists()]
    return {
        "rss_mb": own["VmRSS"] / 1024,
        "workers_rss_mb": sum(worker.get("VmRSS", 0) for worker in workers) / 1024,
        "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": own["Threads"],
        "processes": 1 + len(workers),
    }


def _status(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    words = (line.replace(":", "").split() for line in lines)
    return {word[0]: float(word[1]) for word in words if word[0] in ("VmRSS", "Threads")}


def soak(command: list[str], results: Path) -> list[Sample]:
    """Run a training and return a sample for each epoch that it finished."""
    samples: list[Sample] = []
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            time.sleep(LOOK_EVERY_S)
            if _epochs(results) > len(samples):
                try:
                    samples.append(look(process.pid))
                except OSError:  # it has just ended
                    continue
    if process.returncode:
        raise SystemExit(f"the training ended with {process.returncode}")
    return samples


def _epochs(results: Path) -> int:
    if not results.exists():
        return 0
    with results.open(newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.DictReader(file))


def summary(samples: list[Sample]) -> dict[str, Any]:
    """Return first, last, largest and slope of each measure."""
    begin = int(len(samples) * SETTLING_SHARE)
    found: dict[str, Any] = {}
    for measure in MEASURES:
        values = [sample[measure] for sample in samples]
        settled = values[begin:]
        slope = np.polyfit(range(len(settled)), settled, 1)[0] if len(settled) > 1 else 0.0
        found[measure] = {
            "first": round(values[0], 1),
            "last": round(values[-1], 1),
            "largest": round(max(values), 1),
            "slope_per_epoch": round(float(slope), 4),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--img", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--train", type=int, default=240, help="pictures to train on")
    parser.add_argument("--val", type=int, default=60, help="pictures to validate on")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/soak.jsonl"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        data = write_demo(
            place / "data", train=arguments.train, val=arguments.val, image_size=arguments.img
        )
        settings = {
            "data": data, "cfg": "yolov5n", "img": arguments.img, "batch": arguments.batch,
            "epochs": arguments.epochs, "workers": arguments.workers, "patience": 0,
            "out": place / "run",
        }  # fmt: skip
        flags = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
        command = [sys.executable, "-m", "prunus.cli.main", "train", *flags, "--quiet"]
        start = time.perf_counter()
        samples = soak(command, place / "run" / "results.csv")
    shown = {key: value for key, value in vars(arguments).items() if key != "out"}
    row = {
        **shown,
        "samples": len(samples),
        "seconds": round(time.perf_counter() - start, 1),
        **summary(samples),
        "machine": machine_facts(),
        "packages": package_versions(),
    }
    with arguments.out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
