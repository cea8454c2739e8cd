"""Trace time of YOLOv5, and how far cut networks are from masked ones.

Run: python benchmarks/tracer.py --out benchmarks/results/tracer.jsonl
One JSON object a line: the model, the best of three trace times, and for random cuts of 30, 50 and
80 % of the channels of each group the largest difference between the cut network and the one whose
gammas and betas of these channels are zero, relative to the largest output. Statistics of batch
norms are random, so that nothing is near zero by chance.
"""

import argparse
import copy
import json
import time
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from prunus.core.machine import machine_facts, package_versions
from prunus.model.build import build_detector
from prunus.model.channels.table import ChannelTable
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.model.spec import read_arch
from prunus.prune.surgery import remove

MODELS = ("yolov5n", "yolov5s", "yolov5m", "yolov5l", "yolov5x", "yolov5n6")
CUTS = (0.3, 0.5, 0.8)
REPEATS = 3


def lively(name: str) -> Detector:
    """Return a detector whose batch norms all do something."""
    torch.manual_seed(0)
    detector = build_detector(read_arch(name), [f"class {i}" for i in range(80)]).eval()
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            cast(Tensor, module.running_mean).normal_(std=0.1)
            cast(Tensor, module.running_var).uniform_(0.5, 1.5)
    return detector


def random_cut(table: ChannelTable, share: float) -> Tensor:
    """Return tags: this share of the channels of each group, at random."""
    generator = torch.Generator().manual_seed(0)
    gone = []
    for group in table.free_groups:
        order = torch.randperm(len(group), generator=generator)
        gone.append(group.tags[order[: int(share * len(group))]])
    return torch.cat(gone)


def mask_norms_(detector: Detector, table: ChannelTable, tags: Tensor) -> None:
    """Set gamma and beta of the cut channels to zero, and nothing else."""
    tensors = dict(detector.named_parameters())
    with torch.no_grad():
        for (name, dimension), held in table.tags.items():
            if table.roles[name, dimension] in ("scale", "offset"):
                tensors[name][torch.isin(held, tags)] = 0


def measure(name: str) -> dict[str, object]:
    detector = lively(name)
    image = torch.rand(1, 3, 2 * detector.stride, 2 * detector.stride)
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        table = trace(detector, image)
        seconds.append(time.perf_counter() - start)
    errors = {}
    for share in CUTS:
        tags = random_cut(table, share)
        masked = copy.deepcopy(detector)
        mask_norms_(masked, table, tags)
        with torch.no_grad():
            pairs = list(zip(remove(detector, table, tags)(image), masked(image), strict=True))
        errors[f"{share:.0%}"] = max(
            float((one - other).abs().max() / other.abs().max()) for one, other in pairs
        )
    return {"model": name, "trace_seconds": round(min(seconds), 3), "relative_error": errors}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tracer.jsonl"))
    arguments = parser.parse_args()
    facts = {"machine": machine_facts(), "packages": package_versions()}
    rows = [{**measure(name), **facts} for name in MODELS]
    arguments.out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for row in rows:
        print(row["model"], row["trace_seconds"], row["relative_error"])


if __name__ == "__main__":
    main()
