"""The main job on BCCD: official yolov5n, adapted, pruned by half, fine-tuned, timed.

Run: python benchmarks/bccd.py --assets FOLDER --out benchmarks/results/bccd.json
Writes the command, the table's rows and the facts of the machine. Milliseconds are medians of one
interleaved run: compare them within this file only. Accuracy has a spread of about .01 from seed to
seed on 87 validation and 72 test images.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from prunus.core.config import parse
from prunus.core.console import show_log
from prunus.pipeline.compress import PICTURE, TABLE, compress
from prunus.pipeline.config import CompressConfig

SETTINGS: dict[str, Any] = {"image_size": 320, "percent": 0.5}
COMMAND = "prunus compress --weights yolov5n.pt --data bccd.yaml --img 320 --percent 0.5"
KEPT = ("before", "after", "steps", "seconds", "settings", "machine", "packages")
LEFT_OUT = ("per_class", "speed_ms")


def brief(value: Any) -> Any:
    """Leave out what makes the file long, and of paths all but the name."""
    if isinstance(value, str):
        return Path(value).name if Path(value).is_absolute() else value
    if isinstance(value, dict):
        return {key: brief(item) for key, item in value.items() if key not in LEFT_OUT}
    return [brief(item) for item in value] if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/benchmark-bccd"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/bccd.json"))
    arguments = parser.parse_args()
    show_log(quiet=False)
    settings = {
        **SETTINGS,
        "weights": arguments.assets / "weights" / "yolov5n.pt",
        "data": arguments.assets / "data" / "bccd.yaml",
        "out": arguments.run,
    }
    report = compress(parse(CompressConfig, settings))
    content: dict[str, Any] = {"command": COMMAND}
    content.update({key: brief(report[key]) for key in KEPT})
    arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print((arguments.run / TABLE).read_text(), arguments.run / PICTURE)


if __name__ == "__main__":
    main()
