"""Is a repair worth it when a fine-tune follows? BCCD, the models of a run of `prunus compress`.

Run: python benchmarks/repair_before_training.py --assets FOLDER --run RUN [--epochs 40]
RUN holds the folders 01-adapt and 03-sparsity of `prunus compress --data bccd.yaml --img 320`. Half
of the channels go, from the dense model or the one trained for sparsity, with either repair;
then the same fine-tune with the dense model as teacher. One JSON object a line, as it comes:
mAP50-95 as cut and after the fine-tune, on the validation and the test split. Rows that are there
are kept.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

from prunus.core.config import parse
from prunus.core.machine import machine_facts, package_versions
from prunus.evaluate.config import ValConfig
from prunus.pipeline.prune import prune
from prunus.pipeline.train import train
from prunus.pipeline.val import val
from prunus.prune.config import PruneConfig
from prunus.train.config import TrainConfig

SIDE = 320
CUT = {"percent": 0.5, "scope": "layer", "round_to": 16, "latency": False}
TRAINING = {
    "batch_size": 16,
    "nominal_batch": 16,
    "hyp": "scratch-low",
    "patience": 0,
    "auto_anchor": False,
}


class Job(NamedTuple):
    """What one row measures."""

    start: str
    criterion: str
    repair: str
    seed: int = 0


JOBS = (
    Job("sparsity", "bn_scale", "bn"),
    Job("sparsity", "bn_scale", "ridge"),
    Job("adapt", "reconstruction", "ridge"),
    Job("adapt", "reconstruction", "bn"),
    Job("sparsity", "reconstruction", "ridge"),
    Job("sparsity", "bn_scale", "bn", 1),
    Job("sparsity", "bn_scale", "ridge", 1),
)


def accuracy(weights: Path, data: Path, split: str, out: Path) -> float:
    settings = {
        "weights": weights,
        "data": data,
        "split": split,
        "image_size": SIDE,
        "precision": "fp32",
        "plots": False,
        "out": out,
    }
    metrics: Any = val(parse(ValConfig, settings))["metrics"]
    return round(float(metrics["map50_95"]), 4)


def measure(
    job: Job, models: dict[str, Path], data: Path, epochs: int, out: Path
) -> dict[str, Any]:
    folder = out / "-".join(map(str, job))
    settings = {
        **CUT,
        "weights": models[job.start],
        "data": data,
        "image_size": SIDE,
        "criterion": job.criterion,
        "repair": job.repair,
        "out": folder / "prune",
    }
    cut: Any = prune(parse(PruneConfig, settings))
    settings = {
        **TRAINING,
        "weights": cut["weights"],
        "teacher": models["adapt"],
        "data": data,
        "image_size": SIDE,
        "epochs": epochs,
        "close_mosaic": epochs // 5,
        "seed": job.seed,
        "out": folder / "finetune",
    }
    best = Path(str(train(parse(TrainConfig, settings))["best"]))
    return {
        "as_cut": accuracy(Path(cut["weights"]), data, "val", folder / "cut-val"),
        "val": accuracy(best, data, "val", folder / "val"),
        "test": accuracy(best, data, "test", folder / "test"),
        "params": cut["after"]["params"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/repair_before_training.jsonl")
    )
    arguments = parser.parse_args()
    models = {
        "adapt": arguments.run / "01-adapt" / "best.safetensors",
        "sparsity": arguments.run / "03-sparsity" / "last.safetensors",
    }
    data = arguments.assets / "data" / "bccd.yaml"
    lines = arguments.out.read_text("utf-8").splitlines() if arguments.out.exists() else []
    known = {tuple(json.loads(line)["job"]) for line in lines}
    facts = {"machine": machine_facts(), "packages": package_versions()}
    for job in JOBS:
        if tuple(job) in known:
            continue
        row = measure(job, models, data, arguments.epochs, arguments.work)
        row = {"job": list(job), "epochs": arguments.epochs, **row, **facts}
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(job, {key: row[key] for key in ("as_cut", "val", "test")}, flush=True)


if __name__ == "__main__":
    main()
