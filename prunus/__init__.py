"""Train, prune and ship YOLOv5-family object detectors, and prove what each step did."""


def __getattr__(name: str) -> str:
    """Find `__version__` when it is asked for: reading it costs 40 ms."""
    if name != "__version__":
        raise AttributeError(f"module 'prunus' has no attribute '{name}'")
    from importlib import metadata

    try:
        return metadata.version("prunus")
    except metadata.PackageNotFoundError:  # a source tree that is not installed
        return "0+unknown"
