"""Where and how precisely to compute: device, precision, and an allocator that keeps its pages.

Torch is imported inside the functions that need it, so that the room stays cheap to import.
"""

import contextlib
import ctypes
import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from prunus.core.errors import ConfigError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
KEEP_BYTES = 1 << 30


def select_device(name: str = "", local_rank: int = 0) -> "torch.device":
    """Return the device for "" or "auto" (a GPU if there is one), "cpu", "0", "cuda:1" or "mps".

    Args:
        name: Which.
        local_rank: The GPU that "a GPU" means, where several processes of a machine train together.

    Raises:
        ConfigError: No such device on this machine.
    """
    import torch

    text = name.strip().lower()
    if text in ("", "auto"):
        return torch.device(f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu")
    text = f"cuda:{text}" if text.isdigit() else text
    if local_rank and text.startswith("cuda:"):
        raise ConfigError(f"device: '{name}' is one GPU for several processes. Leave --device out.")
    try:
        device = torch.device(text)
    except RuntimeError as error:
        raise ConfigError(
            f"device: '{name}' is no device. Give cpu, or a GPU's number such as 0."
        ) from error
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise ConfigError(
                f"device: '{name}' asked for, but this machine has {count} CUDA devices. Try cpu."
            )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device: 'mps' asked for, but this machine has none. Try cpu.")
    return device


def resolve_precision(precision: str, device: "torch.device") -> str:
    """Return fp32, bf16 or fp16; "auto" is bf16 where the device computes it natively, else fp32.

    Raises:
        ConfigError: The word is none of PRECISIONS, or fp16 is asked of a CPU.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"precision: '{precision}' is none of {', '.join(PRECISIONS)}.")
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision: fp16 is slower than fp32 on a CPU. Use bf16 or fp32.")
    if precision != "auto":
        return precision
    return "bf16" if _has_native_bf16(device) else "fp32"


def autocast(device: "torch.device", precision: str) -> AbstractContextManager[object]:
    """Return the context in which to run a forward pass at `precision`."""
    import torch

    if precision == "fp32":
        return contextlib.nullcontext()
    kind = torch.bfloat16 if precision == "bf16" else torch.float16
    return torch.autocast(device.type, dtype=kind, cache_enabled=torch.is_grad_enabled())


def keep_freed_pages() -> None:
    """Ask glibc to keep up to 1 GiB of freed memory instead of returning it after every layer.

    A third of a CPU inference is page faults otherwise. Without glibc, nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, KEEP_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)


def _has_native_bf16(device: "torch.device") -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False
