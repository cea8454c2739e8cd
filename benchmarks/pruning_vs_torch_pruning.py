"""Ours beside Torch-Pruning, the best peer, on the official yolov5n at equal FLOPs.

Run: python benchmarks/pruning_vs_torch_pruning.py --assets FOLDER [--quick]
One JSON object a line, written as it comes; a row that is in the file is not measured again (--redo
does). Kinds of rows:
- one_shot: mAP on coco256's validation images as cut, and how far from the masked network;
- fine_tuned: the same after a short training on coco256 with the dense network as teacher, the same
  for all;
- speed: seconds and peak memory of trace and cut for yolov5n to x with random weights, each in a
  process of its own: "prunus" as the peer does it, and ", with proof" as the verb really does.

"prunus" is the default with images (criterion reconstruction, repair ridge). The peer is given its
best: global, one shot, no rounding, Taylor on the same images with labels, its ratio found by
bisection, and ", bn" variants whose batch-norm statistics are taken anew from the same images.
Its criteria are deterministic, so other seeds change only what is trained afterwards.
"""

import argparse
import copy
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_pruning_peer import cut_by_peer, peer_pruner, torch_pruning

from prunus.core.config import parse
from prunus.core.machine import machine_facts, package_versions
from prunus.core.records import Batch
from prunus.data.index import build_index
from prunus.data.loader import validation_batches
from prunus.data.spec import read_data
from prunus.evaluate.val import evaluate
from prunus.model.build import build_detector
from prunus.model.channels.trace import trace
from prunus.model.cost import count_flops, count_parameters
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.loss import DetectionLoss, LossGains
from prunus.model.runner import TorchRunner
from prunus.model.spec import read_arch
from prunus.prune.criteria import CRITERIA
from prunus.prune.detectors import calibrate_on, probe, published_input
from prunus.prune.evidence import Calibration, Evidence
from prunus.prune.repair.batch_norm import recalibrate
from prunus.prune.run import prune
from prunus.prune.surgery import remove
from prunus.train.config import TrainConfig
from prunus.train.run import train
from prunus.weights.files import load_weights
from prunus.weights.native import SUFFIX, save_weights

KEPT = (0.9, 0.8, 0.7, 0.5)
"""Shares of the FLOPs that are kept."""
TUNED = (0.8, 0.5)
SEEDS = (0, 1, 2)
MODELS = ("yolov5n", "yolov5s", "yolov5m", "yolov5l", "yolov5x")
OURS, PEERS = "prunus", ("taylor", "fpgm", "l1")
PEER, WHOLE = "torch-pruning", "prunus, with proof"
"""Of the rows of speed; the last one is the whole verb, which no peer's is like."""
NO_REPAIR, RECALIBRATED = "prunus, no repair", ", bn"
SPEED_IMAGES = (64, 640)
"""Sides of the images that are traced: what is enough, and the peer's examples."""
SPEED_REPEATS = 3
CALIBRATION_BATCH, JUDGED_BATCH = 16, 32
TRAINING = {
    "image_size": 640,
    "batch_size": 16,
    "nominal_batch": 16,
    "epochs": 5,
    "hyp": {"lr0": 0.0005, "lrf": 0.01, "warmup_epochs": 0.0, "mosaic": 0.0, "scale": 0.2},
    "auto_anchor": False,
    "precision": "bf16",
}
"""SGD, 40 steps, with the dense network as teacher. Twice the rate, or a fixed one, does harm:
128 images teach the dense network nothing new, and noise much."""
Row = dict[str, Any]


class Job(NamedTuple):
    """What one row measures."""

    kind: str
    method: str
    kept: float = 1.0
    seed: int = 0
    model: str = "yolov5n"
    image: int = 640


class Pruned(NamedTuple):
    """A cut network, the largest relative difference from the masked one, and the seconds."""

    detector: Detector
    error: float | None
    seconds: float


def jobs(image: int, seeds: tuple[int, ...]) -> Iterator[Job]:
    """Yield the rows, the most telling first."""
    every, bn = (OURS, *PEERS), [peer + RECALIBRATED for peer in PEERS]
    yield Job("one_shot", "dense", image=image)
    yield from (Job("one_shot", method, kept, image=image) for kept in KEPT for method in every)
    yield from (Job("fine_tuned", method, kept, image=image) for kept in TUNED for method in every)
    for side in SPEED_IMAGES:
        yield from (
            Job("speed", method, 0.5, 0, model, side)
            for model in MODELS
            for method in (OURS, PEER, WHOLE)
        )
    others = (NO_REPAIR, *bn)
    yield from (Job("one_shot", method, kept, image=image) for kept in KEPT for method in others)
    yield from (Job("fine_tuned", bn[0], kept, image=image) for kept in TUNED)
    yield Job("fine_tuned", "dense", image=image)
    for seed in seeds[1:]:
        yield from (Job("one_shot", OURS, kept, seed, image=image) for kept in KEPT)
        yield from (
            Job("fine_tuned", method, kept, seed, image=image) for kept in TUNED for method in every
        )
    rest = [kept for kept in KEPT if kept not in TUNED]
    yield from (
        Job("fine_tuned", method, kept, seed, image=image)
        for seed in seeds
        for kept in rest
        for method in every
    )


@dataclass
class Bench:
    """What all rows share: the dense detector, its images, and where cut networks are kept."""

    assets: Path
    folder: Path
    precision: str

    def __post_init__(self) -> None:
        self.dense = load_weights(self.assets / "weights" / "yolov5n.pt").detector
        self.flops = count_flops(self.dense)
        data = read_data(self.assets / "data" / "coco256.yaml")
        self.training, self.validation = build_index(data, "train"), build_index(data, "val")

    def measure(self, job: Job) -> Row:
        pruned = self.pruned(job)
        shares = {
            "flops_share": round(count_flops(pruned.detector) / self.flops, 4),
            "parameters_share": round(
                count_parameters(pruned.detector) / count_parameters(self.dense), 4
            ),
        }
        if job.kind == "fine_tuned":
            tuned = self.tuned(pruned.detector, job.seed)
            return {**shares, **self.judge(tuned, job.image), "training": TRAINING}
        return {
            **shares,
            **self.judge(pruned.detector, job.image),
            "error": pruned.error,
            "seconds": round(pruned.seconds, 1),
        }

    def pruned(self, job: Job) -> Pruned:
        """Cut, or read what an earlier row has cut."""
        method = job.method.removesuffix(RECALIBRATED)
        seed = 0 if method in PEERS else job.seed
        file = self.folder / f"{method.replace(', ', '-')}-{job.kept}-{seed}{SUFFIX}"
        if method == "dense":
            return Pruned(copy.deepcopy(self.dense), None, 0.0)
        if file.exists() and job != Job("one_shot", method, job.kept, seed, image=job.image):
            made = Pruned(load_weights(file).detector, None, 0.0)
        else:
            made = self.cut(method, job.kept, seed)
            save_weights(made.detector, file)
        if method == job.method:
            return made
        start = time.perf_counter()
        settled = recalibrate(made.detector, self.calibration().batches())
        assert isinstance(settled, Detector)
        return Pruned(settled, None, time.perf_counter() - start)

    def cut(self, method: str, kept: float, seed: int) -> Pruned:
        start = time.perf_counter()
        if method in PEERS:
            gradients = self.gradients if method == "taylor" else {}
            detector, error = cut_by_peer(self.dense, method, kept, gradients)
            return Pruned(detector, error, time.perf_counter() - start)
        result = prune(
            self.dense,
            probe(self.dense),
            flops=kept,
            calibration=self.calibration(seed),
            repair="none" if method == NO_REPAIR else "ridge",
            cost_inputs=published_input(),
            seed=seed,
        )
        assert isinstance(result.model, Detector)
        return Pruned(result.model, result.error, time.perf_counter() - start)

    def calibration(self, seed: int = 0) -> Calibration:
        """Return all training images, in an order by seed."""
        plain = validation_batches(self.training, 640, CALIBRATION_BATCH, self.dense.stride)

        def batches() -> list[Batch]:
            items = list(plain)
            if seed:
                random.Random(seed).shuffle(items)
            return items

        loss = DetectionLoss(self.dense, LossGains())
        return calibrate_on(batches, loss, torch.device("cpu"), len(plain))

    @cached_property
    def gradients(self) -> dict[str, Tensor]:
        """Gradients of the training loss by parameter name, for the peer's Taylor."""
        network = copy.deepcopy(self.dense).eval().requires_grad_(True)
        losses = self.calibration().losses
        assert losses is not None
        for loss in losses(network):
            loss.backward()  # type: ignore[no-untyped-call]
        return {
            name: parameter.grad
            for name, parameter in network.named_parameters()
            if parameter.grad is not None
        }

    def tuned(self, detector: Detector, seed: int) -> Detector:
        settings = parse(TrainConfig, {**TRAINING, "seed": seed, "val_every": TRAINING["epochs"]})
        with tempfile.TemporaryDirectory() as folder:
            result = train(
                detector,
                self.training,
                self.validation,
                settings,
                Path(folder),
                teacher=copy.deepcopy(self.dense),
            )
            return load_weights(result.last).detector

    def judge(self, detector: Detector, image: int) -> Row:
        batches = validation_batches(self.validation, image, JUDGED_BATCH, detector.stride)
        runner = TorchRunner(fuse(detector), torch.device("cpu"), self.precision)
        judged = evaluate(runner, batches, self.validation)
        return {
            "map50": round(judged.map50, 4),
            "map50_95": round(judged.map50_95, 4),
            "precision": self.precision,
        }


def measure_speed(job: Job, repeats: int) -> Row:
    """Return the shortest seconds and the largest memory of some processes."""
    runs = []
    for _ in range(repeats):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            runs.append(pool.submit(run_once, job, torch.get_num_threads()).result())
    times = {
        key: min(run[key] for run in runs)
        for key, value in runs[0].items()
        if "seconds" in key and value is not None
    }
    memory = {key: max(run[key] for run in runs) for key in runs[0] if "mb" in key}
    return {**runs[0], **times, **memory, "repeats": repeats}


def run_once(job: Job, threads: int) -> Row:
    """Trace and cut about half of the channels in this process, by sums of absolute weights."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    detector = build_detector(read_arch(job.model), [f"class {i}" for i in range(80)]).eval()
    image = torch.rand(1, 3, job.image, job.image)
    if job.method == PEER:
        torch_pruning()
        detector.requires_grad_(True)
    before = memory_mb("VmRSS")
    steps: dict[str, Callable[[], Iterator[object]]] = {
        PEER: lambda: peer_steps(detector, image, job.kept),
        OURS: lambda: our_steps(detector, image),
        WHOLE: lambda: iter([prune(detector, image, percent=job.kept, criterion="l1")]),
    }
    seconds: list[tuple[float, float]] = [clocks()]
    seconds.extend(clocks() for _ in steps[job.method]())
    wall, cpu = ([late[i] - seconds[0][i] for late in seconds[1:]] for i in (0, 1))
    traced = len(wall) > 1
    return {
        "trace_seconds": round(wall[0], 3) if traced else None,
        "trace_cpu_seconds": round(cpu[0], 3) if traced else None,
        "seconds": round(wall[-1], 3),
        "cpu_seconds": round(cpu[-1], 3),
        "peak_mb": memory_mb("VmHWM"),
        "peak_over_model_mb": memory_mb("VmHWM") - before,
    }


def peer_steps(detector: Detector, image: Tensor, share: float) -> Iterator[object]:
    """Yield after the graph and after the cut, which is in place."""
    pruner = peer_pruner(detector, "l1", share, image)
    yield pruner
    pruner.step()
    yield detector


def our_steps(detector: Detector, image: Tensor) -> Iterator[object]:
    """Yield after the trace and after the cut, of half of each group, into a new network."""
    table = trace(detector, image)
    yield table
    groups = table.free_groups
    scores = CRITERIA["l1"](groups, Evidence(detector, table))
    lowest = [group.tags[scores[group.name].argsort()[: len(group) // 2]] for group in groups]
    yield remove(detector, table, torch.cat(lowest))


def clocks() -> tuple[float, float]:
    """Return seconds on the wall, and of this process: these do not see who else is at work."""
    return time.perf_counter(), time.process_time()


def memory_mb(key: str) -> int:
    """Return a figure of this process, of Linux."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) // 1024
    raise SystemExit(f"/proc/self/status has no {key}: memory is measured on Linux only.")


def measured(file: Path) -> set[Job]:
    """Return what the file holds by now; several processes may write to it."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {Job(*(json.loads(line)[field] for field in Job._fields)) for line in lines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/pruning_vs_torch_pruning.jsonl")
    )
    parser.add_argument("--img", type=int, default=640, help="side of the validation images")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--redo", action="store_true", help="measure again what is in the file")
    parser.add_argument("--kinds", nargs="+", default=["one_shot", "fine_tuned", "speed"])
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--work", type=Path, help="folder that keeps the cut networks")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch_pruning()
    torch.set_num_threads(arguments.threads)
    if arguments.redo:
        arguments.out.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        run_all(arguments, arguments.work or Path(folder))


def run_all(arguments: argparse.Namespace, folder: Path) -> None:
    bench = Bench(arguments.assets, folder, arguments.precision)
    packages = {**package_versions(), "torch-pruning": torch_pruning().__version__}
    facts = {"machine": machine_facts(), "packages": packages, "threads": arguments.threads}
    repeats = 1 if arguments.quick else SPEED_REPEATS
    for job in jobs(arguments.img, SEEDS[:1] if arguments.quick else SEEDS):
        wanted = arguments.methods is None or job.method in arguments.methods
        if not wanted or job.kind not in arguments.kinds or job in measured(arguments.out):
            continue
        row = measure_speed(job, repeats) if job.kind == "speed" else bench.measure(job)
        print(*job, row, flush=True)
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**job._asdict(), **row, **facts}) + "\n")


if __name__ == "__main__":
    main()
