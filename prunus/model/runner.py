"""A torch detector as a `Runner`: uint8 images in, candidates out."""

import torch
from torch import Tensor

from prunus.core.device import autocast
from prunus.core.records import Size
from prunus.model.detector import Detector


class TorchRunner:
    """Runs a detector in eval mode, as it is: fuse it beforehand.

    Attributes:
        size_hw: None: any multiple of the stride will do.
        batch: None: any will do.
    """

    size_hw: Size | None = None
    batch: int | None = None

    def __init__(self, detector: Detector, device: torch.device, precision: str) -> None:
        """Take over `detector`.

        Args:
            detector: Left in eval mode, on `device`.
            device: Where to run.
            precision: fp32, bf16 or fp16; decoding is always done in float32.
        """
        self.detector = detector.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.device = device
        self.precision = precision
        self.names = detector.names
        self.stride = detector.stride

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Return (B, N, 5 + K) float32 candidates, on the runner's device."""
        scaled = images.to(self.device, non_blocking=True).float().div_(255)
        scaled = scaled.contiguous(memory_format=torch.channels_last)
        with autocast(self.device, self.precision):
            maps = self.detector(scaled)
        candidates: Tensor = self.detector.decode([raw.float() for raw in maps])
        return candidates
