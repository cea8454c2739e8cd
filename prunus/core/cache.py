"""Where things are kept that can be made again: `PRUNUS_CACHE`, or `prunus` in the user's cache."""

import os
from pathlib import Path

FOLDER_VARIABLE = "PRUNUS_CACHE"


def cache_folder() -> Path:
    """Return the folder of everything that may be deleted at any time; it may not exist yet."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "prunus"
