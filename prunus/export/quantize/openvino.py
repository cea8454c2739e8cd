"""OpenVINO graphs in 8 bits, by NNCF: symmetric weights, asymmetric activations, biases corrected.

NNCF finds the ranges and where to round; which part stays in float is told. Its telemetry is turned
off before it is imported, and its log and bars are kept off the screen.
"""

import io
import logging
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from typing import Any

from prunus.core.errors import ExportError
from prunus.export.backends.openvino import package
from prunus.export.quantize.collect import Maps

CONVOLUTION = "Convolution"
SILENCE = "NNCF_CI"
"""An environment variable under which NNCF's import puts a dummy in the place of its telemetry."""


def quantize_openvino(
    model: Any, calibration: Iterable[Maps], *, floating: Collection[str] = ()
) -> Any:
    """Return the model in 8 bits; its head's arithmetic stays in float.

    Args:
        model: An `openvino.Model` in float; left as it is.
        calibration: (B, 3, H, W) images in [0, 1], of the training split.
        floating: Friendly names of the nodes that stay in float.

    Raises:
        ExportError: NNCF is not installed, or there are no images.
    """
    images = list(calibration)
    if not images:
        raise ExportError("there are no calibration images.")
    nncf = nncf_package()
    ignored = sorted({*floating, *head_names(model)})
    with _quiet():
        return nncf.quantize(
            model.clone(),
            nncf.Dataset(images),
            preset=nncf.QuantizationPreset.MIXED,  # SiLU's outputs are mostly positive
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(names=ignored),
        )


def head_names(model: Any) -> list[str]:
    """Return the friendly names of the last convolutions and of all that follows them.

    With these convolutions in integers yolov5n loses .0032 mAP50-95, without .0013, and is 1 ms of
    20 slower.
    """
    names: set[str] = set()
    for node in model.get_ops():
        if node.get_type_name() == CONVOLUTION:
            after = _downstream(node)
            if all(other.get_type_name() != CONVOLUTION for other in after.values()):
                names.add(node.get_friendly_name())
                names.update(
                    name for name, other in after.items() if other.get_type_name() != "Result"
                )
    return sorted(names)


def nncf_package() -> Any:
    """Return NNCF, without telemetry.

    Raises:
        ExportError: It is not installed.
    """
    package("--format openvino")
    before = os.environ.get(SILENCE)
    os.environ[SILENCE] = "1"
    try:
        return import_module("nncf")
    except ImportError as error:
        raise ExportError(
            "--format openvino: NNCF, which quantizes, is not installed. Run: pip install nncf"
        ) from error
    finally:
        if before is None:
            del os.environ[SILENCE]
        else:
            os.environ[SILENCE] = before


def _downstream(start: Any) -> dict[str, Any]:
    """Return, by friendly name, all nodes that depend on one."""
    found: dict[str, Any] = {}
    waiting = [start]
    while waiting:
        for output in waiting.pop().outputs():
            for reader in (target.get_node() for target in output.get_target_inputs()):
                if reader.get_friendly_name() not in found:
                    found[reader.get_friendly_name()] = reader
                    waiting.append(reader)
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF's log at errors, and its bars off standard output, which belongs to --json."""
    logger = logging.getLogger("nncf")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
