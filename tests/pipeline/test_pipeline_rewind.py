"""Early weights with the cut, or the zeros, of later ones: what lottery tickets are made of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prunus.core.files import sha256
from prunus.prune.plan import read_plan
from prunus.weights.files import load_weights

pytestmark = pytest.mark.integration
SIDE = 64

Run = Callable[..., dict[str, Any]]
Refused = Callable[..., None]


@pytest.fixture
def early(run: Run, weights: Path, orchard: Path, tmp_path: Path) -> Path:
    """Other weights of the same architecture: those of one more epoch."""
    report = run(
        tmp_path / "more", "train", "--data", orchard, "--weights", weights, "--epochs", 1,
        "--batch", 4, "--img", SIDE, "--precision", "fp32",
    )  # fmt: skip
    return Path(report["last"])


def test_a_plan_cuts_other_weights_and_keeps_their_values(
    run: Run, weights: Path, early: Path, orchard: Path, tmp_path: Path
) -> None:
    first = run(
        tmp_path / "p", "prune", "--weights", weights, "--flops", 0.6, "--img", SIDE, "--no-latency"
    )
    again = run(
        tmp_path / "again", "prune", "--weights", early, "--plan", first["plan"], "--data", orchard,
        "--img", SIDE, "--batch", 4, "--no-latency",
    )  # fmt: skip
    widths = {width["name"]: width["after"] for width in first["widths"]}
    assert again["widths"]
    assert all(widths[width["name"]] == width["after"] for width in again["widths"])
    assert again["repair"] is None
    assert again["inputs"]["plan"]["sha256"] == sha256(Path(first["plan"]))
    assert again["after"]["gflops"] == first["after"]["gflops"]
    assert again["before"]["metrics"]["map50"] is not None
    assert read_plan(again["plan"]) == read_plan(first["plan"])
    cut, dense = load_weights(Path(again["weights"])), load_weights(early)
    assert [step.verb for step in cut.history] == ["train", "train", "prune"]
    assert cut.history[-1].settings["plan"] == "plan.json"
    assert cut.history[-1].parent == dense.sha256
    values = dense.detector.state_dict()
    for item in read_plan(first["plan"]).shortenings:
        values[item.tensor] = values[item.tensor].index_select(item.dimension, item.kept())
    for name, tensor in cut.detector.state_dict().items():
        assert tensor.equal(values[name]), name


def test_zeros_of_one_file_go_to_another(
    run: Run, weights: Path, early: Path, tmp_path: Path
) -> None:
    sparse = run(tmp_path / "s", "sparsify", "--weights", weights, "--amount", 0.6)
    again = run(tmp_path / "a", "sparsify", "--weights", early, "--like", sparse["weights"])
    assert again["sparsity"] == pytest.approx(sparse["sparsity"])
    late, values = (
        load_weights(Path(path)).detector.state_dict() for path in (sparse["weights"], early)
    )
    made = load_weights(Path(again["weights"]))
    assert made.history[-1].verb == "sparsify"
    for name, tensor in made.detector.state_dict().items():
        kept = late[name] != 0 if tensor.ndim == 4 else tensor == tensor
        assert tensor[kept].equal(values[name][kept]), name
        assert not tensor[~kept].any(), name


def test_what_does_not_fit_is_one_line(
    run: Run, refused: Refused, weights: Path, tmp_path: Path
) -> None:
    pruned = run(
        tmp_path / "p", "prune", "--weights", weights, "--flops", 0.6, "--img", SIDE, "--no-latency"
    )
    for words, message in (
        (["prune", "--plan", pruned["plan"]], "plan: model."),
        (["prune", "--plan", pruned["plan"], "--flops", "0.5"], "--flops: --plan says already"),
        (["sparsify", "--like", weights], "--like: model."),
    ):
        refused(message, *words, "--weights", pruned["weights"])
