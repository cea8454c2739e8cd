"""One pass over the calibration images: what matters in each layer's output, and where.

A random signed sum of the network's outputs is propagated back; its squared gradient at a value is,
on average over signs, how much a small error of that value changes the outputs, squared and weighed
(Hutchinson's estimator of the diagonal of Gauss–Newton's matrix). No labels are needed.

Most places of a picture are background that no output depends on. So the places that a layer is
observed at are drawn where its output matters: fits and scores then care for what the network
detects (`docs/decisions/006-repair-at-places-that-matter.md`).
"""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunus.core.console import track
from prunus.core.errors import PruningError
from prunus.model.channels.probe import Inputs, call_quietly, tensors_in
from prunus.model.channels.table import ChannelTable
from prunus.prune.evidence import (
    SEED,
    Calibration,
    Observation,
    Observed,
    Weigh,
    output_tensors,
)
from prunus.prune.observe.readers import LinearMap, by_place, picture_size, readers, watching

PLACES_PER_IMAGE = 200
TARGET_BYTES = 2 << 30
"""Memory for what layers put out at these places; larger networks are observed at fewer."""
FEWEST_PLACES = 16
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

    Left out are layers that do not run exactly once a pass, and those that do not keep the images
    apart along their first dimension.

    Args:
        model: Left as it is; a copy is run, in eval mode.
        table: Its channels; the layers that read some are observed.
        calibration: The images; each batch is held in memory alone.
        seed: Of signs and places.

    Raises:
        PruningError: There are no images, or the network says nothing finite of them.
    """
    total = calibration.total or sum(1 for _ in calibration.batches())
    watcher = _Watcher(model, table, calibration.weigh, total, seed)
    for batch in track(calibration.batches(), "observing", total):
        watcher.see(batch)
    if watcher.batches == 0:
        raise PruningError("calibration: there are no images. Give a data set with some.")
    return Observation(watcher.result(), calibration, watcher.batches)


def signed_sum(outputs: Sequence[Tensor], weigh: Weigh, random: torch.Generator) -> Tensor:
    """Return the sum of a network's outputs, weighed, each with a sign drawn by a fair coin.

    Raises:
        PruningError: The outputs are no numbers.
    """
    total = torch.zeros((), dtype=torch.float64)
    for output, weight in zip(outputs, weigh([o.detach() for o in outputs]), strict=True):
        coins = torch.randint(0, 2, output.shape, generator=random).to(output)
        total = total.to(output.device) + (output * weight.sqrt() * (2 * coins - 1)).sum().double()
    if not outputs or not bool(total.isfinite()):
        raise PruningError(
            "calibration: the network puts out no finite numbers. Its weights are damaged, or the "
            "images are."
        )
    return total


def pieces(batch: Inputs) -> Sequence[Inputs]:
    """Return a batch in pieces that are small enough to be run forth and back."""
    return torch.split(batch, IMAGES_AT_ONCE) if isinstance(batch, Tensor) else (batch,)


def count_images(batch: Inputs) -> int:
    """Return the length of a batch: that of the first tensor in it."""
    return len(tensors_in((batch,))[0])


def call(model: nn.Module, inputs: Inputs) -> object:
    """Run a network on its inputs, in whatever mode it is."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*(inputs if isinstance(inputs, tuple) else (inputs,)))


class _Watcher:
    """The copy that is run, and what it has shown so far."""

    def __init__(
        self, model: nn.Module, table: ChannelTable, weigh: Weigh, total: int, seed: int
    ) -> None:
        self._model = copy.deepcopy(model).eval().requires_grad_(False)
        self._layers = readers(self._model, table)
        self._paths = {layer: path for path, layer in self._layers.items()}
        self._weigh, self._total = weigh, total
        self._random = torch.Generator().manual_seed(seed)
        self._seen: dict[str, Observed] = {}
        self._weights: dict[str, Tensor] = {}
        self._unfit: set[str] = set()
        self._images = 0
        self._places = 0
        self.batches = 0

    def see(self, batch: Inputs) -> None:
        """Add one batch."""
        if self.batches == 0:
            self._look_ahead(batch)
        parts: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for piece in pieces(batch):
            for path, (output, gradient) in self._back_and_forth(piece).items():
                picked = self._pick(path, output, gradient, count_images(piece))
                parts.setdefault(path, []).append(picked)
        for path, picks in parts.items():
            seen = self._seen.setdefault(path, Observed())
            seen.places.append(torch.cat([places for places, _ in picks]))
            seen.targets.append(torch.cat([targets for _, targets in picks]))
        self._images += count_images(batch)
        self.batches += 1

    def result(self) -> dict[str, Observed]:
        """Return what was seen, layer by layer."""
        return {
            path: Observed(seen.places, seen.targets, self._weights[path] / self._images)
            for path, seen in self._seen.items()
            if path not in self._unfit and len(seen.places) == self.batches
        }

    def _look_ahead(self, batch: Inputs) -> None:
        """Find the layers that cannot be observed, and how many places memory is enough for."""
        whole, apart = self._rows(batch), Counter[str]()
        for piece in pieces(batch):
            apart.update(self._rows(piece))
        self._unfit |= {path for path, rows in apart.items() if whole.get(path) != rows}
        wide = sum(len(self._layers[path].weight) for path in whole if path not in self._unfit)
        bytes_a_place = 4 * wide * self._total * count_images(batch)
        affordable = TARGET_BYTES // max(bytes_a_place, 1)
        self._places = max(FEWEST_PLACES, min(PLACES_PER_IMAGE, affordable))

    def _rows(self, inputs: Inputs) -> dict[str, int]:
        """Return the length of each layer's output, as far as it has the expected dimensions."""
        rows: dict[str, int] = {}

        def note(layer: LinearMap, _given: Tensor, output: Tensor) -> None:
            path = self._paths[layer]
            flat = output.ndim != 4 if isinstance(layer, nn.Conv2d) else output.ndim < 2
            if path in rows or flat:
                self._unfit.add(path)
            rows[path] = len(output)

        with watching(list(self._layers.values()), note):
            call_quietly(self._model, inputs)
        return rows

    def _back_and_forth(self, piece: Inputs) -> dict[str, tuple[Tensor, Tensor]]:
        """Return what each layer puts out, and the gradient there."""
        said: dict[str, Tensor] = {}

        def note(layer: LinearMap, _given: Tensor, output: Tensor) -> Tensor | None:
            path = self._paths[layer]
            if path in self._unfit:
                return None
            if not output.requires_grad:  # nothing before it is observed
                output.requires_grad_()
            said[path] = output
            return output.clone()  # what follows may write into it

        with torch.enable_grad(), watching(list(self._layers.values()), note):
            outputs = output_tensors(call(self._model, piece))
            total = signed_sum(outputs, self._weigh, self._random)
        if not total.requires_grad:
            return {path: (output, torch.zeros_like(output)) for path, output in said.items()}
        gradients = torch.autograd.grad(
            total, list(said.values()), allow_unused=True, materialize_grads=True
        )
        pairs = zip(said.items(), gradients, strict=True)
        return {path: (output.detach(), gradient) for (path, output), gradient in pairs}

    def _pick(
        self, path: str, output: Tensor, gradient: Tensor, images: int
    ) -> tuple[Tensor, Tensor]:
        """Return (B, P) places, drawn where the output matters, and (B * P, O) what is put out."""
        layer = self._layers[path]
        pull = by_place(layer, gradient).double().square()  # (B, places, O)
        self._weights[path] = self._weights.get(path, torch.zeros(())) + pull.sum((0, 1)).cpu()
        matter = _blurred(pull.sum(-1), picture_size(layer, output)).cpu()
        share = matter / matter.sum(1, keepdim=True).clamp(min=torch.finfo(matter.dtype).tiny)
        odds = (1 - BACKGROUND) * share + BACKGROUND / matter.size(1)
        count = min(max(1, self._places * images // len(output)), matter.size(1))
        places = torch.multinomial(odds, count, replacement=True, generator=self._random)
        said = by_place(layer, output)
        index = places.to(said.device).unsqueeze(-1).expand(-1, -1, said.size(-1))
        return places, said.gather(1, index).flatten(0, 1).cpu()


def _blurred(matter: Tensor, size_hw: tuple[int, int] | None) -> Tensor:
    if size_hw is None or min(size_hw) < BLUR:
        return matter
    picture = matter.view(len(matter), 1, *size_hw)
    return F.avg_pool2d(picture, BLUR, 1, BLUR // 2).flatten(1)
