"""The verbs: an exported file is there only when it was seen to compute what torch does."""

import dataclasses
import json
from pathlib import Path

import onnx
import pytest
import torch

from prunus.core import config
from prunus.core.errors import ConfigError, ExportError
from prunus.core.records import GREY
from prunus.export import run as export_run
from prunus.export.backends import BACKENDS
from prunus.export.config import BenchmarkConfig, ExportConfig
from prunus.export.contest import run_benchmark
from prunus.export.facts import NO_ORIGIN, Origin
from prunus.export.form import Form
from prunus.export.run import export, run_export
from prunus.export.samples import images_of_data, painted_images
from prunus.model.detector import Detector
from prunus.weights.native import save_weights

IMAGES = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)


@pytest.fixture(scope="session")
def weights(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "plums.safetensors"
    save_weights(detector, path, licence="Apache-2.0")
    return path


def write_another(monkeypatch: pytest.MonkeyPatch, other: Detector) -> None:
    """Let the ONNX backend write `other` whatever it is given: a bug of an exporter."""
    honest = BACKENDS["onnx"].write
    assert honest is not None

    def write(_detector: Detector, path: Path, form: Form, origin: Origin = NO_ORIGIN) -> None:
        honest(other, path, form, origin)

    broken = dataclasses.replace(BACKENDS["onnx"], write=write)
    monkeypatch.setitem(BACKENDS, "onnx", broken)


def test_a_good_export_is_described(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    result = export(detector, path, "onnx", Form((64, 64)), IMAGES)
    assert result.path == path
    assert result.megabytes == pytest.approx(path.stat().st_size / 1e6)
    assert len(result.sha256) == 64
    assert result.parity.holds
    assert result.parity.boxes > 0
    assert "on 2 images within" in export_run.describe(result)


@pytest.mark.parametrize("old", [None, b"the older file"])
def test_a_wrong_export_leaves_things_as_they_were(
    old: bytes | None,
    detector: Detector,
    narrow_detector: Detector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "model.onnx"
    if old is not None:
        path.write_bytes(old)
    write_another(monkeypatch, narrow_detector)
    with pytest.raises(ExportError, match=r"/model\.onnx: the exported model does not compute"):
        export(detector, path, "onnx", Form((64, 64)), IMAGES)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_wrong_suffix_is_refused(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"model\.bin: a file for onnx must end in \.onnx"):
        export(detector, tmp_path / "model.bin", "onnx", Form((64, 64)), IMAGES)


@pytest.mark.integration
def test_the_verb_writes_beside_nothing_else_and_names_the_parent(
    weights: Path, tmp_path: Path
) -> None:
    settings = ExportConfig(weights=weights, image_size=(64,), check_images=2)
    (result,) = run_export(settings, tmp_path)
    assert result.path == tmp_path / "plums.onnx"
    runner = BACKENDS["onnx"].open(result.path, device="cpu")
    facts = runner.facts  # type: ignore[attr-defined]
    assert facts.size_hw == (64, 64)
    assert facts.licence == "Apache-2.0"
    assert len(facts.parent_sha256) == 64


def test_a_format_that_fails_is_an_error_that_names_what_was_written(
    weights: Path, narrow_detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKENDS, "twin", BACKENDS["onnx"])
    good = BACKENDS["onnx"]
    write_another(monkeypatch, narrow_detector)
    broken = BACKENDS["onnx"]
    monkeypatch.setitem(BACKENDS, "onnx", good)
    monkeypatch.setitem(BACKENDS, "twin", broken)
    settings = ExportConfig(
        weights=weights, image_size=(64,), check_images=1, formats=("onnx", "twin")
    )
    with pytest.raises(ExportError, match=r"does not compute .* Written before: .*plums\.onnx"):
        run_export(settings, tmp_path)


def test_sizes_that_do_not_divide_are_refused_before_any_work(
    weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=r"--img: sides must be multiples of 32, got 100x100"):
        run_export(ExportConfig(weights=weights, image_size=(100,)), tmp_path)


@pytest.mark.integration
def test_the_benchmark_exports_for_itself_and_compares_with_the_first_row(
    weights: Path, tmp_path: Path
) -> None:
    exported = tmp_path / "given.onnx"
    export(BACKENDS["torch"].open(weights).detector, exported, "onnx", Form((64, 64)), IMAGES)  # type: ignore[attr-defined]
    settings = BenchmarkConfig(
        weights=(weights, exported),
        image_size=(64,),
        repeats=3,
        warmup=1,
        runtimes=("torch", "onnx"),
    )
    rows = run_benchmark(settings, tmp_path / "run")
    kinds = [(row.contestant.model, row.contestant.runtime) for row in rows]
    assert kinds == [(weights, "torch"), (weights, "onnx"), (exported, "onnx")]
    assert rows[0].speedup == 1
    assert all(row.latency.repeats == 3 for row in rows)
    json.dumps([dataclasses.asdict(row) for row in rows], default=str)


def test_a_size_that_was_baked_into_a_dynamic_file_is_found_out(
    detector: Detector, onnx_content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load_model_from_string(onnx_content)  # static, 64x64, posing as dynamic
    for entry in model.metadata_props:
        if entry.key in ("size_hw", "batch"):
            entry.value = "null"
    for end, free in ((model.graph.input[0], (0, 2, 3)), (model.graph.output[0], (0, 1))):
        for axis in free:
            end.type.tensor_type.shape.dim[axis].dim_param = f"free{axis}"
    pose = dataclasses.replace(
        BACKENDS["onnx"],
        write=lambda _detector, path, *_form: path.write_bytes(model.SerializeToString()),  # type: ignore[misc]
    )
    monkeypatch.setitem(BACKENDS, "onnx", pose)
    path = tmp_path / "model.onnx"
    with pytest.raises(ExportError, match=r"model\.onnx: (ONNX Runtime failed|the exported model)"):
        export(detector, path, "onnx", Form((64, 64), dynamic=True), IMAGES[:1])
    assert not path.exists()


def test_unknown_runtimes_are_told(weights: Path, tmp_path: Path) -> None:
    settings = BenchmarkConfig(weights=(weights,), runtimes=("onnxx",))
    with pytest.raises(ExportError, match=r"no runtime 'onnxx'\. Did you mean 'onnx'"):
        run_benchmark(settings, tmp_path)
    settings = BenchmarkConfig(weights=(Path("x.onnx"),), runtimes=("torch",))
    with pytest.raises(ExportError, match=r"x\.onnx: no such file"):
        run_benchmark(settings, tmp_path)
    exported = tmp_path / "x.onnx"
    exported.touch()
    settings = BenchmarkConfig(weights=(exported,), runtimes=("torch",))
    with pytest.raises(ExportError, match="none of torch runs these models"):
        run_benchmark(settings, tmp_path)


def test_painted_images_are_pictures_of_the_size_asked_for() -> None:
    images = painted_images((64, 96), 2)
    assert images.shape == (2, 3, 64, 96)
    assert images.dtype == torch.uint8
    assert images.float().std() > 10, "not one colour"
    assert not torch.equal(images[0], images[1])


@pytest.mark.parity
def test_images_of_a_data_set_come_from_all_over_the_split(assets: Path) -> None:
    images = images_of_data(assets / "data" / "bccd.yaml", (96, 128), 3)
    assert images.shape == (3, 3, 96, 128)
    assert images.float().std() > 10


def test_settings_know_the_flags_of_yolov5() -> None:
    def flags(kind: type[config.Settings]) -> set[str]:
        return {
            f for name, field in kind.model_fields.items() for f in config.flags_of(name, field)
        }

    exporting = {
        "--weights",
        "--img",
        "--imgsz",
        "--batch-size",
        "--include",
        "--dynamic",
        "--opset",
    }
    assert exporting | {"--data", "--project", "--name"} <= flags(ExportConfig)
    assert {"--weights", "--img", "--batch-size", "--device"} <= flags(BenchmarkConfig)
    assert ExportConfig(weights=Path("x"), image_size=(384, 640)).size_hw == (384, 640)
    assert ExportConfig(weights=Path("x"), image_size=(320,)).size_hw == (320, 320)
    with pytest.raises(ConfigError, match="--opset: expected less than or equal to 20"):
        config.parse(ExportConfig, {"weights": "x", "opset": 30})


@pytest.mark.integration
def test_the_size_of_a_pair_is_that_of_both_files(detector: Detector, tmp_path: Path) -> None:
    form = Form((64, 64))
    result = export(detector, tmp_path / "m.xml", "openvino", form, IMAGES)
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert result.megabytes == pytest.approx(written / 1e6)


def test_a_dynamic_file_is_also_seen_at_another_shape_than_it_was_traced_at() -> None:
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    larger = export_run._enlarged(images, 32)
    assert larger.shape == (1, 3, 128, 96), "no square, and both sides differ"
    assert larger[..., :64, :64].equal(images) and bool((larger[..., 64:] == GREY).all())
