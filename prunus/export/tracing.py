"""What every exporter traces: the fused rows, then the decoded boxes."""

from torch import Tensor, nn

from prunus.model.detector import Detector
from prunus.model.fuse import fuse


class Decoded(nn.Module):
    """(B, 3, H, W) float32 in [0, 1] → (B, N, 5 + K) candidates."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        return self.detector.decode(self.detector(images))


def decoded(detector: Detector) -> Decoded:
    """Return the graph of a detector, which is left as it is."""
    return Decoded(fuse(detector).cpu().float()).eval()
