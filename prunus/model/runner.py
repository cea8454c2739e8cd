"""A torch detector as a `Runner`: uint8 images in, candidates out."""

import torch
from torch import Tensor

from prunus.core.device import autocast
from prunus.core.records import Size
from prunus.model.decode import count_candidates, decode_into
from prunus.model.detector import Detector

CPU_PIECE = 8
"""Images that a CPU runs at a time, whatever the batch. The maps of 32 at 640 pixels fill 2 GB and
fall out of every cache: 25 ms an image in bf16 at 8, 49 at 32 (one thread), and a third of the
memory; 1 and 4 are no faster."""


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
        size = CPU_PIECE if self.device.type == "cpu" else max(len(images), 1)
        candidates: Tensor | None = None
        for start in range(0, max(len(images), 1), size):
            maps = self._run(images[start : start + size])
            if candidates is None:
                shape = (len(images), count_candidates(maps), maps[0].shape[-1])
                candidates = torch.empty(shape, device=self.device)
            decode_into(self.detector, maps, candidates[start : start + size])
        assert candidates is not None
        return candidates

    def _run(self, images: Tensor) -> list[Tensor]:
        moved = images.to(self.device, non_blocking=True)
        scaled = moved.contiguous(memory_format=torch.channels_last).float().div_(255)
        with autocast(self.device, self.precision):
            maps: list[Tensor] = self.detector(scaled)
        return maps
