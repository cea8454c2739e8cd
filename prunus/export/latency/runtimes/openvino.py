"""Layers in OpenVINO on the CPU, float32 or bfloat16: each kernel's time, read off its profiler.

The reorder of a layer's input, and with bfloat16 the conversion of an image, are the layer's own.
"""

import importlib
import io
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import Any

from prunus.core.errors import ExportError
from prunus.export.engines.openvino import HINTS, the_core
from prunus.export.latency.lanes import Lane, rounded_up
from prunus.export.latency.runtimes.graph import build, feed_name, mean_name
from prunus.model.layers import DEPTHWISE, LayerShape

WARMUP = 2
DISTURBED = 1.5
"""From so many times the median on, a call was interrupted: another's turn lasts milliseconds."""
BROUGHT = ("Reorder", "Convert")
"""Nodes that OpenVINO adds between a feed and a layer."""
MICROSECOND = 1e-3
"""What the profiler counts in, in milliseconds."""


def version() -> str:
    return str(_openvino().__version__).partition("-")[0]


def lane(shape: LayerShape, inputs: int, outputs: int, vector: int) -> Lane:
    """Return where a pair is priced: measured steps in the outputs, proportion in the inputs."""
    upper = rounded_up(outputs, vector)
    return Lane("depthwise", 1, upper) if shape.groups == DEPTHWISE else Lane("", inputs, upper)


def time_layers(
    shape: LayerShape,
    points: Sequence[tuple[int, int]],
    *,
    threads: int,
    rounds: int,
    precision: str,
) -> list[list[float]]:
    """Time a layer at several widths; see `runtimes.TimeLayers`.

    All calls of a point are told as equally long: their mean, without the interrupted ones.

    Args:
        shape: Of the layer. In bfloat16 it is priced as one that others follow. The last ones
            write float32, which takes longer, by as much whatever of their inputs is cut.
        points: Its channels in and out.
        threads: To compute with.
        rounds: Calls.
        precision: fp32 or bf16.

    Raises:
        ExportError: OpenVINO is not installed.
    """
    _openvino()
    content, feeds = build(shape, points, goes_on=precision == "bf16")
    core = the_core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "PERF_COUNT": True,
    }
    compiled = core.compile_model(core.read_model(io.BytesIO(content)), "CPU", settings)
    request = compiled.create_infer_request()
    branches = _branches(compiled.get_runtime_model(), len(points))
    means_ms = []
    for _ in range(WARMUP + rounds):
        request.infer(feeds)
        means_ms.append(_spent_ms(request.profiling_info, branches, len(points)))
    return [[_undisturbed_ms(means)] * rounds for means in zip(*means_ms, strict=True)]


def _undisturbed_ms(means_ms: Sequence[float]) -> float:
    """Return the milliseconds of a call after the warm-up.

    OpenVINO does not tell a call's own time, only the mean of all calls so far, in whole
    microseconds. One interruption would so lengthen all calls after it.

    Args:
        means_ms: After the first call, the second, ...
    """
    totals = [number * mean for number, mean in enumerate(means_ms, start=1)]
    own = [after - before for before, after in pairwise(totals[WARMUP - 1 :])]
    most = DISTURBED * median(own) + len(totals) * MICROSECOND
    return max(0.0, fmean(ms for ms in own if ms <= most))


def _branches(executed: Any, count: int) -> dict[str, int]:
    """Return the branch that each executed node computes for, by the node's name.

    Nodes are renamed and merged, so each branch is walked from its mean back to its feed.
    """
    means = {mean_name(number): number for number in range(count)}
    found = {}
    for mean in executed.get_ops():
        if mean.get_friendly_name() not in means:
            continue
        behind = _producers(mean)
        while behind:
            node = behind.pop()
            if not _is_entry(node):
                found[node.get_friendly_name()] = means[mean.get_friendly_name()]
                behind += _producers(node)
    return found


def _producers(node: Any) -> list[Any]:
    return [end.get_source_output().get_node() for end in node.inputs()]


def _is_entry(node: Any) -> bool:
    """Return whether this is a feed, an input or a constant.

    What brings a feed into the layer's layout or precision bears the feed's name, and is none.
    """
    kind = node.get_rt_info()["layerType"].value
    if kind in BROUGHT:
        return False
    return kind in ("Input", "Const") or node.get_friendly_name().startswith(feed_name(0)[:4])


def _spent_ms(profile: Any, branches: dict[str, int], count: int) -> list[float]:
    """Return each branch's time, the mean of all runs so far."""
    spent = [0.0] * count
    for node in profile:
        if node.node_name in branches:
            spent[branches[node.node_name]] += node.real_time.total_seconds() * 1e3
    return spent


def _openvino() -> Any:
    try:
        return importlib.import_module("openvino")  # late: it is optional, and takes 280 ms
    except ImportError as error:
        raise ExportError(
            "latency table: OpenVINO is not installed. Run: pip install openvino"
        ) from error
