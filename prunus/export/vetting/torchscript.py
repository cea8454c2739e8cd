"""TorchScript archives: a zip of code, constants and tensors.

torch reads them without Python's unpickler, but the code in them is a program: operators that read
or write files (`torch.from_file`, `torch.save`) are as easily called as a convolution. So the code
may call nothing but what our exporter writes.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from prunus.core.errors import ExportError
from prunus.export.vetting import MAX_BYTES, read_bounded, refusal

FACTS_MEMBER = "extra/prunus.json"
MAX_CODE_BYTES = 16 << 20
MEMBERS = re.compile(
    r"[^/]+/(data\.pkl|constants\.pkl|version|byteorder|\.data/serialization_id|\.format_version|"
    r"\.storage_alignment|data/\d+|constants/\d+|extra/prunus\.json|code/.+\.py(\.debug_pkl)?)"
)
"""What an archive of ours is made of."""
ROOTS = re.compile(r"\b(?:torch|ops|aten|prim|fork|rpc_\w+)\b(?:\.([A-Za-z_][\w.]*))?")
"""Whatever leads to an operator, with what is called of it; alone it could get another name."""
OPERATORS = frozenset(
    {
        "_convolution", "add", "add_", "arange", "avg_pool2d", "cat", "chunk", "clamp",
        "constant_pad_nd", "contiguous", "device", "div", "div_", "expand", "flatten", "hardswish",
        "hardswish_", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "max_pool2d",
        "meshgrid", "mul", "mul_", "permute", "pow", "prim.NumToTensor", "relu", "relu_", "reshape",
        "select", "sigmoid", "sigmoid_", "silu", "silu_", "size", "slice", "split", "square",
        "squeeze", "stack", "sub", "sub_", "tanh", "to", "transpose", "unbind", "unsqueeze",
        "upsample_nearest2d", "view",
    }
)  # fmt: skip
"""What detectors of this package are traced to."""


def read_vetted(path: Path) -> tuple[bytes, bytes]:
    """Read an archive once and vet it.

    Returns:
        The bytes of an archive of the same members, for torch reads odd ones otherwise than Python
        does; and those of the facts.

    Raises:
        ExportError: Unreadable, too large, no such archive, or holding what ours never do.
    """
    content = read_bounded(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for problem in _problems(archive):
                raise refusal(path, problem)
            facts = next(name for name in archive.namelist() if name.endswith(FACTS_MEMBER))
            return _repacked(archive), archive.read(facts)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError) as error:
        raise ExportError(
            f"{path}: not a TorchScript file, or cut short. Export the weights again."
        ) from error
    except StopIteration:
        raise ExportError(
            f"{path}: not written by prunus. Export the weights with `prunus export`."
        ) from None


def _repacked(archive: zipfile.ZipFile) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, archive.read(name))
    return buffer.getvalue()


def _problems(archive: zipfile.ZipFile) -> Iterator[str]:
    """Yield what is wrong, in words that complete 'refused: '."""
    members = archive.infolist()
    if len({member.filename for member in members}) < len(members):
        yield "two of its members have one name"
    if sum(member.file_size for member in members) > MAX_BYTES:
        yield "it inflates to more than any detector"
    for member in members:
        if MEMBERS.fullmatch(member.filename) is None or ".." in member.filename:
            yield f"it holds '{member.filename[:80]}'"
    code = [member for member in members if member.filename.endswith(".py")]
    if sum(member.file_size for member in code) > MAX_CODE_BYTES:
        yield "it holds more code than any detector"
    for member in code:
        text = archive.read(member).decode("utf-8", "replace")
        for match in ROOTS.finditer(text):
            if match[1] not in OPERATORS:
                yield f"its code calls '{match[0]}', which no detector of ours does"
