"""`state.pt`: all that a training needs, besides its data, to go on as if it had never stopped.

Plain tensors, numbers and strings, written atomically and read with `weights_only=True`. Weights
for use lie beside it in `last.safetensors` and `best.safetensors`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from prunus.core.errors import TrainingError
from prunus.core.files import write_atomically
from prunus.train.engine import Engine, Position

STATE, LAST, BEST = "state.pt", "last.safetensors", "best.safetensors"
FORMAT_VERSION = 1


def save_state(
    path: Path, engine: Engine, progress: Mapping[str, object], settings: Mapping[str, object]
) -> None:
    """Write the state of a training.

    Args:
        path: Where to.
        engine: What is in training.
        progress: JSON-ready facts about the run so far (`run.Progress`).
        settings: JSON-ready settings that the run was started with.
    """
    state = {
        "format_version": FORMAT_VERSION,
        "detector": engine.detector.state_dict(),
        "average": engine.average.detector.state_dict(),
        "updates": engine.average.updates,
        "optimizer": engine.optimizer.state_dict(),
        "scaler": engine.scaler.state_dict(),
        "position": asdict(engine.position),
        "spent": engine.shrinker.spent if engine.shrinker else 0.0,
        "rng": _rng_state(),
        "progress": json.dumps(progress),
        "settings": json.dumps(settings),
    }
    write_atomically(path, lambda temporary: torch.save(state, temporary))


def read_state(path: Path) -> dict[str, Any]:
    """Read a state.

    Raises:
        TrainingError: There is none, it is damaged, or a newer Prunus wrote it.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainingError(
            f"{path}: no such file, so nothing to resume. Give the folder of a training run."
        ) from error
    except (UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise TrainingError(
            f"{path}: damaged, or not written by Prunus. Start a new training from "
            f"{LAST} beside it."
        ) from error
    if state.get("format_version") != FORMAT_VERSION:
        raise TrainingError(
            f"{path}: has format {state.get('format_version')}, this Prunus reads "
            f"{FORMAT_VERSION}. Update Prunus, or start a new training from {LAST}."
        )
    return {
        **state,
        "progress": json.loads(state["progress"]),
        "settings": json.loads(state["settings"]),
    }


def restore_(engine: Engine, state: Mapping[str, Any]) -> None:
    """Put an engine, freshly built from the same settings, where the saved one was."""
    engine.detector.load_state_dict(state["detector"])
    engine.average.detector.load_state_dict(state["average"])
    engine.average.updates = state["updates"]
    engine.optimizer.load_state_dict(state["optimizer"])
    if engine.scaler.is_enabled():
        engine.scaler.load_state_dict(state["scaler"])
    engine.position = Position(**state["position"])
    if engine.shrinker is not None:
        engine.shrinker.go_on_from(state["spent"])
    if engine.holder is not None:
        engine.holder.hold_what_is_zero()
    torch.set_rng_state(state["rng"]["cpu"])
    if torch.cuda.is_available() and len(state["rng"]["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["rng"]["cuda"])


def _rng_state() -> dict[str, Any]:
    """Torch's generators; data order and augmentation depend on (seed, epoch, number) only."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}
