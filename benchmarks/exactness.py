"""How exactly networks are cut: blocks, models that nobody here wrote, random graphs.

Run: python benchmarks/exactness.py --out benchmarks/results/exactness.jsonl
One JSON object a network: the best of three trace times, its groups and channels, how many of them
are pinned for which reason, and for random cuts of 30 and 50 % of the free channels of each group
the parameters left, the largest difference between the pruned and the masked network (relative to
the largest output, in double precision), what had to be pinned after a first cut failed, and the
seconds of trace, cut and proof together. The last object is about the random graphs.
"""

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from networks.blocks import BLOCKS
from networks.cuts import enliven_, parameters_of, random_share
from networks.detector_blocks import DETECTOR_BLOCKS, INPUTS
from networks.foreign import ASKED, MORE
from networks.graphs import OPTIONS, SIDE, STEPS, Graph
from torch import nn

from prunus.core.machine import machine_facts, package_versions
from prunus.model.channels.trace import trace
from prunus.prune.proof import cut_exactly

CUTS = (0.3, 0.5)
REPEATS = 3
GRAPHS = 300
LONGEST = 7
"""Steps of a random graph."""
Row = dict[str, object]
Make = Callable[[], tuple[nn.Module, Any]]


def networks() -> Iterator[tuple[str, str, Make]]:
    """Yield (kind, name, what makes the network and its inputs)."""
    for block in BLOCKS:
        yield "block", block.__name__, partial(beside, block, torch.rand(2, 3, 8, 8))
    for name, made in DETECTOR_BLOCKS.items():
        inputs = INPUTS.get(name, torch.rand(2, 3, 16, 16))
        yield "block", name, partial(beside, made, inputs)
    for name, model in {**ASKED, **MORE}.items():
        yield "model", name, model


def beside(make: Callable[[], nn.Module], inputs: Any) -> tuple[nn.Module, Any]:
    return make(), inputs


def measure(kind: str, name: str, make: Make) -> Row:
    torch.manual_seed(0)
    network, inputs = make()
    enliven_(network)
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        table = trace(network, inputs)
        seconds.append(time.perf_counter() - start)
    pinned: Counter[str] = Counter()
    for group in table.groups:
        if group.frozen:
            pinned[group.frozen.split(" in ")[0]] += len(group)
    return {
        "kind": kind,
        "network": name,
        "trace_seconds": round(min(seconds), 4),
        "groups": len(table.groups),
        "channels": sum(len(group) for group in table.groups),
        "free": sum(len(group) for group in table.free_groups),
        "pinned": dict(pinned),
        "apart": len(table.apart),
        "cuts": {f"{share:.0%}": cut_once(network, inputs, share) for share in CUTS},
    }


def cut_once(network: nn.Module, inputs: Any, share: float) -> Row:
    start = time.perf_counter()
    proved = cut_exactly(network, inputs, random_share(share))
    return {
        "relative_error": proved.error,
        "parameters": [parameters_of(network), parameters_of(proved.model)],
        "removed": len(proved.tags),
        "pinned_after_failures": list(proved.pinned),
        "seconds": round(time.perf_counter() - start, 3),
    }


def measure_graphs() -> Row:
    """Cut random graphs; return how many, the largest error and the seconds."""
    dice, errors, mended = random.Random(0), [], 0
    start = time.perf_counter()
    for number in range(GRAPHS):
        plan = [
            (dice.randrange(len(STEPS)), dice.randrange(10), dice.randrange(10), option)
            for option in dice.choices(range(OPTIONS), k=dice.randint(2, LONGEST))
        ]
        network = enliven_(Graph(plan))
        image = torch.rand(2, 3, SIDE, SIDE)
        proved = cut_exactly(network, image, random_share(CUTS[number % len(CUTS)], number))
        errors.append(proved.error)
        mended += bool(proved.pinned)
    return {
        "kind": "random graphs",
        "count": GRAPHS,
        "operations": len(STEPS),
        "largest_relative_error": max(errors),
        "pinned_after_failures": mended,
        "seconds": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/exactness.jsonl"))
    arguments = parser.parse_args()
    facts = {"machine": machine_facts(), "packages": package_versions()}
    start = time.perf_counter()
    rows: list[Row] = []
    for kind, name, make in networks():
        row = measure(kind, name, make)
        cuts: Any = row["cuts"]
        print(name, row["trace_seconds"], *(cut["relative_error"] for cut in cuts.values()))
        rows.append(row)
    rows.append(measure_graphs())
    lines = (json.dumps({**row, **facts}) + "\n" for row in rows)
    arguments.out.write_text("".join(lines), encoding="utf-8")
    counts = Counter(row["kind"] for row in rows[:-1])
    print(
        f"{counts['block']} blocks, {counts['model']} models and {GRAPHS} random graphs "
        f"in {time.perf_counter() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
