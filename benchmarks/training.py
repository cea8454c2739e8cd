"""What a training image costs: precisions, frozen rows and loader processes, beside plain PyTorch.

Run: python benchmarks/training.py --assets FOLDER --out benchmarks/results/training.jsonl
With --variants only plain and these run, and their rows are added to the file's.
One JSON object a line and a process of its own for each: CPU milliseconds an image (of the process
and its loaders), images a second, the share of the time waited on data, and the peak memory of the
process tree. Official yolov5n on coco256's training images, mosaics as in the recipe. "plain" is
the same network, loss, loader and optimizer in a plain loop: fp32, NCHW, an allocator as it comes.
"compiled" is the network under torch.compile, with nothing in its cache: `warm_up_cpu_s` is then
mostly the compiler's, and what lies above that of the same precision uncompiled is its price.
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from processes import MemoryPeak, cpu_seconds

from prunus.core.config import parse
from prunus.core.device import keep_freed_pages
from prunus.core.machine import machine_facts, package_versions
from prunus.core.records import Batch
from prunus.data.index import build_index
from prunus.data.spec import read_data
from prunus.train.build import build_engine
from prunus.train.config import TrainConfig
from prunus.train.engine import Engine
from prunus.train.images import TrainingImages
from prunus.train.optimizer import clip_gradients
from prunus.train.schedule import Schedule
from prunus.weights.files import load_weights

SIZES = {320: (16, 12), 640: (8, 8)}
"""Side of the images -> images in a batch, and batches that are timed."""
WARM_UP = 3
"""Batches before the clock starts: oneDNN makes its kernels, workers start."""
Row = dict[str, Any]


class Variant(NamedTuple):
    """One way to train."""

    name: str
    precision: str = "fp32"
    freeze: int = 0
    workers: int = 0
    plain: bool = False
    compiled: bool = False


VARIANTS = (
    Variant("plain", plain=True),
    Variant("fp32"),
    Variant("bf16", "bf16"),
    Variant("bf16, compiled", "bf16", compiled=True),
    Variant("bf16, freeze 10", "bf16", 10),
    Variant("bf16, freeze 24", "bf16", 24),
    Variant("fp32, freeze 10", "fp32", 10),
    Variant("fp32, freeze 24", "fp32", 24),
    Variant("bf16, 1 worker", "bf16", workers=1),
    Variant("bf16, 2 workers", "bf16", workers=2),
)


@dataclass
class Meter:
    """Counts what passes through it, from the end of the warm-up on.

    Attributes:
        images: That were handed out since then.
        waited: Seconds until they came.
        warm_up_cpu: CPU seconds before.
    """

    batches: int
    images: int = 0
    waited: float = 0.0
    began: float = 0.0
    cpu_began: float = 0.0
    warm_up_cpu: float = 0.0
    seen: int = 0

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        iterator, cpu_before = iter(batches), cpu_seconds()
        while self.seen < WARM_UP + self.batches:
            start = time.perf_counter()
            batch = next(iterator)
            now = time.perf_counter()
            if self.seen == WARM_UP:
                self.began, self.cpu_began = start, cpu_seconds()
                self.warm_up_cpu = self.cpu_began - cpu_before
            if self.seen >= WARM_UP:
                self.waited += now - start
                self.images += len(batch.frames)
            self.seen += 1
            yield batch

    def row(self) -> Row:
        seconds, cpu = time.perf_counter() - self.began, cpu_seconds() - self.cpu_began
        return {
            "cpu_ms_per_image": round(1e3 * cpu / self.images, 2),
            "images_per_second": round(self.images / seconds, 2),
            "waited_share": round(self.waited / seconds, 4),
            "images": self.images,
            "warm_up_cpu_s": round(self.warm_up_cpu, 1),
        }


def measure(variant: Variant, side: int, assets: Path, threads: int) -> Row:
    """Train for some batches in this process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    batch_size, batches = SIZES[side]
    settings = parse(
        TrainConfig,
        {
            "image_size": side,
            "batch_size": batch_size,
            "precision": variant.precision,
            "freeze": (variant.freeze,),
            "workers": variant.workers,
            "epochs": 100,
        },
    )
    index = build_index(read_data(assets / "data" / "coco256.yaml"), "train")
    detector = load_weights(assets / "weights" / "yolov5n.pt").detector
    loader = TrainingImages(index, settings, side, detector.stride)
    if not variant.plain:
        keep_freed_pages()
    engine = build_engine(detector, settings, image_size=side, batches=len(loader))
    if variant.compiled:
        torch.compiler.config.force_disable_caches = True
        engine.detector.compile(dynamic=False)
    meter = Meter(batches)
    passing = meter.watch(epochs(loader))
    with MemoryPeak() as peak:
        if variant.plain:
            train_plainly(engine, passing)
        else:
            engine.schedule = longer(engine)
            engine.run_epoch(passing, lambda: False)
        row = meter.row()
    return {**row, "peak_mb": round(peak.megabytes)}


def longer(engine: Engine) -> Schedule:
    """Return a schedule whose first epoch outlasts the measurement, with the recipe's steps."""
    return replace(engine.schedule, batches=10_000, warmup_epochs=0.0)


def epochs(loader: TrainingImages) -> Iterator[Batch]:
    number = 0
    while True:
        yield from loader.epoch(number, 0)
        number += 1


def train_plainly(engine: Engine, batches: Iterable[Batch]) -> None:
    """Train as one would write it down: fp32, contiguous, each step by itself."""
    detector = engine.detector.to(memory_format=torch.contiguous_format).train()  # type: ignore[call-overload]
    optimizer = engine.optimizer
    for number, batch in enumerate(batches):
        images = batch.images.float() / 255
        loss = engine.loss(detector(images), batch.targets).total(len(images))
        loss.backward()  # type: ignore[no-untyped-call]
        if (number + 1) % engine.schedule.accumulate == 0:
            clip_gradients(optimizer)
            optimizer.step()
            optimizer.zero_grad()
            engine.average.update(detector)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/training.jsonl"))
    parser.add_argument("--img", type=int, nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--variants", nargs="+", choices=[variant.name for variant in VARIANTS])
    arguments = parser.parse_args()
    facts = {"machine": machine_facts(), "packages": package_versions()}
    lines = []
    for side in arguments.img:
        plain: Row = {}
        for variant in VARIANTS:
            if arguments.variants and not (variant.plain or variant.name in arguments.variants):
                continue
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                job = pool.submit(measure, variant, side, arguments.assets, arguments.threads)
                row = job.result()
            plain = plain or row
            speed = plain["cpu_ms_per_image"] / row["cpu_ms_per_image"]
            row = {"variant": variant.name, "img": side, **row, "cpu_speed_over_plain": speed}
            print(json.dumps(row), flush=True)
            lines.append(json.dumps({**row, "threads": arguments.threads, **facts}) + "\n")
    with arguments.out.open("a" if arguments.variants else "w", encoding="utf-8") as file:
        file.writelines(lines)


if __name__ == "__main__":
    main()
