"""Fine-tuning official yolov5n on BCCD: the recipe, the small-data preset, and frozen rows.

Run: python benchmarks/fine_tuning.py --assets FOLDER --out benchmarks/results/fine_tuning.jsonl
One JSON object a line and one `prunus train` and `prunus val --split test` each, as a user would
run them: mAP of the best epoch on the validation split, mAP of those weights on the test split, the
curve, wall and CPU seconds, images a second, peak memory of the process tree. A row that the file
has is not measured again. --plot FILE draws the curves of what is in the file.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from processes import MemoryPeak

from prunus.core.machine import machine_facts, package_versions

SEEDS = (0, 1, 2)
COMMON = ("--img", "320", "--batch", "16")
Row = dict[str, Any]


class Variant(NamedTuple):
    """A way to fine-tune, as flags of `prunus train`."""

    name: str
    epochs: int
    flags: tuple[str, ...] = ()
    seeds: tuple[int, ...] = SEEDS


VARIANTS = (
    Variant("recipe", 40),
    Variant("small", 20, ("--hyp", "small")),
    Variant("recipe, fp32", 40, ("--precision", "fp32"), SEEDS[:1]),
    Variant("recipe, freeze 10", 40, ("--freeze", "10"), SEEDS[:1]),
    Variant("recipe, freeze 24", 40, ("--freeze", "24"), SEEDS[:1]),
)


def measure(variant: Variant, seed: int, assets: Path, threads: int) -> Row:
    """Train and judge."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        cpu, peak = prunus(
            threads,
            "train",
            *("--data", f"{assets}/data/bccd.yaml", "--weights", f"{assets}/weights/yolov5n.pt"),
            *(*COMMON, "--epochs", str(variant.epochs), "--seed", str(seed), *variant.flags),
            *("--out", f"{folder}/train"),
        )
        seconds = time.perf_counter() - start
        report = json.loads((folder / "train" / "report.json").read_text(encoding="utf-8"))
        prunus(
            threads,
            "val",
            *("--data", f"{assets}/data/bccd.yaml", "--weights", report["best"]),
            *("--split", "test", "--img", "320", "--precision", "fp32", "--out", f"{folder}/val"),
        )
        test = json.loads((folder / "val" / "report.json").read_text(encoding="utf-8"))
        lines = (folder / "train" / "results.csv").read_text(encoding="utf-8").splitlines()
    columns = lines[0].split(",")
    curve = [dict(zip(columns, line.split(","), strict=True)) for line in lines[1:]]
    return {
        "best_epoch": report["best_epoch"],
        "val": {key: report["metrics"][key] for key in ("map50", "map50_95")},
        "test": {key: test["metrics"][key] for key in ("map50", "map50_95")},
        "curve": [
            [float(row["metrics/mAP_0.5"]), float(row["metrics/mAP_0.5:0.95"])] for row in curve
        ],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_mb": round(peak),
    }


def prunus(threads: int, *words: str) -> tuple[float, float]:
    """Run a command; return its CPU seconds and the peak of its memory in MB."""
    before = os.times()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "prunus", *words]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    with process, MemoryPeak(process.pid) as peak:
        status = process.wait()
    if status:
        raise SystemExit(f"{' '.join(command)}: ended with {status}")
    after = os.times()
    used = after.children_user - before.children_user
    return used + after.children_system - before.children_system, peak.megabytes


def jobs() -> Iterator[tuple[Variant, int]]:
    """Yield all runs, one seed of each first."""
    for seed in SEEDS:
        yield from ((variant, seed) for variant in VARIANTS if seed in variant.seeds)


def read(file: Path) -> list[Row]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]


def plot(rows: list[Row], file: Path) -> None:
    """Draw mAP50-95 on the validation split over the epochs, a line for each run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys((row["variant"], row["epochs"]) for row in rows))
    for row in rows:
        number = names.index((row["variant"], row["epochs"]))
        label = f"{row['variant']}, {row['epochs']} epochs" if row["seed"] == 0 else None
        axes.plot([pair[1] for pair in row["curve"]], color=f"C{number}", label=label, alpha=0.8)
    axes.set(xlabel="epoch", ylabel="mAP50-95 on BCCD's validation split")
    axes.legend()
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/fine_tuning.jsonl"))
    parser.add_argument("--variants", nargs="+", help="only these")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="draw the curves into this file")
    arguments = parser.parse_args()
    facts = {"machine": machine_facts(), "packages": package_versions()}
    for variant, seed in jobs():
        key = {"variant": variant.name, "epochs": variant.epochs, "seed": seed}
        done = any(key.items() <= row.items() for row in read(arguments.out))
        wanted = arguments.variants is None or variant.name in arguments.variants
        if done or not wanted or seed not in arguments.seeds:
            continue
        row = {**key, **measure(variant, seed, arguments.assets, arguments.threads)}
        print({name: value for name, value in row.items() if name != "curve"}, flush=True)
        with arguments.out.open("a", encoding="utf-8") as file:
            flags = {"threads": arguments.threads, "flags": [*COMMON, *variant.flags]}
            file.write(json.dumps({**row, **flags, **facts}) + "\n")
    if arguments.plot is not None:
        plot(read(arguments.out), arguments.plot)


if __name__ == "__main__":
    main()
