"""Layers in OpenVINO on the CPU, float32: each kernel's own time, read off its profiler."""

import importlib
import io
from collections.abc import Sequence
from typing import Any

from prunus.core.errors import ExportError
from prunus.export.engines.openvino import the_core
from prunus.export.latency.lanes import Lane, rounded_up
from prunus.export.latency.runtimes.graph import build, feed_name, mean_name
from prunus.model.layers import DEPTHWISE, LayerShape

WARMUP = 2


def version() -> str:
    return str(_openvino().__version__).partition("-")[0]


def lane(shape: LayerShape, inputs: int, outputs: int, vector: int) -> Lane:
    """Return where a pair is priced: measured steps in the outputs, proportion in the inputs."""
    upper = rounded_up(outputs, vector)
    return Lane("depthwise", 1, upper) if shape.groups == DEPTHWISE else Lane("", inputs, upper)


def time_layers(
    shape: LayerShape, points: Sequence[tuple[int, int]], *, threads: int, rounds: int
) -> list[list[float]]:
    """Time a layer at several widths; see `runtimes.TimeLayers`.

    Raises:
        ExportError: OpenVINO is not installed.
    """
    _openvino()
    content, feeds = build(shape, points)
    core = the_core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERF_COUNT": True,
    }
    compiled = core.compile_model(core.read_model(io.BytesIO(content)), "CPU", settings)
    request = compiled.create_infer_request()
    branches = _branches(compiled.get_runtime_model(), len(points))
    times_ms: list[list[float]] = [[] for _ in points]
    for number in range(WARMUP + rounds):
        request.infer(feeds)
        if number >= WARMUP:
            for times, spent in zip(
                times_ms, _spent_ms(request.profiling_info, branches, len(points)), strict=True
            ):
                times.append(spent)
    return times_ms


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
    """Return whether this is a feed, an input or a constant."""
    kind = node.get_rt_info()["layerType"].value
    return kind in ("Input", "Const") or node.get_friendly_name().startswith(feed_name(0)[:4])


def _spent_ms(profile: Any, branches: dict[str, int], count: int) -> list[float]:
    """Return each branch's time in one run."""
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
