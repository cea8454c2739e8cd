"""What ran where: the facts that a measured figure is worthless without."""

import os
import platform
import sys
from pathlib import Path

REPORTED_PACKAGES = (
    "prunus",
    "torch",
    "numpy",
    "opencv-python-headless",
    "onnx",
    "onnxruntime",
    "openvino",
    "hotcoco",
)


def machine_facts() -> dict[str, object]:
    """Return processor, cores, memory and system; no host or user names."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "gpu": _gpu(),
    }


def package_versions() -> dict[str, str]:
    """Return the installed version of each package that figures depend on."""
    return {name: _version(name) for name in REPORTED_PACKAGES}


def _version(name: str) -> str:
    from importlib import metadata  # late: 40 ms that --help need not pay

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _gpu() -> str | None:
    torch = sys.modules.get(
        "torch"
    )  # a verb that never needed torch need not load it for its report
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name())
