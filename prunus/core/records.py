"""The records that cross rooms: what a loader yields, what predicts, and what a prediction is."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

D = TypeVar("D", bound="Detections")
Keep = int | slice | NDArray[np.bool_] | NDArray[np.int64]
"""One place, several, or a mask."""
Size = tuple[int, int]
"""(height, width) in pixels."""
GREY = 114
"""What fills up an image, near the mean of COCO (`spec/yolov5.md` 2.8)."""


@dataclass(frozen=True)
class Frame:
    """How one image came to lie in a batch: pixel_in_batch = pixel_in_image * scale + pad.

    Attributes:
        path: The image file.
        size_hw: The image as it is on disk (after EXIF rotation), in pixels.
        scale_yx: Batch pixels per image pixel, vertically and horizontally.
        pad_yx: Batch pixels above and left of the image.
    """

    path: Path
    size_hw: Size
    scale_yx: tuple[float, float] = (1.0, 1.0)
    pad_yx: tuple[float, float] = (0.0, 0.0)

    def to_image(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Carry (N, 4) boxes from batch pixels to image pixels, clipped to the image."""
        pad_y, pad_x = self.pad_yx
        scale_y, scale_x = self.scale_yx
        height, width = self.size_hw
        shift = np.array([pad_x, pad_y, pad_x, pad_y], dtype=np.float32)
        scale = np.array([scale_x, scale_y, scale_x, scale_y], dtype=np.float32)
        limit = np.array([width, height, width, height], dtype=np.float32)
        moved: NDArray[np.float32] = ((boxes_xyxy - shift) / scale).clip(0, limit)
        return moved.astype(np.float32)


@dataclass(frozen=True)
class Batch:
    """A stack of equally large images with their boxes.

    Attributes:
        images: (B, 3, H, W) uint8, RGB.
        targets: (T, 6) float32: image number in the batch, class, centre x, centre y, width,
            height; the last four as shares of W and H.
        frames: B records of where each image came from.
        whole: Images in the parts of all processes; 0 where nobody shares a batch.
    """

    images: "Tensor"
    targets: "Tensor"
    frames: tuple[Frame, ...]
    whole: int = 0

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[0] != len(self.frames):
            raise ValueError(
                f"images {tuple(self.images.shape)} do not match {len(self.frames)} frames"
            )
        if self.targets.ndim != 2 or self.targets.shape[1] != 6:
            raise ValueError(f"targets must be (T, 6), got {tuple(self.targets.shape)}")


@dataclass(frozen=True)
class Detections:
    """What was found in one image, most confident first.

    Attributes:
        boxes_xyxy: (N, 4) float32, pixels of the image on disk.
        scores: (N,) float32 in [0, 1].
        classes: (N,) int64, indices into the runner's names.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.boxes_xyxy.shape != (count, 4) or self.classes.shape != (count,):
            raise ValueError(
                f"{count} scores need ({count}, 4) boxes and ({count},) classes, got "
                f"{self.boxes_xyxy.shape} and {self.classes.shape}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self: D, keep: Keep) -> D:
        """Return some: `found[found.scores > 0.5]`, `found[:10]`, `found[0]` (a record of one)."""
        rows = [keep] if isinstance(keep, int | np.integer) else keep
        return replace(
            self,
            boxes_xyxy=self.boxes_xyxy[rows],
            scores=self.scores[rows],
            classes=self.classes[rows],
        )


class Runner(Protocol):
    """Anything that predicts: a torch model, an ONNX file, later other runtimes.

    Attributes:
        names: Class names, by index.
        stride: Input sides must be multiples of this, in pixels.
        size_hw: The only input size that it takes, or None when any multiple of `stride` will do.
        batch: The only batch size that it takes, or None when any will do.
    """

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def stride(self) -> int: ...
    @property
    def size_hw(self) -> Size | None: ...
    @property
    def batch(self) -> int | None: ...

    def __call__(self, images: "Tensor") -> "Tensor":
        """Return (B, N, 5 + K) float32 candidates for (B, 3, H, W) uint8 RGB images.

        Per candidate: centre x, centre y, width, height in input pixels, objectness, then K class
        probabilities.
        """
        ...
