"""The contract of every runtime's row: times for any layer, in the order that was asked."""

import importlib.util
import io
from typing import Any

import pytest
from torch import bfloat16, dtype, float32
from torch.nn.modules.module import register_module_forward_hook

from prunus.core.errors import ExportError
from prunus.export.engines.openvino import HINTS, the_core
from prunus.export.latency.lanes import vector_width
from prunus.export.latency.runtimes import RUNTIMES, Precision, Runtime
from prunus.export.latency.runtimes import onnx as onnx_row
from prunus.export.latency.runtimes import openvino as openvino_row
from prunus.export.latency.runtimes.graph import build, feed_name
from prunus.export.latency.table import measure
from prunus.export.latency.timing import quiet_ms
from prunus.model.layers import ACTIVATIONS, DEPTHWISE, LayerShape

ROUNDS = 3
HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not HAS_OPENVINO, reason="openvino is not installed")
every_runtime = pytest.mark.parametrize("runtime", RUNTIMES.values(), ids=RUNTIMES)
every_precision = pytest.mark.parametrize(
    "precision",
    [
        pytest.param(
            precision,
            id=f"{name}-{word}",
            marks=needs_openvino if name == "openvino" else (),
        )
        for name, row in RUNTIMES.items()
        for word, precision in row.precisions.items()
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


def check_times(precision: Precision, shape: LayerShape, points: list[tuple[int, int]]) -> None:
    timed = precision.time_layers(shape, points, threads=1, rounds=ROUNDS)
    assert [len(times) for times in timed] == [ROUNDS] * len(points)
    assert all(0 <= ms < 1000 for times in timed for ms in times)


@every_precision
@pytest.mark.parametrize("shape", LAYERS.values(), ids=LAYERS)
def test_times_any_layer_at_any_widths(precision: Precision, shape: LayerShape) -> None:
    same = shape.groups == DEPTHWISE
    check_times(
        precision, shape, [(8, 8), (18, 18), (32, 32)] if same else [(4, 8), (32, 16), (18, 6)]
    )


@every_precision
@pytest.mark.parametrize("activation", ["", *ACTIVATIONS])
def test_knows_every_activation(precision: Precision, activation: str) -> None:
    check_times(precision, conv(activation=activation), [(3, 16), (3, 32), (16, 16), (16, 32)])


@every_precision
def test_more_work_takes_longer_and_answers_come_in_order(precision: Precision) -> None:
    points = [(64, 64), (16, 16), (64, 128)]
    timed = precision.time_layers(conv(side=24), points, threads=1, rounds=9)
    middle, least, most = map(quiet_ms, timed)
    assert 2 * least < middle < most


@every_precision
def test_an_activation_is_part_of_the_price(precision: Precision) -> None:
    bare, softened = (
        quiet_ms(
            precision.time_layers(conv(64, 1, activation=name), [(16, 32)], threads=1, rounds=9)[0]
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


def test_one_interruption_is_not_told_again_and_again() -> None:
    """Two calls of warm-up, four of 0.1 ms and one that was interrupted, told as running means."""
    own = [5.0, 0.3, 0.1, 0.1, 4.0, 0.1, 0.1]
    means = [sum(own[:number]) / number for number in range(1, len(own) + 1)]
    assert openvino_row._undisturbed_ms(means) == pytest.approx(0.1)


@pytest.mark.parametrize("own", [[0.2] * 10, [0.0] * 10, [0.4, 0.3, 0.30, 0.31, 0.29, 0.3]])
def test_undisturbed_calls_all_count(own: list[float]) -> None:
    means = [sum(own[:number]) / number for number in range(1, len(own) + 1)]
    after = own[openvino_row.WARMUP :]
    assert openvino_row._undisturbed_ms(means) == pytest.approx(sum(after) / len(after))


@needs_openvino
@pytest.mark.parametrize(("goes_on", "written"), [(True, "bf16"), (False, "f32")])
def test_a_layer_that_others_follow_writes_bfloat16(goes_on: bool, written: str) -> None:
    """As in a whole network: only what no product follows stays float32."""
    content, _ = build(conv(), [(16, 16)], goes_on=goes_on)
    core = the_core()
    settings = {"INFERENCE_PRECISION_HINT": HINTS["bf16"]}
    compiled = core.compile_model(core.read_model(io.BytesIO(content)), "CPU", settings)
    layers = [
        node.get_rt_info()
        for node in compiled.get_runtime_model().get_ops()
        if node.get_friendly_name().startswith("layer00000/")
    ]
    (found,) = [layer for layer in layers if layer["layerType"].value == "Convolution"]
    if found["runtimePrecision"].value == "f32":
        pytest.skip("this processor computes bfloat16 in float32")
    assert found["outputPrecisions"].value == written


@needs_openvino
@pytest.mark.parametrize("precision", RUNTIMES["openvino"].precisions)
def test_openvino_times_layers_in_the_precision_asked_for(
    monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    heard: list[dict[str, object]] = []
    core = the_core()

    class Listening:
        read_model = staticmethod(core.read_model)

        @staticmethod
        def compile_model(model: Any, device: str, settings: dict[str, object]) -> Any:
            heard.append(settings)
            return core.compile_model(model, device, settings)

    monkeypatch.setattr(openvino_row, "the_core", Listening)
    check_times(RUNTIMES["openvino"].precisions[precision], conv(), [(16, 16)])
    assert [settings["INFERENCE_PRECISION_HINT"] for settings in heard] == [HINTS[precision]]


@needs_openvino
def test_what_brings_an_image_into_the_layers_layout_is_the_layers_own() -> None:
    content, _ = build(conv(), [(3, 16)])
    core = the_core()
    compiled = core.compile_model(core.read_model(io.BytesIO(content)), "CPU")
    executed = compiled.get_runtime_model()
    kinds = {
        node.get_friendly_name(): node.get_rt_info()["layerType"].value
        for node in executed.get_ops()
    }
    own = openvino_row._branches(executed, 1)
    assert "Convolution" in {kinds[name] for name in own}
    assert feed_name(0) not in own
    assert all(name in own for name in kinds if name.startswith(f"{feed_name(0)}_"))


@pytest.mark.parametrize(("precision", "kind"), [("fp32", float32), ("bf16", bfloat16)])
def test_torch_times_layers_in_the_precision_asked_for(precision: str, kind: dtype) -> None:
    written = []
    hook = register_module_forward_hook(lambda *call: written.append(call[-1].dtype))
    try:
        check_times(RUNTIMES["torch"].precisions[precision], conv(), [(3, 16), (16, 16)])
    finally:
        hook.remove()
    assert set(written) == {kind}


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
