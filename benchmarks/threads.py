"""Threads that wait: spinning (torch as it comes) or sleeping (`prunus`), beside other work or not.

Run: python benchmarks/threads.py [--out benchmarks/results/threads.jsonl]
A training step of yolov5n in bf16, 16 images of 320 pixels, in processes of their own, which take
turns; beside 0 and more busy processes. One JSON object a row: wall and CPU milliseconds an image.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from prunus.cli.main import CALM
from prunus.core.machine import machine_facts, package_versions

IMAGES, STEPS, ROUNDS = 16, 6, 3
BUSY = (0, 2, 4)
POLICIES: dict[str, dict[str, str]] = {"spinning": {}, "sleeping": CALM}
STEP = f"""
import time, torch
from prunus.core.device import keep_freed_pages
from prunus.model.build import build_detector
from prunus.model.spec import read_arch
keep_freed_pages()
torch.manual_seed(0)
detector = build_detector(read_arch("yolov5n"), ("a", "b", "c")).train()
detector = detector.to(memory_format=torch.channels_last)
images = torch.rand({IMAGES}, 3, 320, 320).to(memory_format=torch.channels_last)
def step():
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(map_.float().square().mean() for map_ in detector(images))
    loss.backward()
    detector.zero_grad()
step()
wall, cpu = time.perf_counter(), time.process_time()
for _ in range({STEPS}):
    step()
share = 1e3 / {IMAGES * STEPS}
print((time.perf_counter() - wall) * share, (time.process_time() - cpu) * share)
"""


def spin() -> None:
    while True:
        pass


@contextmanager
def other_work(count: int) -> Iterator[None]:
    """Keep so many processes busy meanwhile."""
    workers = [multiprocessing.Process(target=spin, daemon=True) for _ in range(count)]
    for worker in workers:
        worker.start()
    time.sleep(1)
    try:
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def measured(threads: int, policy: dict[str, str]) -> tuple[float, float]:
    """Return wall and CPU milliseconds an image."""
    settings = {**os.environ, **policy, "OMP_NUM_THREADS": str(threads)}
    answer = subprocess.run(
        [sys.executable, "-c", STEP], env=settings, check=True, capture_output=True, text=True
    )
    wall, cpu = map(float, answer.stdout.split())
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/threads.jsonl"))
    arguments = parser.parse_args()
    rows = []
    load_before = os.getloadavg()[0]
    for busy in BUSY:
        times: dict[tuple[int, str], list[tuple[float, float]]] = {}
        with other_work(busy):
            for _, threads, policy in product(range(ROUNDS), (1, 2), POLICIES):
                times.setdefault((threads, policy), []).append(measured(threads, POLICIES[policy]))
        for (threads, policy), found in times.items():
            rows.append(
                {
                    "busy_processes": busy,
                    "threads": threads,
                    "waiting": policy,
                    "wall_ms": round(statistics.median(wall for wall, _ in found), 1),
                    "cpu_ms": round(statistics.median(cpu for _, cpu in found), 1),
                    "load_before": round(load_before, 1),
                    "machine": machine_facts(),
                    "packages": package_versions(),
                }
            )
            print({key: rows[-1][key] for key in list(rows[-1])[:6]}, flush=True)
    arguments.out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
