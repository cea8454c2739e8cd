"""Where the CPU time of `prunus val` goes: official yolov5n on coco256, start-up included.

Run: python benchmarks/validation.py --assets FOLDER --out benchmarks/results/validation.jsonl
One JSON object a line: runtime and precision, images a second of the whole process, its CPU
seconds (user and system, all of it), peak memory, and each stage's CPU seconds and share. Every run
is a process of its own on one thread; the one of least CPU time counts, and `cpu_seconds_of_runs`
shows how much a busy machine adds. `import_torch_cpu_s`, the same work in every run, tells how
busy it was. Compare with the official code's 24.8 CPU s on the same images (its anchor figure).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from prunus.core.machine import machine_facts, package_versions

SIZE = 640
OFFICIAL_CPU_S = 24.8
PRECISIONS = ("fp32", "bf16")
RUNTIMES = ("onnx", "openvino")
"""Measured where a backend of that name exists."""
FIGURES = ("precision", "recall", "map50", "map50_95", "detections")


def run_here(weights: Path, data: Path, precision: str, out: Path) -> dict[str, Any]:
    """Run the verb as the command line does, and return figures and stages in CPU seconds."""
    started = time.process_time()
    import torch  # noqa: F401 - alone, so that its share is known

    torch_ready = time.process_time()
    from prunus.cli.main import main as prunus
    from prunus.evaluate import clock
    from prunus.pipeline import val as verb

    vars(clock)["perf_counter"] = time.process_time
    judge, begins = verb.judge, []

    def judge_and_note(*arguments: Any) -> Any:
        begins.append(time.process_time())
        return judge(*arguments)

    vars(verb)["judge"] = judge_and_note
    asked = ("--weights", weights, "--data", data, "--precision", precision, "--out", out)
    if prunus(["val", "--img", str(SIZE), *map(str, asked)]):
        raise SystemExit("prunus val failed")
    metrics = json.loads((out / "report.json").read_text(encoding="utf-8"))["metrics"]
    images = metrics["images"]
    seconds = {stage: ms * images / 1000 for stage, ms in metrics["speed_ms"].items()}
    stages = {
        "start-up": begins[0],
        "decode": seconds["preprocess"],
        "inference": seconds["inference"],
        "nms": seconds["nms"],
        "metrics": seconds["matching"] + seconds["coco"],
    }
    # Tables, plots, files, report; the interpreter's end is added outside.
    stages["output"] = time.process_time() - sum(stages.values())
    return {
        "figures": {name: metrics[name] for name in FIGURES},
        "images": images,
        "stages": stages,
        "import_torch_cpu_s": torch_ready - started,
    }


def run_apart(weights: Path, data: Path, precision: str, folder: Path) -> dict[str, Any]:
    """Run the verb in a process of its own; add what it cost as a whole."""
    answer = folder / "answer.json"
    words = ["--weights", weights, "--data", data, "--precision", precision, "--answer", answer]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, __file__, *map(str, words)], env=environment, stderr=subprocess.PIPE
    )
    assert child.stderr is not None
    complaint = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(complaint.decode())
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    cpu = usage.ru_utime + usage.ru_stime
    found["stages"]["exit"] = cpu - sum(found["stages"].values())
    return {**found, "cpu_seconds": cpu, "wall_seconds": wall, "peak_mb": usage.ru_maxrss / 1024}


def to_row(title: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    best = min(runs, key=lambda run: float(run["cpu_seconds"]))
    cpu, images = best["cpu_seconds"], best["images"]
    return {
        "run": title,
        "images": images,
        "cpu_seconds": round(cpu, 2),
        "official_cpu_seconds": OFFICIAL_CPU_S,
        "ratio": round(OFFICIAL_CPU_S / cpu, 2),
        "images_per_second": round(images / best["wall_seconds"], 2),
        "images_per_cpu_second": round(images / cpu, 2),
        "peak_mb": round(best["peak_mb"]),
        "stages_cpu_s": {stage: round(seconds, 3) for stage, seconds in best["stages"].items()},
        "shares": {stage: round(seconds / cpu, 3) for stage, seconds in best["stages"].items()},
        "import_torch_cpu_s": round(best["import_torch_cpu_s"], 3),
        "cpu_seconds_of_runs": [round(run["cpu_seconds"], 2) for run in runs],
        "figures": best["figures"],
    }


def contestants(weights: Path, folder: Path) -> dict[str, tuple[Path, str]]:
    """Return title -> file and precision: torch, and each runtime's file of the same weights."""
    from prunus.export.backends import BACKENDS, find_writer
    from prunus.export.form import Form
    from prunus.weights.files import load_weights

    found = {f"torch {precision}": (weights, precision) for precision in PRECISIONS}
    detector = load_weights(weights).detector
    for runtime in RUNTIMES:
        if runtime in BACKENDS:
            suffix, write = find_writer(runtime)
            path = folder / f"{weights.stem}{suffix}"
            write(detector, path, Form((SIZE, SIZE), dynamic=True))
            found[f"{runtime} fp32"] = (path, "auto")
    return found


def measure(assets: Path, repeats: int) -> list[dict[str, Any]]:
    data = assets / "data" / "coco256.yaml"
    facts = {"machine": machine_facts(), "packages": package_versions(), "threads": 1}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = contestants(assets / "weights" / "yolov5n.pt", folder)
        runs: dict[str, list[dict[str, Any]]] = {title: [] for title in models}
        for _ in range(repeats):  # in turn, so that a busy minute hits all of them
            for title, (path, precision) in models.items():
                runs[title].append(run_apart(path, data, precision, folder))
    return [{**to_row(title, own), **facts} for title, own in runs.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, help="folder with weights/ and data/")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/validation.jsonl"))
    parser.add_argument("--repeats", type=int, default=3)
    for name in ("--weights", "--data", "--answer"):  # one run, as this script starts them
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--precision", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer is not None:
        with tempfile.TemporaryDirectory() as folder:
            found = run_here(
                arguments.weights, arguments.data, arguments.precision, Path(folder) / "val"
            )
        arguments.answer.write_text(json.dumps(found), encoding="utf-8")
        return
    if arguments.assets is None:
        parser.error("--assets is needed: the folder with weights/yolov5n.pt, data/coco256.yaml")
    rows = measure(arguments.assets, arguments.repeats)
    arguments.out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for row in rows:
        print(row["run"], row["cpu_seconds"], "CPU s,", row["peak_mb"], "MB,", row["shares"])


if __name__ == "__main__":
    main()
