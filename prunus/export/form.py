"""The form of an exported file: what it takes, and how it is stored."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunus.core.errors import ExportError

if TYPE_CHECKING:
    from prunus.core.records import Size  # with numpy, which --help need not load

DEFAULT_OPSET = 17
"""YOLOv5's own default; every ONNX reader of the last years takes it."""


@dataclass(frozen=True)
class Suppression:
    """Non-maximum suppression inside the file, each class for itself.

    Attributes:
        confidence: Least score of a box.
        iou: Overlap above which the weaker box goes.
        max_detections: Most boxes of a class in an image, and of an image where the file takes one.
    """

    confidence: float = 0.25
    iou: float = 0.45
    max_detections: int = 300


@dataclass(frozen=True)
class Form:
    """What is asked of a writer.

    Attributes:
        size_hw: The input size in pixels, multiples of the stride.
        batch: The images that one call takes.
        dynamic: Any batch and any multiples of the stride instead of `batch` and `size_hw`.
        opset: ONNX operator set, for the formats that have one.
        half: Store the weights in half precision; what computes is the runtime's affair.
        suppression: Put out boxes too, where the format can; None for candidates only.
    """

    size_hw: "Size"
    batch: int = 1
    dynamic: bool = False
    opset: int = DEFAULT_OPSET
    half: bool = False
    suppression: Suppression | None = None

    @property
    def one_image(self) -> bool:
        """Whether a call takes one image and no more."""
        return self.batch == 1 and not self.dynamic


def check_no_suppression(form: Form, where: str) -> None:
    """Check that a format that puts out candidates only is not asked for boxes.

    Raises:
        ExportError: It is.
    """
    if form.suppression is not None:
        raise ExportError(f"{where}: only ONNX files can hold the suppression. Leave --nms out.")
