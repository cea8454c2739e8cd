"""`prunus.load`: a file that predicts → a model to be called with pictures."""

from pathlib import Path

from prunus.export.backends import open_runner
from prunus.predict.model import Model


def load(
    weights: str | Path, *, device: str = "", precision: str = "auto", threads: int | None = None
) -> Model:
    """Open a weights file or an exported model.

    Args:
        weights: A .safetensors, an official .pt, or a file of another runtime, such as an .onnx.
        device: cpu, or a GPU's number; empty for a GPU if there is one.
        precision: fp32, bf16 or fp16 of a torch model; auto for the best that the device has.
        threads: CPU threads; None for all.

    Raises:
        ExportError: No runtime opens such files, or this one is damaged or not trusted.
        WeightsError: The weights file is.
        ConfigError: No such device, or one that does not compute so.
    """
    path = Path(weights)
    runner = open_runner(path, device=device, precision=precision, threads=threads)
    return Model(runner, path.name)
