"""Which price a pair of widths pays: runtimes compute whole vectors, so costs go in steps.

Measured on AVX-512, 64 -> n channels, 3x3 at 40x40, ONNX Runtime 1.32, microseconds: 4 to 16
channels 186, 17 to 32 270, 33 to 48 383, 49 to 64 495. A width between two steps costs what the
upper one costs.
"""

from typing import NamedTuple

FEWEST_FED = 4
"""Layers with fewer input channels read images, which are float32: nothing is before them."""
UNALIGNED = "unaligned"
"""The lane of widths that fall out of a runtime's fast layout; measured on a coarser grid."""

FINE = (4, 8, 12)
"""Widths below one vector that are measured where the cost does not go in steps."""

STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
COARSE = (1, 2, 4, 8, 16, 32, 64, 128)
"""Measured widths, in vectors: between two of them the cost is linear in the vectors."""


class Lane(NamedTuple):
    """Where a pair of widths is priced.

    Attributes:
        name: Of the way of computing; prices of different ones are never mixed.
        inputs: Channels in, rounded up where the cost goes in steps.
        outputs: Channels out, likewise.
    """

    name: str
    inputs: int
    outputs: int


def vector_width() -> int:
    """Return the channels that runtimes block together on this processor: 16 or 8."""
    import torch  # late: an import does no probing

    return 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8


def rounded_up(width: int, step: int) -> int:
    return -(-width // step) * step


def candidates(most: int, vector: int) -> list[int]:
    """Return the widths to measure, ascending, from the smallest to `most`."""
    steps = [vector * step for step in STEPS]
    return [width for width in (*FINE, *steps) if width < most] + [most]


def unaligned(most: int, vector: int) -> list[int]:
    """Return fewer and odd widths: one above each of some steps, to the last below `most`."""
    last = most - 1 if most % 2 == 0 else most
    odd = {vector * step + 1 for step in COARSE}
    return sorted({width for width in odd if width < last} | {last}) if most > vector else []
