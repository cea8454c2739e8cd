"""`prune` on files: budgets, dry runs, blocks, a sensitivity file, and what the report says."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from prunus.core.config import parse
from prunus.core.errors import ConfigError, PruningError
from prunus.data import loader
from prunus.export.backends import opening
from prunus.export.engines import Engine, Options, start_engine
from prunus.export.latency.table import LatencyTable, measure
from prunus.model.cost import count_flops, count_parameters
from prunus.model.detector import Detector
from prunus.model.runner import TorchRunner
from prunus.pipeline import images as images_module
from prunus.pipeline import latency as latency_module
from prunus.pipeline.images import DetectorImages
from prunus.pipeline.latency import RuntimeLatency
from prunus.pipeline.prune import prune
from prunus.pipeline.sensitivity import sensitivity
from prunus.prune.config import PruneConfig
from prunus.prune.plan import apply_plan, read_plan
from prunus.prune.sensitivity.config import SensitivityConfig
from prunus.weights.files import load_weights

pytestmark = pytest.mark.integration
SIDE = 64


def cut(weights: Path, out: Path, **values: object) -> dict[str, Any]:
    settings = {
        "weights": weights,
        "out": out,
        "image_size": SIDE,
        "batch_size": 4,
        "latency": False,
        **values,
    }
    return prune(parse(PruneConfig, settings))


@pytest.mark.parametrize("budget", ["flops", "params"])
def test_a_budget_of_costs_is_kept(budget: str, weights: Path, tmp_path: Path) -> None:
    report = cut(weights, tmp_path / "p", **{budget: 0.7})
    dense, smaller = (load_weights(Path(path)).detector for path in (weights, report["weights"]))
    count = {"flops": count_flops, "params": count_parameters}[budget]
    share = count(smaller) / count(dense)
    assert 0.6 < share <= 0.7
    assert report["achieved"] == pytest.approx(share, abs=1e-3)


def test_repair_with_images_is_reported_step_by_step(
    weights: Path, orchard: Path, tmp_path: Path
) -> None:
    report = cut(weights, tmp_path / "p", data=orchard, flops=0.8)
    errors = report["repair"]["errors"]
    assert list(errors) == ["as cut", "ridge", "walk", "batch norm"]
    assert errors[report["repair"]["kept"]] == min(errors.values())
    assert report["before"]["metrics"]["map50"] is not None


@pytest.fixture
def images(weights: Path, orchard: Path) -> DetectorImages:
    return DetectorImages(
        orchard,
        load_weights(weights).detector,
        side=SIDE,
        batch_size=4,
        workers=0,
        device=torch.device("cpu"),
        precision="fp32",
    )


@pytest.mark.parametrize(("allowed", "times"), [(1 << 30, 1), (0, 2)])
def test_calibration_images_are_decoded_once_where_memory_allows(
    images: DetectorImages, allowed: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images_module, "KEPT_BYTES", allowed)
    decode, decoded = loader.load_image, []
    monkeypatch.setattr(loader, "load_image", lambda path: decoded.append(path) or decode(path))
    calibration = images.calibration(6)
    assert calibration is not None and not decoded
    first, second = (list(calibration.batches()) for _ in range(2))
    assert len(decoded) == 6 * times
    assert 0.5 < float(second[0].max()) <= 1  # type: ignore[union-attr]
    first[0].zero_()  # a network may write into its input
    again = list(calibration.batches())
    assert all(torch.equal(one, other) for one, other in zip(second, again, strict=True))  # type: ignore[arg-type]


def test_a_detector_is_judged_in_the_precision_that_was_asked_for(
    images: DetectorImages, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    runner = images_module.TorchRunner

    def make(detector: Any, device: torch.device, precision: str) -> Any:
        asked.append(precision)
        return runner(detector, device, precision)

    monkeypatch.setattr(images_module, "TorchRunner", make)
    images.judge(load_weights(weights).detector)
    assert asked == [images.precision] == ["fp32"]


def test_a_speedup_is_predicted_and_measured(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[Mapping[str, Detector], Mapping[str, float]]] = []
    measure = RuntimeLatency.measure

    def listen(latency: RuntimeLatency, detectors: Mapping[str, Detector]) -> dict[str, float]:
        heard.append((detectors, measure(latency, detectors)))
        return dict(heard[-1][1])

    monkeypatch.setattr(RuntimeLatency, "measure", listen)
    report = cut(weights, tmp_path / "p", speedup=1.3, image_size=128)
    checked = report["latency_prediction"]
    assert checked["runtime"] == "onnx"
    assert checked["predicted_speedup"] >= 1.3 * 0.999
    detectors, ms = heard[-1]
    assert {name: count_parameters(detector) for name, detector in detectors.items()} == {
        name: report[name]["params"] for name in ("before", "after")
    }
    assert checked["measured_speedup"] == pytest.approx(ms["before"] / ms["after"])
    assert checked["measured_ms"] == ms["after"]
    assert report["budget"]["kind"] == "latency"


def test_a_dry_run_predicts_and_cuts_nothing(weights: Path, tmp_path: Path) -> None:
    report = cut(weights, tmp_path / "p", flops=0.6, dry_run=True)
    dense = load_weights(weights).detector
    assert report["predicted"]["params"]["before"] == count_parameters(dense)
    assert report["predicted"]["flops"]["before"] == pytest.approx(count_flops(dense))
    assert report["predicted"]["flops"]["after"] <= 0.6 * count_flops(dense)
    assert any(width["reason"] == "an output of the model" for width in report["widths"])
    assert not (tmp_path / "p" / "pruned.safetensors").exists()


def test_the_prediction_of_a_dry_run_is_what_the_cut_gives(weights: Path, tmp_path: Path) -> None:
    told = cut(weights, tmp_path / "dry", params=0.5, dry_run=True)["predicted"]
    smaller = load_weights(Path(cut(weights, tmp_path / "p", params=0.5)["weights"])).detector
    assert told["params"]["after"] == count_parameters(smaller)
    assert told["flops"]["after"] == pytest.approx(count_flops(smaller))


def test_the_plan_makes_the_same_widths_again(weights: Path, tmp_path: Path) -> None:
    report = cut(weights, tmp_path / "p", percent=0.5)
    smaller = load_weights(Path(report["weights"])).detector
    again = apply_plan(read_plan(report["plan"]), load_weights(weights).detector)
    again.load_state_dict(smaller.state_dict())
    image = torch.rand(1, 3, SIDE, SIDE)
    with torch.no_grad():
        pairs = zip(again.eval()(image), smaller.eval()(image), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_whole_blocks_go_first(weights: Path, orchard: Path, tmp_path: Path) -> None:
    report = cut(weights, tmp_path / "p", data=orchard, flops=0.8, remove_blocks=2)
    smaller = load_weights(Path(report["weights"])).detector
    assert len(report["blocks"]) == 2
    paths = [path for path, _ in load_weights(weights).detector.named_modules()]
    assert set(report["blocks"]) <= set(paths)
    assert sum(len(row.m) for row in smaller.model if type(row).__name__ == "C3") == 11 - 2


def test_a_dry_run_counts_the_blocks_that_would_go(
    weights: Path, orchard: Path, tmp_path: Path
) -> None:
    settings = {"data": orchard, "criterion": "l2", "flops": 0.8, "remove_blocks": 2}
    told = cut(weights, tmp_path / "dry", **settings, dry_run=True)
    report = cut(weights, tmp_path / "p", **settings, repair="none")
    assert told["blocks"] == report["blocks"]
    params = told["predicted"]["params"]
    assert params == {"before": report["before"]["params"], "after": report["after"]["params"]}


def test_a_latency_budget_knows_that_blocks_are_gone(
    weights: Path, orchard: Path, tmp_path: Path
) -> None:
    settings = {
        "data": orchard, "criterion": "l2", "image_size": 128, "speedup": 1.5, "dry_run": True,
    }  # fmt: skip
    whole = cut(weights, tmp_path / "a", **settings)
    lighter = cut(weights, tmp_path / "b", **settings, remove_blocks=3)
    kept = [sum(width["after"] for width in report["widths"]) for report in (whole, lighter)]
    gone = [width["before"] for width in whole["widths"]]
    left = [width["before"] for width in lighter["widths"]]
    assert sum(left) < sum(gone)  # the blocks' own channels
    assert sum(left) - kept[1] < sum(gone) - kept[0]  # their time need not be saved elsewhere
    assert lighter["predicted"]["latency_ms"]["after"] <= lighter["asked"] * 1.001


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "torch"])
def test_a_budget_is_priced_in_the_runtime_that_is_named(
    weights: Path, tmp_path: Path, runtime: str
) -> None:
    report = cut(weights, tmp_path / "p", image_size=128, speedup=1.3, runtime=runtime)
    told = report["latency_prediction"]
    assert (told["runtime"], told["precision"]) == (runtime, "fp32")
    assert told["predicted_speedup"] >= 1.29
    assert told["measured_ms"] > 0


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_a_budget_is_priced_and_measured_in_the_precision_that_is_named(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    opened: list[str] = []

    def make(detector: Detector, device: torch.device, precision: str) -> TorchRunner:
        opened.append(precision)
        return TorchRunner(detector, device, precision)

    def start(name: str, content: Sequence[bytes], options: Options) -> Engine:
        opened.append(options.precision)
        return start_engine(name, content, options)

    def price(*arguments: Any, **options: Any) -> LatencyTable:
        opened.append(options["precision"])
        return measure(*arguments, **options)

    monkeypatch.setattr(latency_module, "TorchRunner", make)
    monkeypatch.setattr(opening, "start_engine", start)
    monkeypatch.setattr(latency_module, "measure", price)
    report = cut(
        weights, tmp_path / "p", image_size=128, speedup=1.2, runtime=runtime,
        runtime_precision="bf16",
    )  # fmt: skip
    assert opened == ["bf16"] * 4, "the table; the dense model; both, to check the prediction"
    assert report["latency_prediction"]["precision"] == "bf16"
    assert report["latency_prediction"]["predicted_speedup"] >= 1.19


def test_onnx_runtime_has_no_bfloat16(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bf16: ONNX Runtime computes in float32 on a CPU\. "):
        cut(weights, tmp_path / "p", speedup=2, runtime_precision="bf16")


def test_a_sensitivity_file_decides_how_much_each_layer_loses(
    weights: Path, orchard: Path, tmp_path: Path
) -> None:
    measured = parse(
        SensitivityConfig,
        {
            "weights": weights,
            "data": orchard,
            "image_size": SIDE,
            "batch_size": 4,
            "quick": True,
            "ratios": (0.25, 0.5, 0.75),
            "out": tmp_path / "s",
        },
    )
    sensitivity(measured)
    file = tmp_path / "s" / "sensitivity.jsonl"
    with_file = cut(weights, tmp_path / "a", flops=0.7, sensitivity=file)
    without = cut(weights, tmp_path / "b", flops=0.7)
    assert with_file["widths"] != without["widths"]
    with pytest.raises(PruningError, match="was measured on other weights than"):
        cut(Path(without["weights"]), tmp_path / "c", flops=0.7, sensitivity=file)


def test_two_budgets_are_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give one budget, not --flops and --speedup"):
        cut(weights, tmp_path / "p", flops=0.7, speedup=2)


def test_blocks_need_images(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--remove-blocks: looks at training images"):
        cut(weights, tmp_path / "p", remove_blocks=1)


def test_the_report_is_json(weights: Path, tmp_path: Path) -> None:
    cut(weights, tmp_path / "p", flops=0.7)
    report = json.loads((tmp_path / "p" / "report.json").read_text("utf-8"))
    assert report["before"]["params"] > report["after"]["params"]


def test_carriers_are_used_where_they_pay_and_widths_stay(
    weights: Path, orchard: Path, tmp_path: Path
) -> None:
    settings = {"data": orchard, "criterion": "bn_scale", "repair": "none", "percent": 0.3}
    plain = cut(weights, tmp_path / "a", **settings)
    carried = cut(weights, tmp_path / "b", **settings, carriers=True)
    assert plain["carriers"] is None
    assert carried["carriers"]["groups"]
    assert carried["after"]["params"] == plain["after"]["params"]


def test_shares_are_of_the_whole_detector_when_blocks_go(
    weights: Path, orchard: Path, tmp_path: Path
) -> None:
    report = cut(weights, tmp_path / "p", data=orchard, flops=0.8, remove_blocks=2, repair="none")
    assert report["after"]["gflops"] / report["before"]["gflops"] == pytest.approx(0.8, abs=0.02)
    assert report["asked"] == pytest.approx(0.8)
    assert report["achieved"] == pytest.approx(
        report["after"]["gflops"] / report["before"]["gflops"], abs=1e-3
    )


def test_blocks_that_keep_the_budget_alone_are_said(
    weights: Path, orchard: Path, tmp_path: Path
) -> None:
    with pytest.raises(PruningError, match=r"--flops 0.99: without its blocks .* has 0\.\d+ alr"):
        cut(weights, tmp_path / "p", data=orchard, flops=0.99, remove_blocks=4)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"percent": 0.3}, "needs a budget that blocks and channels share"),
        ({}, "needs a budget that blocks and channels share"),
        ({"flops": 0.8, "dry_run": True}, "is decided by cutting"),
    ],
)
def test_what_decides_on_blocks_is_needed(
    weights: Path, orchard: Path, tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=f"--remove-blocks auto: {reason}"):
        cut(weights, tmp_path / "p", data=orchard, remove_blocks="auto", **settings)


def test_as_many_blocks_go_as_leave_a_better_network(
    weights: Path, orchard: Path, tmp_path: Path
) -> None:
    """Of a random network every block is worth little: what is cut without them is no worse."""
    report = cut(
        weights, tmp_path / "p", data=orchard, flops=0.8, remove_blocks="auto", repair="bn"
    )
    assert report["achieved"] <= 0.8
    smaller = load_weights(Path(report["weights"])).detector
    repeats = sum(len(row.m) for row in smaller.model if type(row).__name__ == "C3")
    assert repeats == 11 - len(report["blocks"])
