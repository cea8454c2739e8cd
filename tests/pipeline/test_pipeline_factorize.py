"""`factorize` on files, and the stages that come after it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prunus.model.cost import count_flops
from prunus.model.factors import FactorisedConv
from prunus.train.gammas import prunable_gammas
from prunus.weights.files import load_weights

pytestmark = pytest.mark.integration
SIDE = 64

Run = Callable[..., dict[str, Any]]
Refused = Callable[..., None]


@pytest.fixture(scope="session")
def factorized(run: Run, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("low") / "rank"
    return run(out, "factorize", "--weights", weights, "--rank", 0.5, "--no-latency")


def ranks_of(path: str | Path) -> dict[str, int]:
    detector = load_weights(Path(path)).detector
    return {
        name: module.rank
        for name, module in detector.named_modules()
        if isinstance(module, FactorisedConv)
    }


def test_the_report_has_ranks_operations_and_errors(
    factorized: dict[str, Any], weights: Path
) -> None:
    told = {layer["name"]: layer for layer in factorized["layers"]}
    assert len(told) == 57
    made = {name: layer["rank"] for name, layer in told.items() if not layer["note"]}
    assert ranks_of(factorized["weights"]) == made
    assert all(0 < told[name]["error"] < 1 for name in made)
    dense, smaller = (
        load_weights(Path(path)).detector for path in (weights, factorized["weights"])
    )
    saved = sum(layer["flops_before"] - layer["flops_after"] for layer in told.values())
    assert count_flops(dense) - count_flops(smaller) == saved > 0
    assert factorized["after"]["gflops"] < factorized["before"]["gflops"]
    assert factorized["before"]["metrics"] is None
    history = load_weights(Path(factorized["weights"])).history
    assert history[-1].verb == "factorize"
    assert history[-1].settings["rank"] == 0.5


def test_with_data_both_sides_are_judged(
    run: Run, weights: Path, orchard: Path, tmp_path: Path
) -> None:
    report = run(
        tmp_path / "f", "factorize", "--weights", weights, "--data", orchard, "--flops", 0.85,
        "--img", SIDE, "--batch", 4, "--widest", 12,
    )  # fmt: skip
    assert len(report["layers"]) == 12
    assert report["kept"] in report["errors"]
    assert 0.8 < report["after"]["gflops"] / report["before"]["gflops"] <= 0.85
    assert report["after"]["metrics"]["map50"] is not None
    assert report["after"]["latency_ms"] > 0
    log = (tmp_path / "f" / "log.txt").read_text()
    assert "full rank" in log
    assert "before and after" in log


def test_all_stages_take_pairs(
    run: Run, factorized: dict[str, Any], orchard: Path, tmp_path: Path
) -> None:
    pairs, ranks = Path(factorized["weights"]), ranks_of(factorized["weights"])
    trained = run(
        tmp_path / "t", "train", "--data", orchard, "--weights", pairs, "--epochs", 1, "--batch", 4,
        "--img", SIDE, "--sparsity", "auto", "--freeze", 3, "--precision", "fp32",
    )  # fmt: skip
    assert ranks_of(trained["last"]) == ranks
    before, after = (load_weights(path).detector for path in (pairs, Path(trained["last"])))
    names = [
        "model.1.conv.narrow.weight",
        "model.7.conv.narrow.weight",
        "model.7.conv.widen.weight",
    ]
    same = [before.get_parameter(name).equal(after.get_parameter(name)) for name in names]
    assert same == [True, False, False], "rows 0 to 2 are frozen"
    pruned = run(
        tmp_path / "p", "prune", "--weights", trained["last"], "--data", orchard, "--flops", 0.8,
        "--img", SIDE, "--batch", 4, "--no-latency",
    )  # fmt: skip
    assert pruned["achieved"] <= 0.8
    exported = run(
        tmp_path / "e", "export", "--weights", pruned["weights"], "--img", SIDE,
        "--include", "onnx", "openvino", "torchscript",
    )  # fmt: skip
    assert len(exported["files"]) == 3
    sparse = run(tmp_path / "s", "sparsify", "--weights", pairs, "--amount", 0.5)
    assert sparse["sparsity"] == pytest.approx(0.5, abs=0.01)
    told = run(tmp_path / "i", "inspect", pairs)
    assert sum(row["parameters"] for row in told["rows"]) == told["model"]["params"]


def test_gammas_are_those_of_the_whole_layers(factorized: dict[str, Any], weights: Path) -> None:
    dense, pairs = (
        prunable_gammas(load_weights(Path(path)).detector, ())
        for path in (weights, factorized["weights"])
    )
    assert dense.norms.keys() == pairs.norms.keys()
    assert dense.count == pairs.count
    assert all(dense.channels[name].equal(pairs.channels[name]) for name in dense.channels)


def test_the_detector_runs_as_it_was_judged(factorized: dict[str, Any]) -> None:
    detector = load_weights(Path(factorized["weights"])).detector
    with torch.no_grad():
        assert detector(torch.rand(1, 3, SIDE, SIDE))[0].isfinite().all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rank", "0.5", "--energy", "0.9"], "give one goal, not --rank and --energy"),
        (["--rank", "0.99", "--rows", "3"], "no layer would have fewer operations as two"),
        (["--flops", "0.05"], "--flops 0.05: at the lowest ranks"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(
    refused: Refused, weights: Path, words: list[str], message: str
) -> None:
    refused(message, "factorize", "--weights", weights, *words)
