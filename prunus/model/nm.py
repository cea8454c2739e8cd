"""N:M sparsity: what fulfils it, what cannot, and which hardware gains from it.

Of every M consecutive weights along the input channels, for each output channel and each position
of the kernel, at most N differ from zero: the layout that NVIDIA's sparse tensor cores take with
2:4 (Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021, arXiv:2104.08378, section 3).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from prunus.core.console import table
from prunus.core.shares import Pattern
from prunus.model.zeros import grouped, weights_of

NO_SPEED = (
    "The shapes are unchanged: dense runtimes gain no speed, nor do sparse tensor cores, which "
    "take N:M zeros only. For a faster model use `prunus prune`."
)
SPEED = (
    "{pattern} runs faster only on NVIDIA GPUs of the Ampere generation or newer, in fp16, bf16 or "
    "int8, through TensorRT (built with sparsity enabled) or cuSPARSELt. CPUs, older GPUs and "
    "plain torch, ONNX Runtime or OpenVINO gain no speed. For those use `prunus prune`."
)
NO_HARDWARE = (
    "{pattern} is taken by no sparse tensor core (NVIDIA's take 2:4): no runtime gains speed. "
    "For a faster model use --nm 2:4, or `prunus prune`."
)


@dataclass(frozen=True)
class PatternCheck:
    """Whether one layer fulfils a pattern.

    Attributes:
        layer: Its name.
        groups: Groups of M weights; 0 where the pattern does not apply.
        violations: Groups with more than N weights that differ from zero.
        reason: Why the pattern does not apply, or "".
    """

    layer: str
    groups: int
    violations: int
    reason: str = ""


def why_not(weight: Tensor, pattern: Pattern) -> str:
    """Return why a weight, (out, in, ...), cannot have the pattern, or ""."""
    if weight.ndim < 2:
        return "no input channels"
    channels = weight.shape[1]
    if channels % pattern.group == 0:
        return ""
    plural = "" if channels == 1 else "s"
    return f"{channels} input channel{plural}: no multiple of {pattern.group}"


def check_nm(model: nn.Module, n: int, m: int) -> tuple[PatternCheck, ...]:
    """Check every convolution and linear layer of a network.

    Args:
        model: Any network.
        n: Weights that may differ from zero ...
        m: ... of every so many consecutive input channels.
    """
    return check_nm_arrays({name: w.detach() for name, w in weights_of(model).items()}, n, m)


def check_nm_arrays(
    weights: Mapping[str, Tensor | npt.NDArray[Any]], n: int, m: int
) -> tuple[PatternCheck, ...]:
    """Check weights that lie outside a network, such as the initializers of an ONNX file.

    Args:
        weights: (out, in, ...) by name: tensors or arrays.
        n: Weights that may differ from zero ...
        m: ... of every so many consecutive input channels.
    """
    pattern = Pattern(n, m)
    return tuple(_check(name, weight, pattern) for name, weight in weights.items())


def _check(name: str, weight: Tensor | npt.NDArray[Any], pattern: Pattern) -> PatternCheck:
    values = torch.tensor(weight) if isinstance(weight, np.ndarray) else weight
    reason = why_not(values, pattern)
    if reason:
        return PatternCheck(name, 0, 0, reason)
    nonzeros = (grouped(values, pattern.group) != 0).sum(dim=-1)
    return PatternCheck(name, nonzeros.numel(), int((nonzeros > pattern.kept).sum()))


def nm_table(checks: Iterable[PatternCheck], pattern: Pattern) -> str:
    """Return a table of layers, their groups and violations, and why one cannot fulfil it."""
    rows = [
        (check.layer, check.groups, check.violations, check.reason and f"dense: {check.reason}")
        for check in checks
    ]
    return table(f"{pattern} along the input channels", ("layer", "groups", "violations", ""), rows)


def speed_note(pattern: Pattern | None) -> str:
    """Return what zeros do not speed up, and on which hardware those of a pattern do.

    Sources: NVIDIA's release notes of cuSPARSELt (compute capability 8.0 and newer; fp16, bf16,
    int8) and its guide to sparsity in TensorRT 8.0 and newer.
    """
    if pattern is None:
        return NO_SPEED
    if not pattern.fits_2_of_4:
        return NO_HARDWARE.format(pattern=pattern)
    shown = str(pattern) if pattern == (2, 4) else f"{pattern}, run as 2:4,"
    return SPEED.format(pattern=shown)
