"""TorchScript: the traced graph with its weights, for programs with torch but without this package.

Takes (B, 3, H, W) float32 in [0, 1] and returns (B, N, 5 + K), decoded. Traced for the CPU: the
weights file itself serves a GPU better.
"""

import io
import json
import warnings
from pathlib import Path

import torch

from prunus.core.errors import ExportError
from prunus.core.files import write_atomically
from prunus.export.backends.opening import Opener
from prunus.export.facts import (
    NO_ORIGIN,
    Facts,
    Origin,
    check_multiple,
    facts_of,
    from_metadata,
    to_metadata,
)
from prunus.export.form import Form, check_no_suppression
from prunus.export.tracing import decoded
from prunus.export.vetting.torchscript import FACTS_MEMBER, read_vetted
from prunus.model.detector import Detector


def write(detector: Detector, path: Path, form: Form, origin: Origin = NO_ORIGIN) -> None:
    """Trace `detector`, fused and frozen; see `backends.Write`.

    Raises:
        ExportError: The size is no multiple of the stride, or half precision is asked for.
    """
    check_multiple(form.size_hw, detector.stride, str(path))
    check_no_suppression(form, str(path))
    if form.half:
        raise ExportError(f"{path}: TorchScript keeps float32. Use --half with onnx or openvino.")
    facts = facts_of(detector, form, origin)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that tracing is the older way
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            decoded(detector), torch.zeros(form.batch, 3, *form.size_hw), check_trace=False
        )
        frozen = torch.jit.freeze(traced)
        buffer = io.BytesIO()
        member = FACTS_MEMBER.removeprefix("extra/")
        torch.jit.save(frozen, buffer, _extra_files={member: json.dumps(to_metadata(facts))})
    write_atomically(path, lambda temporary: temporary.write_bytes(buffer.getvalue()))


def _read(path: Path) -> tuple[list[bytes], Facts]:
    content, metadata = read_vetted(path)
    try:
        entries = dict(json.loads(metadata))
    except (ValueError, TypeError) as error:
        raise ExportError(f"{path}: its facts are not JSON. Export the weights again.") from error
    facts = from_metadata({key: str(value) for key, value in entries.items()}, str(path))
    return [content], facts


open = Opener("torchscript", _read)
