"""What ships, whether the target is met, and whether pruning paid: from models made up by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prunus.cli.compress import status
from prunus.core.config import parse
from prunus.core.errors import ExportError
from prunus.pipeline.chain.stage import Done, Stage
from prunus.pipeline.compress.config import CompressConfig
from prunus.pipeline.compress.ship import Shipped
from prunus.pipeline.compress.target import Target, target_of
from prunus.pipeline.compress.verdict import Finding, find
from prunus.pipeline.compress.work import Model


def model(role: str, map50_95: float, ms: float | None) -> Shipped:
    """Return a model whose name and step are its role; one that ships lost 1 to 3 points."""
    report: dict[str, Any] = {"metrics": {"map50_95": map50_95}}
    if "result" in role:
        report["comparison"] = {"mAP50-95": {"interval": [-0.03, -0.01]}}
    int8 = role.startswith("quantized")
    times = {} if ms is None else {"onnx int8" if int8 else "onnx fp32": ms}
    judged = Done(Stage(role, "val", {}), Path(), report)
    return Shipped(Model(role, role, role, "", Path(), judged), Path(), latency_ms=times, int8=int8)


PARENT, LONGER = model("parent", 0.60, 12.0), model("longer", 0.62, 12.0)
RESULT, FAST_INT8 = model("result", 0.61, 6.0), model("quantized result", 0.605, 4.0)


def target(**values: Any) -> Target:
    return target_of(parse(CompressConfig, {"data": "d.yaml", "weights": "w.pt", **values}))


def found(goal: float | None, *others: Shipped, **values: Any) -> Finding:
    models = [PARENT, LONGER, *others, values.pop("result", RESULT)]
    doubts = values.pop("doubts", ())
    return find(target(**values), goal, 3.0, models, "longer", doubts)


def test_a_target_that_is_met() -> None:
    """12 ms / 6 ms; .62 - .61 against the one that was trained for as long, not the parent."""
    finding = found(2.0, speedup=2, max_drop=2)
    assert (finding.factor, finding.drop, finding.is_met) == (2.0, pytest.approx(1.0), True)
    assert finding.interval == (1.0, 3.0)
    assert finding.sentence(target(speedup=2, max_drop=2)) == (
        "The target is met: 2.00x as fast in ONNX Runtime fp32 (2x asked), 1.0 points of mAP50-95 "
        "lost (95 % interval +1.0 to +3.0); 2 may be lost; on other images it may be up to 3.0."
    )


def test_a_gain_has_the_interval_of_a_gain() -> None:
    finding = replace(found(2.0, speedup=2), drop=-0.7, interval=(-2.2, 0.9))
    said = "0.7 points of mAP50-95 gained (95 % interval -0.9 to +2.2)"
    assert said in finding.sentence(target(speedup=2))


@pytest.mark.parametrize(
    ("goal", "values"),
    [(3.0, {"speedup": 3}), (2.0, {"speedup": 2, "max_drop": 0.5})],
    ids=["too slow", "too bad"],
)
def test_a_target_that_is_not_met(goal: float, values: dict[str, Any]) -> None:
    finding = found(goal, **values)
    assert finding.is_met is False
    assert finding.sentence(target(**values)).startswith("The target is not met; reached: 2.00x")


def test_what_was_asked_is_said_in_its_unit() -> None:
    wish = {"latency_ms": 6.5}
    assert "(6.5 ms asked)" in found(2.0, **wish).sentence(target(**wish))
    assert "33% of the FLOPs (40% asked)" in found(2.5, flops=0.4).sentence(target(flops=0.4))


def test_a_target_that_is_no_time_is_what_the_cut_reached() -> None:
    assert found(3.0, flops=1 / 3).factor == 3.0


def test_int8_ships_where_it_is_faster_and_good_enough() -> None:
    finding = found(3.0, FAST_INT8, speedup=3, max_drop=2)
    assert (finding.ships.model.role, finding.factor) == ("quantized result", 3.0)
    assert finding.drop == pytest.approx(1.5)
    assert "3.00x as fast in ONNX Runtime INT8" in finding.sentence(target(speedup=3, max_drop=2))
    assert finding.facts(target(speedup=3))["ships"] == "quantized result"


@pytest.mark.parametrize(
    "int8",
    [
        model("quantized result", 0.59, 4.0),
        model("quantized result", 0.61, 7.0),
        replace(FAST_INT8, loses_too_much=True),
    ],
    ids=["too bad", "slower", "rejected"],
)
def test_int8_stays_behind_where_float_is_better(int8: Shipped) -> None:
    assert found(2.0, int8, speedup=2, max_drop=2).ships is RESULT


def test_without_a_limit_int8_ships_only_where_quantizing_costs_little() -> None:
    assert found(2.0, FAST_INT8, speedup=2).ships is FAST_INT8
    rejected = replace(FAST_INT8, loses_too_much=True)
    assert found(2.0, rejected, speedup=2).ships is RESULT


def test_what_int8_leaves_in_float_computes_in_the_precision_of_the_target() -> None:
    times = {"openvino int8 + fp32": 5.0, "openvino int8 + bf16": 4.0}
    int8 = replace(FAST_INT8, latency_ms=times)
    assert int8.ms(target(runtime="openvino", runtime_precision="bf16")) == 4.0
    assert int8.ms(target(runtime="openvino")) == 5.0
    assert int8.ms(target()) is None


def test_pruning_did_not_pay_where_another_is_as_fast_and_as_accurate() -> None:
    rival = model("quantized parent", 0.61, 6.0)
    finding = found(2.0, rival, speedup=2)
    assert not finding.paid
    assert finding.sentence(target(speedup=2)).startswith(
        "Pruning did not pay: quantized parent is as fast and as accurate as the pruned model"
    )
    slower, worse = model("smaller", 0.7, 6.1), model("quantized parent", 0.609, 5.0)
    assert found(2.0, slower, worse, speedup=2).paid


def test_nothing_is_promised_of_too_few_images() -> None:
    finding = found(2.0, speedup=2, doubts=("3 images are too few",))
    assert finding.is_met is None
    assert finding.sentence(target(speedup=2)).startswith(
        "No promise: 3 images are too few. Reached: 2.00x as fast"
    )


def test_what_was_not_timed_has_no_factor() -> None:
    with pytest.raises(ExportError, match="no row of result in onnx fp32"):
        found(2.0, speedup=2, result=model("result", 0.61, None))


@pytest.mark.parametrize(("met", "code"), [(True, 0), (None, 0), (False, 1)])
def test_the_exit_code_says_that_the_target_is_not_met(met: bool | None, code: int) -> None:
    assert status({"verdict": {"met": met}}) == code


def test_a_run_that_was_stopped_on_request_has_not_failed() -> None:
    assert status({"stopped_after": "adapt", "stages": []}) == 0
