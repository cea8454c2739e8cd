"""Images a second of `prunus predict`, end to end, on a folder and on a video, and where it goes.

Run: python benchmarks/predict.py --assets FOLDER --out benchmarks/results/predict.jsonl
One JSON object a line. The folder: the 128 pictures of coco256's validation split; the video: 150
frames of 1280 x 720, made here of those pictures, drifting. Annotated pictures or video, JSON lines
and report are written. Every run is a process of its own and computes on one thread. The stages are
CPU seconds of the threads that do the work, so that a busy machine adds little; exported files run
in a process of their own, whose CPU time is added to inference. `start-up, rest` is what was taken
besides: imports, loading, OpenCV's and FFmpeg's threads, report. The run of least CPU time counts,
and `images_per_cpu_second` is without start-up and rest. `by_the_clock` holds images a second of
runs in turn, the next picture read in a thread meanwhile (as the verb does) and not; they tell
something only where `load` says that the machine was idle.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from prunus.core.machine import machine_facts, package_versions
from prunus.data.decode import load_image

SIZE = 640
FRAMES, FPS, FRAME_WH = 150, 25, (1280, 720)
AHEAD, IN_TURN = "read ahead", "one after another"
HELD = 10
"""Frames that show one picture."""


def make_video(pictures: list[Path], path: Path) -> Path:
    """Write pictures that drift, each for some frames."""
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, FPS, FRAME_WH)
    width, height = FRAME_WH
    for number in range(FRAMES):
        place, step = divmod(number, HELD)
        if step == 0:
            image = load_image(pictures[place % len(pictures)])[..., ::-1]
            wide = cv2.resize(image, (width + 8 * HELD, height + 4 * HELD))
        writer.write(np.ascontiguousarray(wide[4 * step :, 8 * step :][:height, :width]))
    writer.release()
    return path


@cache
def children() -> tuple[Path, ...]:
    """Return the processes in which a runtime computes for this one; they are there by now."""
    folders = (path for path in Path("/proc").iterdir() if path.name.isdecimal())
    return tuple(path for path in folders if int(state_of(path)[1]) == os.getpid())


def state_of(process: Path) -> list[str]:
    """Return the fields of proc(5)'s stat from the third, the state; none has spaces there."""
    try:
        return (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:  # ended meanwhile
        return ["X", "0", *["0"] * 20]


def seconds_of_children() -> float:
    """Return their CPU seconds so far, in steps of a clock tick."""
    ticks = sum(int(field) for child in children() for field in state_of(child)[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def run_here(words: list[str], *, ahead: bool, out: Path) -> dict[str, Any]:
    """Run the verb as the command line does, and return its report's figures."""
    from prunus.cli.main import main as prunus
    from prunus.predict import detect, run, stages

    vars(stages)["perf_counter"] = time.thread_time
    look, beside = vars(detect)["run_on"], [0.0]

    def look_and_note(*given: Any) -> Any:
        before = seconds_of_children()
        found = look(*given)
        beside[0] += seconds_of_children() - before
        return found

    vars(detect)["run_on"] = look_and_note
    if not ahead:
        opened = vars(run)["open_sources"]
        vars(run)["open_sources"] = lambda *given, **named: replace(
            opened(*given, **named), early=False
        )
    if prunus(["predict", *words, "--out", str(out)]):
        raise SystemExit("prunus predict failed")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    images = report["images"]
    seconds = {stage: ms * images / 1000 for stage, ms in report["speed_ms"].items()}
    seconds["inference"] += beside[0]
    return {
        "images": images,
        "detections": report["detections"],
        "images_per_second": report["images_per_second"],
        "stages": seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def run_apart(words: list[str], *, ahead: bool, folder: Path) -> dict[str, Any]:
    """Run the verb in a process of its own."""
    answer = folder / "answer.json"
    own = ["--answer", str(answer), *(["--ahead"] if ahead else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, __file__, *own, "--words", json.dumps(words)],
        env=environment, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**found, "cpu_seconds": cpu}


def models(weights: Path, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each contestant's title and its words: torch, and the exported file where one comes."""
    from prunus.cli.main import main as prunus

    yield "torch", ["--weights", str(weights)]
    asked = ["--weights", str(weights), "--img", str(SIZE), "--dynamic", "--out", str(folder / "x")]
    if prunus(["export", *asked, "--quiet"]) == 0:
        for path in sorted((folder / "x").rglob("*.onnx")):
            yield "onnx", ["--weights", str(path)]


def to_row(title: str, runs: list[dict[str, Any]], walls: dict[str, list[float]]) -> dict[str, Any]:
    best = min(runs, key=lambda run: sum(run["stages"].values()))
    work = sum(best["stages"].values())
    stages = {**best["stages"], "start-up, rest": best["cpu_seconds"] - work}
    return {
        "run": title,
        "images": best["images"],
        "detections": best["detections"],
        "images_per_cpu_second": round(best["images"] / work, 2),
        "ms_an_image": {
            stage: round(1000 * seconds / best["images"], 2)
            for stage, seconds in best["stages"].items()
        },
        "shares": {stage: round(seconds / work, 3) for stage, seconds in best["stages"].items()},
        "stages_cpu_s": {stage: round(seconds, 3) for stage, seconds in stages.items()},
        "peak_mb": round(best["peak_mb"]),
        "images_per_cpu_second_of_runs": [
            round(run["images"] / sum(run["stages"].values()), 2) for run in runs
        ],
        "by_the_clock": {name: [round(rate, 2) for rate in rates] for name, rates in walls.items()},
    }


def measure(assets: Path, repeats: int) -> Iterator[dict[str, Any]]:
    pictures = assets / "data" / "coco256" / "images" / "val2017"
    facts = {"machine": machine_facts(), "packages": package_versions()}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        video = make_video(sorted(pictures.iterdir()), folder / "video.mp4")
        for model, weights in models(assets / "weights" / "yolov5n.pt", folder):
            for title, source in (("folder", pictures), ("video 1280x720", video)):
                words = [*weights, "--source", str(source), "--img", str(SIZE), "--device", "cpu"]
                runs: dict[str, list[dict[str, Any]]] = {AHEAD: [], IN_TURN: []}
                for _ in range(repeats):
                    for name, found in runs.items():
                        found.append(run_apart(words, ahead=name == AHEAD, folder=folder))
                walls = {
                    name: [one["images_per_second"] for one in found]
                    for name, found in runs.items()
                }
                yield {
                    **to_row(f"{model}, {title}", runs[AHEAD], walls),
                    "load": os.getloadavg()[0],
                    **facts,
                }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, help="folder with weights/ and data/")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/predict.jsonl"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)  # one run, as started here
    parser.add_argument("--words", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--ahead", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.answer is not None:
        words = [*asked.words, "--threads", "1"]
        with tempfile.TemporaryDirectory() as folder:
            found = run_here(words, ahead=asked.ahead, out=Path(folder) / "predict")
        asked.answer.write_text(json.dumps(found), encoding="utf-8")
        return
    if asked.assets is None:
        parser.error("--assets is needed: the folder with weights/yolov5n.pt, data/coco256")
    rows = []
    for row in measure(asked.assets, asked.repeats):
        rows.append(row)
        print(
            row["run"], row["images_per_cpu_second"], row["shares"], row["by_the_clock"], flush=True
        )
        asked.out.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
