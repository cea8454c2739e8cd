"""What one optimizer step costs on this machine: seconds, and memory. Measured on a real step."""

import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from prunus.core.records import Batch, Frame
from prunus.model.detector import Detector
from prunus.train.build import build_engine
from prunus.train.config import TrainConfig

BOXES_PER_IMAGE = 20
"""More than most data sets have: what the loss takes grows with the boxes."""
SIDES = (0.05, 0.5)
"""Of these boxes, as shares of the image."""
RESET_PEAK = "5"
"""What resets the peak of a process when written to its `clear_refs`: proc(5)."""


@dataclass(frozen=True)
class StepCost:
    """One step: forward, loss on dense labels, backward, optimizer, average.

    Attributes:
        seconds: How long it took.
        kept_bytes: What the forward pass kept for the backward pass, weights not counted.
        peak_bytes: Memory of the process (on a GPU: that torch holds) at its highest; 0 where the
            system does not say.
        fits: Whether the batch could be computed in one piece.
    """

    seconds: float
    kept_bytes: int
    peak_bytes: int
    fits: bool


def measured_step(
    detector: Detector, settings: TrainConfig, image_size: int, images: int, *, repeats: int = 1
) -> StepCost:
    """Run a step on a copy of the detector, as these settings have it; the last of `repeats`.

    Args:
        detector: Is not changed.
        settings: Device, precision, frozen rows and optimizer are taken from it.
        image_size: Side of the images, in pixels.
        images: Images in the batch.
        repeats: Steps; first ones take longer than those that follow.
    """
    plain = {
        "batch_size": images,
        "nominal_batch": images,
        "epochs": repeats,
        "sparsity": None,
        "weight_sparsity": None,
        "nm": None,
        "keep_zeros": False,
        "multi_scale": False,
    }
    step = settings.model_copy(update=plain)
    engine = build_engine(deepcopy(detector), step, image_size=image_size, batches=1)
    batch = dense_batch(images, image_size, len(detector.names))
    kept = Kept({id_of(tensor) for tensor in engine.detector.state_dict().values()})
    seconds = 0.0
    peak = _Peak(engine.device)
    for _ in range(repeats):
        kept.bytes_by_storage.clear()
        start = perf_counter()
        with saved_tensors_hooks(kept, _as_it_is):
            engine.run_epoch([batch], _never)
        if engine.device.type == "cuda":
            torch.cuda.synchronize(engine.device)
        seconds = perf_counter() - start
        engine.position.begin_next_epoch()
    fits = engine.position.pieces == 1
    return StepCost(seconds, sum(kept.bytes_by_storage.values()), peak.bytes(), fits)


def dense_batch(images: int, image_size: int, classes: int) -> Batch:
    """Return noise with BOXES_PER_IMAGE boxes an image; the same each time."""
    generator = torch.Generator().manual_seed(0)
    count = images * BOXES_PER_IMAGE
    side = torch.rand(count, 2, generator=generator) * (SIDES[1] - SIDES[0]) + SIDES[0]
    centre = side / 2 + torch.rand(count, 2, generator=generator) * (1 - side)
    kind = torch.randint(classes, (count, 1), generator=generator).float()
    number = torch.arange(images).repeat_interleave(BOXES_PER_IMAGE).view(-1, 1).float()
    shape = (images, 3, image_size, image_size)
    return Batch(
        torch.randint(256, shape, generator=generator, dtype=torch.uint8),
        torch.cat((number, kind, centre, side), dim=1),
        tuple(Frame(Path("noise"), (image_size, image_size)) for _ in range(images)),
    )


class Kept:
    """Counts what autograd keeps, each storage once.

    Attributes:
        bytes_by_storage: By address.
    """

    def __init__(self, known: set[int]) -> None:
        """Leave out the storages at these addresses: weights, which are there anyway."""
        self._known = known
        self.bytes_by_storage: dict[int, int] = {}

    def __call__(self, tensor: Tensor) -> Tensor:
        """Count one saved tensor."""
        address = id_of(tensor)
        if address not in self._known:
            self.bytes_by_storage[address] = tensor.untyped_storage().nbytes()
        return tensor


def id_of(tensor: Tensor) -> int:
    """Return the address of a tensor's storage."""
    return tensor.untyped_storage().data_ptr()


class _Peak:
    """The highest memory since it was made."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _try(lambda: Path("/proc/self/clear_refs").write_text(RESET_PEAK, encoding="ascii"))

    def bytes(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_reserved(self._device)
        return resident_bytes("VmHWM")


def resident_bytes(field: str = "VmRSS") -> int:
    """Return what Linux says of this process's memory, VmRSS now or VmHWM at most; else 0."""
    if not os.path.exists("/proc/self/status"):  # noqa: PTH110 - no path of ours
        return 0
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def _try(act: Callable[[], object]) -> None:
    try:
        act()
    except OSError:
        return  # peaks then count from the process's start


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _never() -> bool:
    return False
