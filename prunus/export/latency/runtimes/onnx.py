"""Layers in ONNX Runtime on the CPU, float32: each kernel's own time, read off its profiler.

A whole branch would also pay for its ends, which a layer within a network does not. The reorder of
its input, where its widths make one necessary, is the layer's own.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from prunus.export.latency.lanes import UNALIGNED, Lane, rounded_up
from prunus.export.latency.runtimes.graph import branch_name, build, feed_name
from prunus.model.layers import DEPTHWISE, LayerShape

WARMUP = 2
CHANNEL_ALIGNMENT = 4
"""Fewer aligned input channels than this fall out of the blocked layout (measured: 60 -> 61)."""
KERNEL = "_kernel_time"


def version() -> str:
    return str(onnxruntime.__version__)


def lane(shape: LayerShape, inputs: int, outputs: int, vector: int) -> Lane:
    """Return where a pair is priced, after the layouts that ONNX Runtime chooses from.

    Measured: outputs go in steps of a vector. Inputs do too where they are multiples of 4; fewer
    than a vector are read unblocked, in proportion; others fall back to a matrix product.
    """
    upper = rounded_up(outputs, vector)
    if shape.groups == DEPTHWISE:
        aligned = outputs % vector == 0
        return Lane("depthwise", 1, upper) if aligned else Lane(UNALIGNED, 1, outputs)
    if shape.kind != "conv" or len(shape.kernel) != 2 or shape.groups != 1:
        return Lane("product", inputs, outputs)
    if inputs < vector:
        return Lane("few", inputs, upper)
    if inputs % CHANNEL_ALIGNMENT == 0:
        return Lane("blocked", rounded_up(inputs, vector), upper)
    return Lane(UNALIGNED, inputs, outputs)


def time_layers(
    shape: LayerShape, points: Sequence[tuple[int, int]], *, threads: int, rounds: int
) -> list[list[float]]:
    """Time a layer at several widths; see `runtimes.TimeLayers`."""
    content, feeds = build(shape, points)
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for _ in range(WARMUP + rounds):
            session.run(None, feeds)
        profile = Path(session.end_profiling()).read_text(encoding="utf-8")
    return _times_ms(json.loads(profile), len(points))


def _times_ms(events: list[dict[str, Any]], count: int) -> list[list[float]]:
    """Return each branch's times after the warm-up: the sum of its kernels in each run.

    Events come in the order of execution. Reorders have no telling names: one between a branch's
    feed and its mean is the layer's.
    """
    feeds = {feed_name(number): number for number in range(count)}
    branches = {branch_name(number): number for number in range(count)}
    times_ms: list[list[float]] = [[] for _ in range(count)]
    current: int | None = None
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith(KERNEL):
            continue
        if name[: len(feed_name(0))] in feeds:
            current = feeds[name[: len(feed_name(0))]]
            times_ms[current].append(0.0)
        elif ".mean" in name:
            current = None
        elif (owner := branches.get(name[: len(branch_name(0))], current)) is not None:
            times_ms[owner][-1] += event["dur"] / 1e3
    return [times[WARMUP:] for times in times_ms]
