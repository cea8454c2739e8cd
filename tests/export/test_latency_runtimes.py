"""The contract of every runtime's row: times for any layer, in the order that was asked."""

import importlib.util
from typing import Any

import pytest

from prunus.core.errors import ExportError
from prunus.export.latency.lanes import vector_width
from prunus.export.latency.runtimes import RUNTIMES, Runtime
from prunus.export.latency.runtimes import onnx as onnx_row
from prunus.export.latency.runtimes import openvino as openvino_row
from prunus.export.latency.table import measure
from prunus.export.latency.timing import quiet_ms
from prunus.model.layers import ACTIVATIONS, DEPTHWISE, LayerShape

ROUNDS = 3
HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
every_runtime = pytest.mark.parametrize(
    "runtime",
    [
        pytest.param(
            row,
            id=name,
            marks=pytest.mark.skipif(
                name == "openvino" and not HAS_OPENVINO, reason="openvino is not installed"
            ),
        )
        for name, row in RUNTIMES.items()
    ],
)


def conv(side: int = 8, width: int = 3, **changes: object) -> LayerShape:
    pair = (width, width)
    fields = {
        "kind": "conv",
        "kernel": pair,
        "stride": (1, 1),
        "padding": (width // 2, width // 2),
        "dilation": (1, 1),
        "groups": 1,
        "size_hw": (side, side),
        "activation": "SiLU",
    }
    return LayerShape(**{**fields, **changes})  # type: ignore[arg-type]


LINE = {"kernel": (3,), "stride": (1,), "padding": (1,), "dilation": (1,), "size_hw": (9,)}
LAYERS = {
    "plain": conv(),
    "strided": conv(stride=(2, 2)),
    "depthwise": conv(groups=DEPTHWISE),
    "grouped": conv(groups=2),
    "line": conv(**LINE),
    "transposed": conv(width=2, kind="transposed", stride=(2, 2), padding=(0, 0)),
    "linear": LayerShape("linear", (), (), (), (), 1, (7,), "GELU"),
    "image": conv(batch=2, activation=""),
}


def check_times(runtime: Runtime, shape: LayerShape, points: list[tuple[int, int]]) -> None:
    timed = runtime.time_layers(shape, points, threads=1, rounds=ROUNDS)
    assert [len(times) for times in timed] == [ROUNDS] * len(points)
    assert all(0 <= ms < 1000 for times in timed for ms in times)


@every_runtime
@pytest.mark.parametrize("shape", LAYERS.values(), ids=LAYERS)
def test_times_any_layer_at_any_widths(runtime: Runtime, shape: LayerShape) -> None:
    same = shape.groups == DEPTHWISE
    check_times(
        runtime, shape, [(8, 8), (18, 18), (32, 32)] if same else [(4, 8), (32, 16), (18, 6)]
    )


@every_runtime
@pytest.mark.parametrize("activation", ["", *ACTIVATIONS])
def test_knows_every_activation(runtime: Runtime, activation: str) -> None:
    check_times(runtime, conv(activation=activation), [(3, 16), (3, 32), (16, 16), (16, 32)])


@every_runtime
def test_more_work_takes_longer_and_answers_come_in_order(runtime: Runtime) -> None:
    points = [(64, 64), (16, 16), (64, 128)]
    timed = runtime.time_layers(conv(side=24), points, threads=1, rounds=9)
    middle, least, most = map(quiet_ms, timed)
    assert 2 * least < middle < most


@every_runtime
def test_an_activation_is_part_of_the_price(runtime: Runtime) -> None:
    bare, softened = (
        quiet_ms(
            runtime.time_layers(conv(32, 1, activation=name), [(16, 32)], threads=1, rounds=9)[0]
        )
        for name in ("", "Tanh")
    )
    assert bare < softened


@every_runtime
@pytest.mark.parametrize("shape", LAYERS.values(), ids=LAYERS)
def test_a_lane_never_rounds_down_and_is_its_own_lane(runtime: Runtime, shape: LayerShape) -> None:
    for width in (1, 5, 16, 18, 40, 63, 64):
        lane = runtime.lane(shape, width, width, 16)
        assert lane.outputs >= width
        inputs = lane.outputs if shape.groups == DEPTHWISE else lane.inputs
        assert inputs >= width
        assert runtime.lane(shape, inputs, lane.outputs, 16) == lane


def test_onnx_runtime_falls_out_of_its_blocked_layout_at_odd_inputs() -> None:
    lane = RUNTIMES["onnx"].lane
    assert lane(conv(), 60, 49, 16) == lane(conv(), 64, 64, 16)
    assert lane(conv(), 61, 64, 16).name != lane(conv(), 60, 64, 16).name


def test_a_profile_is_read_from_feed_to_mean() -> None:
    """Two runs of warm-up, one that counts; a reorder belongs to the branch that it lies in."""
    microseconds = {
        "ReorderInput": 500,
        "feed00000": 1000,
        "ReorderOutput": 20,
        "layer00000.raw_nchwc": 300,
        "layer00000.act/QuickGeluFusion/": 4,
        "layer00000.mean_nchwc": 7000,
        "ReorderOutput_token_3": 90000,
        "feed00001": 600000,
        "layer00001": 50,
        "layer00001.mean": 8,
    }
    events: list[dict[str, Any]] = [{"cat": "Session", "name": "model_run", "dur": 999}]
    for _ in range(onnx_row.WARMUP + 1):
        for name, dur in microseconds.items():
            events.append({"cat": "Node", "name": f"{name}_fence_before", "dur": 77})
            events.append({"cat": "Node", "name": f"{name}_kernel_time", "dur": dur})
    assert onnx_row._times_ms(events, 2) == [[pytest.approx(0.324)], [pytest.approx(0.05)]]


def test_a_missing_runtime_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(openvino_row.importlib, "import_module", missing)
    with pytest.raises(ExportError, match="pip install openvino"):
        measure({}, "openvino")


def test_vectors_are_those_of_some_processor() -> None:
    assert vector_width() in (8, 16)


def test_a_real_table_of_two_tiny_layers(tmp_path: object) -> None:
    layers = {"a": (conv(), 3, 16), "b": (conv(width=1), 24, 20)}
    table = measure(layers, "onnx", cache=tmp_path)  # type: ignore[arg-type]
    for shape, inputs, outputs in layers.values():
        for narrow in range(1, inputs + 1):
            assert table.ms(shape, narrow, outputs) > 0
