"""The main job on BCCD: official yolov5n to twice the speed at one point of mAP50-95, or further.

Run: python benchmarks/bccd.py --assets FOLDER --out benchmarks/results/bccd.json
Writes the command, the table's rows, the trials and the facts of the machine. With --resume it goes
on with the run, or writes again what a finished one found. Milliseconds are medians of one
interleaved run: compare them within this file only. Accuracy has a spread of about .01 from seed to
seed on 87 validation and 72 test images.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from prunus.core.config import parse
from prunus.core.console import show_log
from prunus.core.runs import REPORT
from prunus.pipeline.compress.config import CompressConfig
from prunus.pipeline.compress.run import compress

SETTINGS: dict[str, Any] = {
    "image_size": 320,
    "speedup": 2.0,
    "max_drop": 1.0,
    "furthest": True,
}
KEPT = (
    "target", "verdict", "models", "steps", "trials", "options", "not_done", "stages", "seconds",
    "settings", "machine", "packages",
)  # fmt: skip
LEFT_OUT = ("per_class", "speed_ms")


def brief(value: Any) -> Any:
    """Leave out what makes the file long, and of paths all but the name."""
    if isinstance(value, str):
        return Path(value).name if Path(value).is_absolute() else value
    if isinstance(value, dict):
        return {key: brief(item) for key, item in value.items() if key not in LEFT_OUT}
    return [brief(item) for item in value] if isinstance(value, list) else value


def finished(folder: Path) -> dict[str, Any] | None:
    """Return the report of a run that has ended."""
    path = folder / REPORT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/benchmark-bccd"))
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/bccd.json"))
    arguments = parser.parse_args()
    show_log(quiet=False)
    place = {"resume": arguments.run} if arguments.resume else {"out": arguments.run}
    settings = {
        **SETTINGS,
        "weights": arguments.assets / "weights" / "yolov5n.pt",
        "data": arguments.assets / "data" / "bccd.yaml",
        **place,
    }
    report: dict[str, Any] = dict(
        finished(arguments.run) or compress(parse(CompressConfig, settings))
    )
    content = {key: brief(report[key]) for key in KEPT}
    arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(report["verdict"]["sentence"])


if __name__ == "__main__":
    main()
