"""One pass over the calibration images: what matters in each layer's output, and where.

A random signed sum of the network's outputs is propagated back; its squared gradient at a value is,
on average over signs, how much a small error of that value changes the outputs, squared and weighed
(Hutchinson's estimator of the diagonal of Gauss–Newton's matrix). No labels are needed.

Most places of a picture are background that no output depends on. So the places that a layer is
observed at are drawn where its output matters: fits and scores then care for what the network
detects. On the official yolov5n at -20 % FLOPs this alone is worth 2 points of mAP50-95
(`benchmarks/results/repair.jsonl`).
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunus.core.console import track
from prunus.core.errors import PruningError
from prunus.model.channels.probe import Inputs
from prunus.model.channels.table import ChannelTable
from prunus.prune.evidence import SEED, Calibration, Observation, Observed, output_tensors
from prunus.prune.observe.readers import (
    Reader,
    by_place,
    patch_length,
    picture_size,
    readers,
    watching,
)

PLACES_PER_IMAGE = 200
TARGET_BYTES = 2 << 30
"""Memory for what layers put out at these places; larger networks are observed at fewer."""
BACKGROUND = 0.3
"""Share of the places that is drawn anywhere."""
BLUR = 3
"""Side of the square over which a gradient speaks for its neighbours."""
IMAGES_AT_ONCE = 2
"""Images whose graph is kept for the way back."""


def observe(
    model: nn.Module, table: ChannelTable, calibration: Calibration, seed: int = SEED
) -> Observation:
    """Run the network over the images, forth and back.

    Args:
        model: Left as it is; a copy is run, in eval mode.
        table: Its channels; the layers that read some are observed.
        calibration: The images; each batch is held in memory alone.
        seed: Of signs and places.

    Raises:
        PruningError: There are no images.
    """
    watcher = _Watcher(model, table, seed)
    batches = 0
    for batch in track(calibration.batches(), "observing", calibration.total):
        watcher.see(batch, calibration)
        batches += 1
    if batches == 0:
        raise PruningError("calibration: there are no images. Give a data set with some.")
    return Observation(watcher.result(), calibration, batches)


class _Watcher:
    """The copy that is run, and what it has shown so far."""

    def __init__(self, model: nn.Module, table: ChannelTable, seed: int) -> None:
        self._model = copy.deepcopy(model).eval()
        self._model.requires_grad_(False)
        for module in self._model.modules():
            if getattr(module, "inplace", False) is True:  # what was seen must stay to be read
                module.inplace = False  # type: ignore[assignment]
        self._layers = readers(self._model, table)
        self._paths = {layer: path for path, layer in self._layers.items()}
        self._random = torch.Generator().manual_seed(seed)
        self._seen: dict[str, Observed] = {}
        self._weights: dict[str, Tensor] = {}
        self._often: set[str] = set()
        self._outputs: dict[str, Tensor] = {}
        self._images = 0
        self._places = PLACES_PER_IMAGE

    def see(self, batch: Inputs, calibration: Calibration) -> None:
        """Add one batch."""
        parts: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for piece in _pieces(batch):
            self._back_and_forth(piece, calibration)
            for path, output in self._outputs.items():
                parts.setdefault(path, []).append(self._pick(path, output))
            self._outputs.clear()
        for path, picked in parts.items():
            seen = self._seen.setdefault(path, Observed())
            seen.places.append(torch.cat([places for places, _ in picked]))
            seen.targets.append(torch.cat([targets for _, targets in picked]))

    def result(self) -> dict[str, Observed]:
        """Return the layers that ran once a pass."""
        return {
            path: Observed(seen.places, seen.targets, self._weights[path] / self._images)
            for path, seen in self._seen.items()
            if path not in self._often
        }

    def _back_and_forth(self, piece: Inputs, calibration: Calibration) -> None:
        def note(layer: Any, _inputs: object, output: Tensor) -> None:
            path = self._paths[layer]
            if path in self._outputs:
                self._often.add(path)
            output.retain_grad()
            self._outputs[path] = output

        with torch.enable_grad(), watching(list(self._layers.values()), note):
            outputs = output_tensors(_call(self._model, _with_gradient(piece)))
            weights = calibration.weigh([output.detach() for output in outputs])
            total = sum(
                (output * weight.sqrt() * self._signs(output)).sum()
                for output, weight in zip(outputs, weights, strict=True)
            )
            if not isinstance(total, Tensor):
                raise PruningError("calibration: the network puts out no numbers.")
            total.backward()  # type: ignore[no-untyped-call]
        self._images += len(outputs[0])
        if self._images == len(outputs[0]):
            self._places = self._affordable(calibration)

    def _signs(self, like: Tensor) -> Tensor:
        coins = torch.randint(0, 2, like.shape, generator=self._random)
        return (2 * coins - 1).to(like)

    def _affordable(self, calibration: Calibration) -> int:
        """Return how many places of an image fit into memory."""
        images = (calibration.total or 1) * self._images * IMAGES_AT_ONCE
        wide = sum(output.size(1) for output in self._outputs.values()) * 4
        return max(16, min(PLACES_PER_IMAGE, TARGET_BYTES // max(images * wide, 1)))

    def _pick(self, path: str, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, P) places, drawn where the output matters, and (B * P, O) what is put out."""
        layer = self._layers[path]
        gradient = output.grad if output.grad is not None else torch.zeros_like(output)
        pull = by_place(layer, gradient).double().square()  # (B, places, O)
        self._weights[path] = self._weights.get(path, torch.zeros(())) + pull.sum((0, 1)).cpu()
        matter = _blurred(pull.sum(-1), picture_size(layer, output)).float().cpu()
        share = matter / matter.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        odds = (1 - BACKGROUND) * share + BACKGROUND / matter.size(1)
        count = min(self._places, matter.size(1))
        places = torch.multinomial(odds, count, replacement=True, generator=self._random)
        said = by_place(layer, output.detach())
        index = places.to(said.device).unsqueeze(-1).expand(-1, -1, said.size(-1))
        return places, said.gather(1, index).flatten(0, 1).cpu()


def ordered(observation: Observation, model: nn.Module) -> Iterator[tuple[str, Reader]]:
    """Yield the observed layers as they are in another network of the same paths."""
    for path in observation.layers:
        layer = model.get_submodule(path)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        yield path, layer


def moment_bytes(layer: Reader) -> int:
    """Return the memory of a layer's float64 moments."""
    return 8 * (patch_length(layer) + 1) ** 2


def call(model: nn.Module, inputs: Inputs) -> object:
    """Run a network on its inputs, in whatever mode it is."""
    return _call(model, inputs)


def _call(model: nn.Module, inputs: Inputs) -> object:
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*(inputs if isinstance(inputs, tuple) else (inputs,)))


def _pieces(batch: Inputs) -> Sequence[Inputs]:
    return torch.split(batch, IMAGES_AT_ONCE) if isinstance(batch, Tensor) else (batch,)


def _with_gradient(piece: Inputs) -> Inputs:
    def mark(value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            return value.detach().clone().requires_grad_(True)
        return value

    if isinstance(piece, Mapping):
        return {name: mark(value) for name, value in piece.items()}
    if isinstance(piece, tuple):
        return tuple(mark(value) for value in piece)
    return mark(piece)  # type: ignore[no-any-return]


def _blurred(matter: Tensor, size_hw: tuple[int, int] | None) -> Tensor:
    if size_hw is None or min(size_hw) < BLUR:
        return matter
    picture = matter.view(len(matter), 1, *size_hw)
    return F.avg_pool2d(picture, BLUR, 1, BLUR // 2).flatten(1)
