"""What a detector costs: parameters and floating-point operations, counted on shapes alone."""

from typing import Any

from torch import Tensor, nn

from prunus.core.records import Size
from prunus.model.build import dry_run
from prunus.model.detector import Detector

PUBLISHED_SIZE: Size = (640, 640)
"""The input size at which YOLOv5's published FLOPs are quoted, P6 models included."""


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def count_flops(detector: Detector, size_hw: Size = PUBLISHED_SIZE) -> int:
    """Return the operations for one image: two per multiply-accumulate, convolutions only."""
    return sum(flops_by_layer(detector, size_hw).values())


def flops_by_layer(detector: Detector, size_hw: Size = PUBLISHED_SIZE) -> dict[str, int]:
    """Return each convolution's operations for one image, by module name."""
    counts: dict[str, int] = {}
    hooks = []

    def counter(name: str, conv: nn.Conv2d) -> Any:
        per_output = 2 * conv.kernel_size[0] * conv.kernel_size[1] * conv.in_channels // conv.groups

        def count(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            counts[name] = counts.get(name, 0) + per_output * output[0].numel()

        return count

    for name, module in detector.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(counter(name, module)))
    try:
        dry_run(detector, *size_hw)
    finally:
        for hook in hooks:
            hook.remove()
    return counts
