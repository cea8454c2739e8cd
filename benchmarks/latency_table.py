"""Latency predicted from layers' widths, against cut yolov5n really measured.

Run: python benchmarks/latency_table.py --weights yolov5n.pt
One JSON object a line: runtime, precision, image size, cut, and milliseconds (quiet end of the
process's own time, one thread, all networks in turn), with the speed-up measured and predicted
twice: from the dense network's time alone, and with the uniform 50 % cut as a second fixed point.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch

from prunus.core.device import keep_freed_pages
from prunus.core.machine import machine_facts, package_versions
from prunus.core.records import Runner
from prunus.export.backends import BACKENDS, find_writer
from prunus.export.benchmark import torch_threads
from prunus.export.form import Form
from prunus.export.latency.predict import Layers, correction, layers_ms, predict
from prunus.export.latency.runtimes import RUNTIMES
from prunus.export.latency.table import LatencyTable, measure
from prunus.export.latency.timing import time_in_turn
from prunus.model.detector import Detector
from prunus.model.fuse import fuse
from prunus.model.layers import sized_layers
from prunus.model.runner import TorchRunner
from prunus.prune.detectors import probe
from prunus.prune.run import prune
from prunus.weights.files import load_weights

SIZES = (320, 640)
CUTS = (0.3, 0.5, 0.7)
SECOND_POINT = "layer 50 %"
ROUNDS = 24
Call = Callable[[], object]


def networks(dense: Detector) -> dict[str, Detector]:
    """Return the dense network and its cuts: the same share of each layer, or one threshold."""
    found = {"dense": dense}
    for percent in CUTS:
        for scope in ("layer", "global"):
            cut = prune(dense, probe(dense), percent=percent, scope=scope, criterion="l1")
            found[f"{scope} {percent:.0%}".replace("%", " %")] = cast(Detector, cut.model)
    return found


def layers_of(detector: Detector, side: int) -> Layers:
    return sized_layers(detector, torch.empty(1, 3, side, side, device="meta"))


def call_of(detector: Detector, runtime: str, precision: str, side: int, folder: Path) -> Call:
    """Return what runs a detector on one image, as the product does."""
    runner: Runner
    if BACKENDS[runtime].write is None:
        runner = TorchRunner(fuse(detector), torch.device("cpu"), precision)
    else:
        suffix, write = find_writer(runtime)
        path = folder / f"{id(detector)}{suffix}"
        write(detector, path, Form((side, side)))
        runner = BACKENDS[runtime].open(path, device="cpu", precision=precision, threads=1)
    image = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    return lambda: runner(image)


def table_for(
    layers: Layers, runtime: str, precision: str, folder: Path
) -> tuple[LatencyTable, float]:
    """Return a table measured now, and the seconds that it took."""
    start = time.perf_counter()
    table = measure(layers, runtime, precision=precision, cache=folder)
    return table, time.perf_counter() - start


def rows(
    detectors: dict[str, Detector], runtime: str, precision: str, side: int
) -> list[dict[str, object]]:
    layers = {name: layers_of(detector, side) for name, detector in detectors.items()}
    with tempfile.TemporaryDirectory() as temporary, torch_threads(1):
        folder = Path(temporary)
        table, seconds = table_for(layers["dense"], runtime, precision, folder / "cache")
        calls = {
            name: call_of(detector, runtime, precision, side, folder)
            for name, detector in detectors.items()
        }
        measured = time_in_turn(calls, rounds=ROUNDS)
    points = [(layers[name], measured[name]) for name in ("dense", SECOND_POINT)]
    corrections = {"": correction(table, points[:1]), "_two_points": correction(table, points)}
    found = []
    for name, ms in measured.items():
        row: dict[str, object] = {
            "runtime": runtime,
            "precision": precision,
            "side": side,
            "cut": name,
            "measured_ms": round(ms, 3),
            "layers_ms": round(layers_ms(table, layers[name]), 3),
            "measured_speedup": round(measured["dense"] / ms, 3),
        }
        for suffix, line in corrections.items():
            predicted = predict(table, layers[name], line)
            row[f"predicted_ms{suffix}"] = round(predicted, 3)
            dense_ms = predict(table, layers["dense"], line)
            row[f"predicted_speedup{suffix}"] = round(dense_ms / predicted, 3)
        found.append({**row, "table": table.describe(), "table_seconds": round(seconds, 1)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="official yolov5n.pt")
    parser.add_argument("--runtimes", nargs="+", default=["onnx", "torch"], choices=RUNTIMES)
    parser.add_argument("--precisions", nargs="+", default=["fp32"], choices=["fp32", "bf16"])
    parser.add_argument("--img", nargs="+", type=int, default=SIZES)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/latency_table.jsonl"))
    arguments = parser.parse_args()
    keep_freed_pages()
    detectors = networks(load_weights(arguments.weights).detector)
    facts = {"machine": machine_facts(), "packages": package_versions()}
    found = [
        {**row, **facts}
        for runtime in arguments.runtimes
        for precision in arguments.precisions
        if precision in RUNTIMES[runtime].precisions
        for side in arguments.img
        for row in rows(detectors, runtime, precision, side)
    ]
    text = "".join(json.dumps(row) + "\n" for row in found)
    arguments.out.write_text(text, encoding="utf-8")
    for row in found:
        keys = ("measured_ms", "measured_speedup", "predicted_speedup")
        figures = [row[key] for key in (*keys, "predicted_speedup_two_points", "table_seconds")]
        print(row["runtime"], row["precision"], row["side"], row["cut"], *figures)


if __name__ == "__main__":
    main()
