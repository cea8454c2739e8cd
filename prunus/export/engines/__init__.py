"""What computes an exported file: numpy in, numpy out, one runtime a file.

An engine runs in this process, or in one of its own (`child`): then a runtime that a foreign file
brings down takes only that process along. No file here imports more than its runtime, so that such
a process starts quickly. A new runtime is one file here with `start`, and its line in ENGINES.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from prunus.core.errors import printable

Pictures = NDArray[np.uint8]
Candidates = NDArray[np.float32]

MAX_SHOWN = 300
"""Characters of a message that a foreign file may have written."""
ENGINES = {
    "onnx": "prunus.export.engines.onnx",
    "openvino": "prunus.export.engines.openvino",
    "torchscript": "prunus.export.engines.torchscript",
    "torch": "prunus.export.engines.torch",
    "compiled": "prunus.export.engines.compiled",
}


class EngineError(Exception):
    """The runtime refuses a file or an input, or died of it; the message completes "FILE: "."""


@dataclass(frozen=True)
class Options:
    """How to compute.

    Attributes:
        precision: fp32, bf16 or fp16.
        threads: CPU threads inside one operator.
        device: cpu, or cuda:0 and so on.
        divide_by: What brings the images' 0 to 255 to what the file takes.
    """

    precision: str = "fp32"
    threads: int = 1
    device: str = "cpu"
    divide_by: float = 255.0


class Engine(Protocol):
    """A model that is ready to run."""

    def __call__(self, images: Pictures) -> Candidates:
        """Return (B, N, 5 + K) float32 candidates for (B, 3, H, W) uint8 images.

        Raises:
            EngineError: The runtime failed.
        """
        ...


class Start(Protocol):
    """Gets a model ready."""

    def __call__(self, content: Sequence[bytes], options: Options) -> Engine:
        """Return the engine of a file.

        Args:
            content: The bytes of the file and of its companions, vetted.
            options: How to compute.

        Raises:
            EngineError: The runtime refuses it, or is not installed.
        """
        ...


def start_engine(name: str, content: Sequence[bytes], options: Options) -> Engine:
    """Start the engine of that name in ENGINES, here.

    Raises:
        EngineError: The runtime refuses the file.
    """
    start: Start = import_module(ENGINES[name]).start
    return start(content, options)


def first_line(error: Exception) -> str:
    """Return what an error says, in one line that is safe to show."""
    return plain((str(error).strip() or type(error).__name__).splitlines()[0])


def plain(text: str) -> str:
    """Return words that a foreign file may have chosen: short, printable, in one line."""
    shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
    return printable(shown)
