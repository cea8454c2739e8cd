"""`Facts`: what a user of an exported file must know, carried inside the file as JSON strings.

YOLOv5's exporter wrote `names` as a Python literal that readers `eval`-ed; here all is JSON,
and `names` (a list) and `stride` keep their keys, so that other tools find them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from prunus.core.errors import ExportError
from prunus.core.records import GREY
from prunus.export.form import Form
from prunus.model.detector import Detector

FORMAT: Final = 1
FORMAT_KEY = "prunus_format"
MAX_METADATA_CHARACTERS = 1_000_000
"""10,000 class names of 100 characters: more is an attack, not a detector."""


@dataclass(frozen=True)
class Origin:
    """Where a detector came from.

    Attributes:
        sha256: Of the weights file, hexadecimal; "" when there was none.
        licence: Of the weights, as their file states it.
    """

    sha256: str = ""
    licence: str = ""


NO_ORIGIN = Origin()


class Letterbox(BaseModel):
    """How an image becomes the input: scaled to fit, centred on grey, RGB, divided by 255.

    Attributes:
        pad_value: Grey of the borders.
        scale_up: Whether images smaller than the input grow.
        channels: Their order.
        divide_by: What brings 0 to 255 to 0 to 1.
    """

    model_config = ConfigDict(frozen=True)

    pad_value: int = GREY
    scale_up: bool = True
    channels: Literal["RGB"] = "RGB"
    divide_by: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 255.0


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds control characters")
    return text


Stride = Annotated[int, Field(ge=1, le=1024, strict=True)]
Side = Annotated[int, Field(ge=1, le=1 << 14, strict=True)]
Images = Annotated[int, Field(ge=1, le=1024, strict=True)]
MAX_PIXELS = 1 << 28
"""Of a call; whoever runs a file makes room for them before it has run."""
Name = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]
"""Names reach terminals and file names: no escape sequences."""


Precision = Literal["fp32", "fp16", "int8"]


class Facts(BaseModel):
    """What an exported file says of itself.

    Attributes:
        prunus_format: Version of this record.
        names: Class names, by index.
        stride: Input sides must be multiples of it, in pixels.
        size_hw: The only input size, or None when any multiple of `stride` will do.
        batch: The only batch size, or None when any will do.
        letterbox: How to prepare an image.
        family: Architecture family, such as yolov5.
        anchors_px: Per level, (width, height) of each anchor.
        parent_sha256: Of the weights file that it was made from, or "".
        licence: Of those weights.
        precision: What the weights are stored in.
        companion_sha256: Of the file that holds the weights, where that is another one; or "".
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    prunus_format: Literal[1] = 1
    names: Annotated[tuple[Name, ...], Field(min_length=1, max_length=10_000)]
    stride: Stride
    size_hw: tuple[Side, Side] | None
    batch: Images | None
    letterbox: Letterbox
    family: Name
    anchors_px: tuple[tuple[tuple[float, float], ...], ...]
    parent_sha256: Name
    licence: Name
    precision: Precision = "fp32"
    companion_sha256: Name = ""

    @model_validator(mode="after")
    def _is_bounded(self) -> "Facts":
        height, width = self.size_hw or (1, 1)
        if height * width * (self.batch or 1) > MAX_PIXELS:
            raise ValueError(f"size_hw and batch ask for more than {MAX_PIXELS:,} pixels a call")
        return self

    @property
    def values(self) -> int:
        """Numbers per candidate: four of the box, objectness, one a class."""
        return 5 + len(self.names)

    def check_input(self, shape: Sequence[int], where: str) -> None:
        """Check the shape (B, 3, H, W) of what is to be run.

        Raises:
            ExportError: The file cannot take it.
        """
        batch, size_hw = shape[0], shape[2:]
        again = "Use that, or export again with --dynamic."
        if self.batch not in (None, batch):
            raise ExportError(f"{where}: takes batches of {self.batch} only, got {batch}. {again}")
        if self.size_hw is not None and tuple(size_hw) != self.size_hw:
            only, got = _shown(self.size_hw), _shown(size_hw)
            raise ExportError(f"{where}: takes {only} pixels only, got {got}. {again}")
        check_multiple(size_hw, self.stride, where)


def check_multiple(size_hw: Sequence[int], stride: int, where: str) -> None:
    """Check that both sides are multiples of the stride.

    Raises:
        ExportError: They are not; the message names a size that is.
    """
    if any(side < 1 or side % stride for side in size_hw):
        nearest = [max(stride, -(-side // stride) * stride) for side in size_hw]
        raise ExportError(
            f"{where}: sides must be multiples of {stride}, got {_shown(size_hw)}. "
            f"Try {_shown(nearest)}."
        )


def check_precision(precision: str, known: Sequence[str], where: str) -> None:
    """Check what a file is asked to compute in.

    Raises:
        ExportError: It cannot.
    """
    if precision not in ("auto", *known):
        raise ExportError(
            f"{where}: computes in {' or '.join(known)}, not in {precision}. "
            "Leave --precision at auto."
        )


def check_cpu(device: str, where: str) -> None:
    """Check where a file is asked to run that runs on the CPU only.

    Raises:
        ExportError: Elsewhere.
    """
    if device.strip().lower() not in ("", "auto", "cpu"):
        raise ExportError(f"{where}: runs on the CPU, not on '{device}'. Give --device cpu.")


def facts_of(detector: Detector, form: Form, origin: Origin = NO_ORIGIN) -> Facts:
    """Return the facts of a detector that is about to be written."""
    levels = zip(detector.anchors.tolist(), detector.strides, strict=True)
    return Facts(
        names=detector.names,
        stride=detector.stride,
        size_hw=None if form.dynamic else form.size_hw,
        batch=None if form.dynamic else form.batch,
        letterbox=Letterbox(),
        family=detector.spec.family,
        anchors_px=tuple(
            tuple((width * stride, height * stride) for width, height in level)
            for level, stride in levels
        ),
        parent_sha256=origin.sha256,
        licence=origin.licence,
        precision="fp16" if form.half else "fp32",
    )


def to_metadata(facts: Facts) -> dict[str, str]:
    """Return every fact as a JSON string."""
    return {key: json.dumps(value) for key, value in facts.model_dump(mode="json").items()}


def from_metadata(metadata: Mapping[str, str], where: str) -> Facts:
    """Read facts back; nothing is evaluated.

    Raises:
        ExportError: A fact is missing or wrong, or the file is newer than this program.
    """
    needed = [key for key, field in Facts.model_fields.items() if field.is_required()]
    missing = [key for key in (FORMAT_KEY, *needed) if key not in metadata]
    if missing:
        raise ExportError(
            f"{where}: not written by prunus: its metadata lack {', '.join(missing)}. "
            "Export the weights with `prunus export`."
        )
    if sum(map(len, metadata.values())) > MAX_METADATA_CHARACTERS:
        raise ExportError(f"{where}: its metadata are too long to be those of a detector.")
    known = [key for key in Facts.model_fields if key in metadata]
    values = {key: _parse(metadata[key], key, where) for key in known}
    written_as = values[FORMAT_KEY]
    if isinstance(written_as, int) and written_as > FORMAT:
        raise ExportError(
            f"{where}: format {written_as}, but this prunus reads up to {FORMAT}. Update prunus."
        )
    try:
        return Facts.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"]) or "size_hw"
        reason = problem["msg"].removeprefix("Value error, ")
        raise ExportError(f"{where}: metadata '{place}': {reason}.") from error


def _parse(text: str, key: str, where: str) -> object:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ExportError(
            f"{where}: metadata '{key}' is not JSON. Export the weights again with `prunus export`."
        ) from error


def _shown(size_hw: Sequence[int]) -> str:
    return f"{size_hw[0]}x{size_hw[1]}"
