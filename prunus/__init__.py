"""Train, prune and ship YOLOv5-family object detectors, and prove what each step did.

From Python: `prunus.load("w.safetensors")(images)` (`docs/predict.md`), and
`prunus.prune(model, example_inputs, ...)` on any `nn.Module` (`docs/python.md`).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prunus.pipeline.load import load as load
    from prunus.prune.run import prune as prune

VERBS = ("prune",)
"""Rooms that can be called (`core.callable_room`); `import prunus` is enough to reach them."""
FUNCTIONS = {"load": "prunus.pipeline.load:load"}
"""What is no room."""

__version__: str


def __getattr__(name: str) -> object:
    """Find what costs time only when it is asked for: `__version__` 40 ms, a verb its room."""
    if name in VERBS:
        from importlib import import_module

        return import_module(f"prunus.{name}")
    if name in FUNCTIONS:
        from pkgutil import resolve_name

        return resolve_name(FUNCTIONS[name])
    if name != "__version__":
        raise AttributeError(f"module 'prunus' has no attribute '{name}'")
    from importlib import metadata

    try:
        return metadata.version("prunus")
    except metadata.PackageNotFoundError:  # a source tree that is not installed
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *VERBS, *FUNCTIONS, "__version__"})
