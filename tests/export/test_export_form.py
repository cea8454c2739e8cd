"""Half-precision weights, suppression inside the file, and the name of a layer that is wrong."""

import copy
import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from prunus.core.errors import ExportError, ParityError
from prunus.export import run as export_run
from prunus.export.backends import BACKENDS
from prunus.export.blame import first_layer_off
from prunus.export.facts import NO_ORIGIN, Origin
from prunus.export.form import Form, Suppression
from prunus.export.onnx_suppression import DETECTIONS, check_suppression
from prunus.export.run import export
from prunus.model.detector import Detector
from prunus.model.fuse import fuse

SIZE = (64, 96)
IMAGES = torch.randint(0, 256, (3, 3, *SIZE), dtype=torch.uint8, generator=torch.manual_seed(3))
halving = pytest.mark.parametrize("name", ["onnx", "openvino"])


@halving
@pytest.mark.parametrize("dynamic", [False, True])
def test_half_the_bytes_and_the_rounded_weights(
    name: str, dynamic: bool, detector: Detector, tmp_path: Path
) -> None:
    suffix = BACKENDS[name].suffix
    whole = export(detector, tmp_path / f"a{suffix}", name, Form(SIZE, dynamic=dynamic), IMAGES)
    half = export(
        detector, tmp_path / f"b{suffix}", name, Form(SIZE, dynamic=dynamic, half=True), IMAGES
    )
    graph_mb = 0.0 if name == "onnx" else half.path.stat().st_size / 1e6
    assert half.megabytes - graph_mb < 0.56 * whole.megabytes
    runner = BACKENDS[name].open(half.path, device="cpu", precision="fp32")
    assert runner.facts.precision == "fp16"  # type: ignore[attr-defined]


def test_torchscript_keeps_its_weights(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"TorchScript keeps float32\. Use --half with onnx"):
        export(detector, tmp_path / "a.torchscript", "torchscript", Form(SIZE, half=True), IMAGES)


@pytest.mark.parametrize("form", [Form(SIZE), Form(SIZE, batch=2), Form(SIZE, dynamic=True)])
def test_a_file_suppresses_as_we_do(form: Form, detector: Detector, tmp_path: Path) -> None:
    form = dataclasses.replace(form, suppression=Suppression(0.3, 0.5, 1000))
    path = tmp_path / "model.onnx"
    export(detector, path, "onnx", form, IMAGES)
    session = onnxruntime.InferenceSession(path)
    batch = IMAGES[:1] if form.batch == 1 else IMAGES[:2]
    rows = session.run([DETECTIONS], {"images": batch.float().numpy() / np.float32(255)})[0]
    assert rows.shape[1] == 7 and len(rows) > 5
    assert (np.diff(rows[:, 5]) <= 0).all(), "best first"
    assert (rows[:, 5] > 0.3).all()
    onnx.checker.check_model(onnx.load(path), full_check=True)


def test_the_limit_holds_for_an_image(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    form = Form(SIZE, suppression=Suppression(0.01, 0.9, 7))
    export(detector, path, "onnx", form, IMAGES)
    rows = onnxruntime.InferenceSession(path).run(
        [DETECTIONS], {"images": IMAGES[:1].float().numpy() / np.float32(255)}
    )[0]
    assert len(rows) == 7


def test_a_suppression_that_keeps_other_boxes_is_found_out(
    detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    BACKENDS["onnx"].write(detector, path, Form(SIZE, suppression=Suppression(0.3, 0.5)))  # type: ignore[misc]
    other = Form(SIZE, suppression=Suppression(0.3, 0.2))
    with pytest.raises(ParityError, match="boxes that the file suppresses differ from ours by"):
        check_suppression(path, other, IMAGES)


@pytest.mark.parametrize("form", [Form(SIZE, batch=2), Form(SIZE, dynamic=True)])
def test_the_limit_holds_for_each_class_where_a_call_takes_several_images(
    form: Form, detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    form = dataclasses.replace(form, suppression=Suppression(0.01, 0.9, 3))
    export(detector, path, "onnx", form, IMAGES)
    rows = onnxruntime.InferenceSession(path).run(
        [DETECTIONS], {"images": IMAGES[:2].float().numpy() / np.float32(255)}
    )[0]
    _, counts = np.unique(rows[:, [0, 6]], axis=0, return_counts=True)
    assert counts.max() == 3 and len(rows) > 2 * 3


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("form", [Form(SIZE, batch=2), Form(SIZE, dynamic=True)])
def test_wrong_boxes_of_any_image_of_a_batch_are_found_out(
    form: Form,
    number: int,
    detector: Detector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "model.onnx"
    form = dataclasses.replace(form, suppression=Suppression(0.3, 0.5))
    BACKENDS["onnx"].write(detector, path, form)  # type: ignore[misc]
    real = onnxruntime.InferenceSession

    def moved(*given: Any, **named: Any) -> Any:
        session = real(*given, **named)

        def run(*asked: Any) -> Any:
            candidates, rows = session.run(*asked)
            assert {0, 1} == set(rows[:, 0])
            rows[rows[:, 0] == number, 1] += 0.1
            return candidates, rows

        return SimpleNamespace(run=run)

    check_suppression(path, form, IMAGES[:2])
    monkeypatch.setattr(onnxruntime, "InferenceSession", moved)
    with pytest.raises(ParityError, match=r"differ from ours by 0\.1 px"):
        check_suppression(path, form, IMAGES[:2])


@halving
def test_the_first_layer_that_differs_is_named(
    name: str, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = copy.deepcopy(detector)
    with torch.no_grad():
        wrong.model[9].cv2.conv.weight.mul_(1.5)  # type: ignore[union-attr, operator]
    backend = BACKENDS[name]
    path = tmp_path / f"model{backend.suffix}"

    def write(_detector: Detector, path: Path, form: Form, origin: Origin = NO_ORIGIN) -> None:
        assert backend.write is not None
        backend.write(wrong, path, form, origin)

    monkeypatch.setitem(BACKENDS, name, dataclasses.replace(backend, write=write))
    match = r"The first layer that differs is model\.9\.cv2\.conv, by .* relative\. Nothing was wr"
    with pytest.raises(ParityError, match=match) as caught:
        export(detector, path, name, Form(SIZE), IMAGES)
    assert caught.value.status == 1
    assert list(tmp_path.iterdir()) == []


def test_a_format_whose_insides_cannot_be_seen_names_no_layer(
    detector: Detector, tmp_path: Path
) -> None:
    assert first_layer_off(detector, tmp_path / "x.torchscript", IMAGES) == ""


def test_the_exported_halves_are_compared_with_halves(detector: Detector) -> None:
    rounded = export_run._rounded(detector)
    weight = rounded.model[0].conv.weight  # type: ignore[union-attr]
    assert torch.equal(weight, weight.half().float())  # type: ignore[operator]
    assert not torch.equal(
        fuse(detector).model[0].conv.weight,  # type: ignore[arg-type, union-attr]
        weight,  # type: ignore[arg-type]
    )
