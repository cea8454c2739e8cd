"""The compressed size of the official YOLOv5n with zeros: the known figures (`anchors.md`)."""

from pathlib import Path

import pytest

from prunus.model.fuse import fuse
from prunus.prune.masks.choose import sparsify
from prunus.prune.masks.size import compressed_bytes
from prunus.weights.files import load_weights

pytestmark = pytest.mark.parity

TOLERANCE = 0.01
"""In MB: one unit of the last digit to which the figures are known."""
FIGURES_MB = {0.0: 3.49, 0.5: 2.10, 0.7: 1.37, 0.9: 0.53}


@pytest.mark.parametrize(("amount", "megabytes"), FIGURES_MB.items())
def test_fp16_and_gzip_give_the_known_sizes(assets: Path, amount: float, megabytes: float) -> None:
    fused = fuse(load_weights(assets / "weights" / "yolov5n.pt").detector)
    if amount:
        sparsify(fused, amount, scope="global")
    size = compressed_bytes(fused.state_dict()) / 1e6
    assert size == pytest.approx(megabytes, abs=TOLERANCE)
