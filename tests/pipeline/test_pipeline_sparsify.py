"""`sparsify` on files, and what becomes of its zeros in a training and in an exported file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import numpy_helper

from prunus.model.nm import check_nm, check_nm_arrays
from prunus.model.zeros import weights_of
from prunus.weights.files import load_weights

pytestmark = pytest.mark.integration
SIDE = 64

Run = Callable[..., dict[str, Any]]
Refused = Callable[..., None]


@pytest.fixture
def two_of_four(run: Run, weights: Path, tmp_path: Path) -> dict[str, Any]:
    return run(tmp_path / "nm", "sparsify", "--weights", weights, "--nm", "2:4")


def test_nm_reports_every_layer_and_the_hardware(
    two_of_four: dict[str, Any], tmp_path: Path
) -> None:
    checks = two_of_four["nm"]
    assert len(checks) == len(two_of_four["layers"]) == 60
    assert sum(check["violations"] for check in checks) == 0
    dense = {check["layer"]: check["reason"] for check in checks if check["reason"]}
    assert dense == {"model.0.conv": "3 input channels: no multiple of 4"}
    assert two_of_four["sparsity"] == pytest.approx(0.5, abs=0.002)
    assert "NVIDIA GPUs of the Ampere generation" in two_of_four["speed"]
    log = (tmp_path / "nm" / "log.txt").read_text()
    assert "2:4 along the input channels" in log
    assert "CPUs, older GPUs" in log


@pytest.mark.parametrize("words", [["--amount", "70"], ["--amount", "70", "--scope", "global"]])
def test_the_compressed_size_is_reported_before_and_after(
    run: Run, weights: Path, tmp_path: Path, words: list[str]
) -> None:
    report = run(tmp_path / "s", "sparsify", "--weights", weights, *words)
    sizes = report["compressed"]
    assert sizes["format"] == "fp16, gzip"
    assert 3.0e6 < sizes["dense_bytes"] < 3.6e6, "1.77 million parameters"
    assert sizes["sparse_bytes"] < 0.5 * sizes["dense_bytes"]
    assert "MB before, " in (tmp_path / "s" / "log.txt").read_text()


def test_random_zeros_go_by_the_seed(run: Run, weights: Path, tmp_path: Path) -> None:
    def zeros(name: str, seed: int) -> torch.Tensor:
        report = run(
            tmp_path / name, "sparsify", "--weights", weights, "--method", "random", "--seed", seed
        )
        detector = load_weights(Path(report["weights"])).detector
        return weights_of(detector)["model.2.cv1.conv"] == 0

    first = zeros("a", 1)
    assert first.equal(zeros("b", 1))
    assert not first.equal(zeros("c", 2))


def test_an_exported_file_has_the_same_zeros(
    run: Run, two_of_four: dict[str, Any], tmp_path: Path
) -> None:
    sparse = Path(two_of_four["weights"])
    report = run(tmp_path / "e", "export", "--weights", sparse, "--img", SIDE)
    graph = onnx.load(report["files"][0]["path"]).graph
    exported = {
        tensor.name.removeprefix("detector.").removesuffix(".weight"): numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if len(tensor.dims) == 4
    }
    before = weights_of(load_weights(sparse).detector)
    kernels = {name: array for name, array in exported.items() if array.size > 64}
    assert len(kernels) == len(before) == 60
    zeros = sorted((array.size, int((array == 0).sum())) for array in kernels.values())
    assert zeros == sorted((w.numel(), int((w == 0).sum())) for w in before.values())
    checks = check_nm_arrays(kernels, 2, 4)
    assert sum(check.violations for check in checks) == 0
    assert sum(bool(check.reason) for check in checks) == 1, "the stem"


def test_cut_to_nm_then_trained_with_its_zeros_fulfils_it_still(
    run: Run, two_of_four: dict[str, Any], orchard: Path, tmp_path: Path
) -> None:
    report = run(
        tmp_path / "t", "train", "--data", orchard, "--weights", two_of_four["weights"],
        "--epochs", 1, "--batch", 4, "--img", SIDE, "--keep-zeros",
    )  # fmt: skip
    trained = load_weights(Path(report["best"]))
    assert [step.verb for step in trained.history] == ["train", "sparsify", "train"]
    assert sum(check.violations for check in check_nm(trained.detector, 2, 4)) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nm", "4:2"], "--nm: 4:2: N must be at least 1 and smaller than M"),
        (["--nm", "2:4", "--amount", "0.5"], "--nm 2:4 fixes the share of zeros itself"),
        (["--method", "l11"], "method: no method 'l11'. Did you mean 'l1'?"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(
    refused: Refused, weights: Path, words: list[str], message: str
) -> None:
    refused(message, "sparsify", "--weights", weights, *words)
