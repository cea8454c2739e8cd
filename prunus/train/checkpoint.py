"""`state.pt`: all that a training needs, besides its data, to go on as if it had never stopped.

Plain tensors, numbers and strings, sealed with a checksum and read with `weights_only=True`; the
one before stays beside it as `state.previous.pt`. Weights for use lie there too, in
`last.safetensors` and `best.safetensors`; nothing is read back from them.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunus.core.console import log
from prunus.core.errors import TrainingError, WeightsError
from prunus.model.detector import Detector
from prunus.train.engine import Engine
from prunus.train.position import NotFiniteError, Position
from prunus.train.sealed import DamagedError, read_sealed, write_sealed
from prunus.weights.assemble import assemble

STATE, PREVIOUS = "state.pt", "state.previous.pt"
LAST, BEST = "last.safetensors", "best.safetensors"
FORMAT_VERSION = 2


def save_state(
    path: Path,
    engine: Engine,
    progress: Mapping[str, object],
    settings: Mapping[str, object],
    origin: Mapping[str, object] | None = None,
) -> None:
    """Write the state of a training; a whole one that stands there stays beside it as PREVIOUS.

    Args:
        path: Where to.
        engine: What is in training.
        progress: JSON-ready facts about the run so far (`progress.Progress`).
        settings: JSON-ready settings that the run was started with.
        origin: JSON-ready facts about where the detector came from (`progress.Origin`).

    Raises:
        NotFiniteError: A tensor of the state is not finite; nothing is written.
        PrunusError: It cannot be written; what was there is as it was.
    """
    check_finite(engine)
    holder, shrinker = engine.holder, engine.shrinker
    state = {
        "format_version": FORMAT_VERSION,
        "architecture": json.dumps(engine.detector.spec.to_mapping()),
        "names": list(engine.detector.names),
        "detector": engine.detector.state_dict(),
        "average": engine.average.detector.state_dict(),
        "updates": engine.average.updates,
        "optimizer": engine.optimizer.state_dict(),
        "scaler": engine.scaler.state_dict(),
        "position": asdict(engine.position),
        "batches": engine.schedule.batches,
        "spent": 0.0 if shrinker is None else shrinker.spent,
        "teacher": {} if engine.teacher is None else engine.teacher.state(),
        "zeros_wanted": 0.0 if holder is None else holder.wanted,
        "rng": _rng_state(),
        "progress": json.dumps(progress),
        "settings": json.dumps(settings),
        "origin": json.dumps(origin or {}),
    }
    write_sealed(path, state, path.with_name(PREVIOUS))


def check_finite(engine: Engine) -> None:
    """Make sure that the state is worth saving.

    Raises:
        NotFiniteError: A tensor of it is not finite.
    """
    for name, tensor in _tensors(engine):
        if not bool(tensor.isfinite().all()):
            epoch = engine.position.epoch + 1
            raise NotFiniteError(f"epoch {epoch}, on saving: {name} is not finite")


def read_state(path: Path) -> dict[str, Any]:
    """Read a state.

    Raises:
        TrainingError: There is none, it is damaged, or a newer Prunus wrote it.
    """
    try:
        state = read_sealed(path)
    except FileNotFoundError as error:
        raise TrainingError(
            f"{path}: no such file, so nothing to resume. Give the folder of a training run."
        ) from error
    except DamagedError as error:
        raise TrainingError(
            f"{path}: {error}. It is damaged, or not written by Prunus. Start a new training "
            f"from {LAST} beside it."
        ) from error
    if state.get("format_version") != FORMAT_VERSION:
        raise TrainingError(
            f"{path}: has format {state.get('format_version')}, this Prunus reads "
            f"{FORMAT_VERSION}. Update Prunus, or start a new training from {LAST}."
        )
    texts = ("architecture", "progress", "settings", "origin")
    return {**state, **{name: json.loads(state[name]) for name in texts}}


def newest_state(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the newest whole state of a run folder, and "" or why it is the one before the last.

    Raises:
        TrainingError: Neither is whole, or there is none; says what is wrong with each.
    """
    try:
        return read_state(folder / STATE), ""
    except TrainingError as error:
        if not (folder / PREVIOUS).exists():
            raise
        problem = str(error).partition(". ")[0]
    try:
        return read_state(folder / PREVIOUS), f"{problem}: going on from {PREVIOUS}"
    except TrainingError as error:
        raise TrainingError(f"{problem}, and {error}") from error


def detector_of(state: Mapping[str, Any], where: str) -> Detector:
    """Return the detector that a state is of, with the widths that its tensors have.

    Raises:
        TrainingError: Rows and tensors do not fit each other.
    """
    tensors = {name: tensor.clone() for name, tensor in state["detector"].items()}
    try:
        return assemble(state["architecture"], state["names"], tensors)
    except WeightsError as error:
        raise TrainingError(f"{where}: its detector {error}") from error


def restore_(engine: Engine, state: Mapping[str, Any]) -> None:
    """Put an engine, built from the same settings, where the saved one was."""
    engine.detector.load_state_dict(state["detector"])
    engine.average.detector.load_state_dict(state["average"])
    engine.average.updates = state["updates"]
    engine.optimizer.load_state_dict(state["optimizer"])
    if engine.scaler.is_enabled():
        engine.scaler.load_state_dict(state["scaler"])
    engine.position = Position(**state["position"])
    if engine.schedule.batches != state["batches"]:
        log.warning(
            "the data set has changed: an epoch has %d batches instead of %d. The training goes "
            "on, but not as it would have gone",
            engine.schedule.batches,
            state["batches"],
        )
    if engine.shrinker is not None:
        engine.shrinker.go_on_from(state["spent"])
    if engine.teacher is not None:
        engine.teacher.restore_(state["teacher"])
    if engine.holder is not None:
        engine.holder.hold_what_is_zero()
        engine.holder.wanted = state["zeros_wanted"]
    torch.set_rng_state(state["rng"]["cpu"])
    if torch.cuda.is_available() and len(state["rng"]["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["rng"]["cuda"])


def state_bytes(engine: Engine) -> int:
    """Return about how large the state is, before the optimizer has made its moments."""
    tensors = [*engine.detector.state_dict().values()]
    tensors += engine.average.detector.state_dict().values()
    learning = [p for group in engine.optimizer.param_groups for p in group["params"]]
    moments = 1 if "momentum" in engine.optimizer.defaults else 2
    size: int = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    size += moments * sum(p.numel() * p.element_size() for p in learning)
    return size


def _tensors(engine: Engine) -> Iterator[tuple[str, Tensor]]:
    """Yield all that could have become NaN or infinite, with a name for it."""
    for owner, module in (("weights", engine.detector), ("average", engine.average.detector)):
        for name, tensor in module.state_dict().items():
            yield f"{name} of the {owner}", tensor
    for moments in engine.optimizer.state.values():
        for name, value in moments.items():
            if isinstance(value, Tensor):
                yield f"{name} of the optimizer", value


def _rng_state() -> dict[str, Any]:
    """Torch's generators; data order and augmentation depend on (seed, epoch, number) only."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}
