"""How far every exported file is from torch: models, dense and pruned, static and dynamic.

Run: python benchmarks/parity.py --assets FOLDER --out benchmarks/results/parity.jsonl
One JSON object a file: the largest differences of candidates and of boxes after suppression on real
images of coco256's validation split at 320 pixels. yolov5n has its official weights; yolov5s and
yolov5n6 random ones, with batch norms that have seen the images and a head that is not shy, so that
there are boxes to compare. Pruned: to 80 % of the FLOPs by L2, batch norm re-estimated, so that
these find something too.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from torch import nn

from prunus.core.machine import machine_facts, package_versions
from prunus.data.spec import read_data
from prunus.export.backends import BACKENDS
from prunus.export.form import Form, Suppression
from prunus.export.run import export
from prunus.export.samples import images_of_data
from prunus.model.build import build_detector
from prunus.model.cost import count_parameters
from prunus.model.detector import Detector
from prunus.model.spec import read_arch
from prunus.prune.detectors import probe
from prunus.prune.evidence import Calibration
from prunus.prune.run import prune
from prunus.weights.files import load_weights

SIDE, IMAGES = 320, 8
RANDOM = ("yolov5s", "yolov5n6")
FORMS = {
    "static": Form((SIDE, SIDE)),
    "dynamic": Form((SIDE, SIDE), dynamic=True),
    "half": Form((SIDE, SIDE), half=True),
    "with suppression": Form((SIDE, SIDE), suppression=Suppression()),
}
ONLY = {"half": ("onnx", "openvino"), "with suppression": ("onnx",)}


def lively(name: str, names: tuple[str, ...], images: torch.Tensor) -> Detector:
    """Return a random detector that finds something."""
    torch.manual_seed(0)
    detector = build_detector(read_arch(name), names).train()
    norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
            norm.weight.uniform_(0.5, 1.0)
            norm.bias.normal_(0, 0.2)
        detector(images.float() / 255)
        for norm in norms:  # quiet channels must not be blown up: they would magnify rounding
            cast(torch.Tensor, norm.running_var).clamp_(min=0.1)
        for conv in detector.head.m:
            cast(nn.Conv2d, conv).weight.mul_(20)
            bias = cast(torch.Tensor, cast(nn.Conv2d, conv).bias).view(3, -1)
            bias[:, 4] += 4
            bias[:, 5:] += 2
    return detector.eval()


def detectors(assets: Path, images: torch.Tensor) -> Iterator[tuple[str, str, Detector]]:
    """Yield name, kind and detector."""
    names = tuple(read_data(assets / "data" / "coco256.yaml").names)
    dense = {"yolov5n": load_weights(assets / "weights" / "yolov5n.pt").detector.eval()}
    dense.update({name: lively(name, names, images) for name in RANDOM})
    for name, detector in dense.items():
        yield name, "dense", detector
        cut = prune(
            detector,
            probe(detector),
            flops=0.8,
            criterion="l2",
            calibration=Calibration(lambda: [images.float() / 255], total=1),
            repair="bn",
        )
        yield name, "pruned", cast(Detector, cut.model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/parity.jsonl"))
    arguments = parser.parse_args()
    images = images_of_data(arguments.assets / "data" / "coco256.yaml", (SIDE, SIDE), IMAGES)
    facts = {"machine": machine_facts(), "packages": package_versions()}
    rows = []
    for name, kind, detector in detectors(arguments.assets, images):
        for runtime, backend in BACKENDS.items():
            for form_name, form in FORMS.items():
                if backend.write is None or runtime not in ONLY.get(form_name, (runtime,)):
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / f"model{backend.suffix}"
                    result = export(detector, path, runtime, form, images)
                rows.append(
                    {
                        "model": name,
                        "kind": kind,
                        "runtime": runtime,
                        "form": form_name,
                        "parameters": count_parameters(detector),
                        **vars(result.parity),
                        "file_mb": round(result.megabytes, 3),
                        "seconds": round(result.seconds, 2),
                        **facts,
                    }
                )
                print({key: rows[-1][key] for key in list(rows[-1])[:11]}, flush=True)
    arguments.out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
