"""The proof that layers fit together: one run on shapes alone, which names the layer that fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from prunus.core.errors import ModelError, WeightsError
from prunus.model.build import DRY_RUN_SIDE, dry_run
from prunus.model.detector import Detector
from prunus.weights.inert import shown

UNBUILDABLE = (ModelError, RuntimeError, ArithmeticError, LookupError, TypeError, ValueError)
"""What building or running raises on rows that a file made up."""
MAX_REASON = 300


def prove_fit(detector: Detector) -> None:
    """Run the detector once on shapes alone.

    Raises:
        WeightsError: A layer does not take what arrives; the message names it.
    """
    entered: list[tuple[str, nn.Module, Any]] = []
    with _watched(detector, entered):
        try:
            dry_run(detector, DRY_RUN_SIDE, DRY_RUN_SIDE)
        except UNBUILDABLE as error:
            raise WeightsError(_misfit(entered, error)) from error


def first_line(error: Exception) -> str:
    """Return what an error says as one short line; the words may be a file's."""
    text = str(error).splitlines()
    return shown(text[0] if text else type(error).__name__, MAX_REASON)


@contextmanager
def _watched(detector: Detector, entered: list[tuple[str, nn.Module, Any]]) -> Iterator[None]:
    """Let `entered` hold the innermost layer that was entered last, with its inputs."""

    def remember(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            entered[:] = [(name, module, inputs)]

        return hook

    handles = [
        layer.register_forward_pre_hook(remember(name))
        for name, layer in detector.named_modules()
        if name
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _misfit(entered: list[tuple[str, nn.Module, Any]], error: Exception) -> str:
    if not entered:
        return f"its architecture does not run: {first_line(error)}"
    name, layer, inputs = entered[0]
    first = inputs[0] if inputs else None
    if isinstance(layer, nn.Conv2d) and isinstance(first, Tensor) and first.ndim == 4:
        return (
            f"{name}.weight: has shape {tuple(layer.weight.shape)}, which takes "
            f"{layer.in_channels} channels, but {first.shape[1]} arrive."
        )
    return f"{name}: does not take what arrives: {first_line(error)}"
