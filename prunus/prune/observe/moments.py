"""Sums over what layers see at their observed places: all that a linear regression needs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from prunus.core.console import track
from prunus.model.channels.probe import call_quietly
from prunus.prune.evidence import Observation
from prunus.prune.observe.readers import (
    LinearMap,
    patch_length,
    read_patches,
    reader_at,
    watching,
)

MEMORY_BYTES = 2 << 30
"""Memory for the moments of one pass; what does not fit is seen in further passes."""

Item = TypeVar("Item")


class Moments(NamedTuple):
    """Mean and covariance of a layer's patches.

    Attributes:
        mean: (D,) float64.
        covariance: (D, D) float64, centred.
    """

    mean: Tensor
    covariance: Tensor


@dataclass
class Sums:
    """Running sums of patches, and of their products with themselves.

    Attributes:
        count: Patches so far.
        origin: (D,) what they are counted from, the mean of the first: small numbers keep digits.
        first: (D,) float64 sum.
        second: (D, D) float64 sum of products.
    """

    count: int = 0
    origin: Tensor = field(default_factory=lambda: torch.zeros(()))
    first: Tensor = field(default_factory=lambda: torch.zeros(()))
    second: Tensor = field(default_factory=lambda: torch.zeros(()))

    def add(self, patches: Tensor) -> None:
        """Add (n, D) patches."""
        if self.count == 0:
            self.origin = patches.mean(0)
            self.first = torch.zeros_like(self.origin, dtype=torch.float64)
            self.second = self.first.new_zeros(patches.size(1), patches.size(1))
        centred = patches - self.origin
        self.count += len(patches)
        self.first += centred.sum(0)
        self.second += centred.T @ centred

    def moments(self) -> Moments:
        """Return what the patches so far amount to."""
        shift = self.first / self.count
        covariance = (self.second / self.count).addr_(shift, shift, alpha=-1)
        return Moments(self.origin.double() + shift, covariance)


def measure_moments(
    model: nn.Module, observation: Observation, paths: Sequence[str], batches: int | None = None
) -> dict[str, Moments]:
    """Run the network once over the images and return the moments of some layers' inputs.

    Args:
        model: The network that was observed; left as it is.
        observation: Where to look.
        paths: Layers.
        batches: Only so many of the first batches.
    """
    layers: dict[LinearMap, str] = {}
    for path in paths:
        layers[reader_at(model, path)] = path
    sums = {path: Sums() for path in paths}
    number = 0

    def note(layer: LinearMap, given: Tensor, _output: Tensor) -> None:
        path = layers[layer]
        places = observation.layers[path].places[number]
        sums[path].add(read_patches(layer, given, places.to(given.device)))

    images = islice(observation.calibration.batches(), batches)
    with watching(list(layers), note):
        for number, batch in enumerate(  # noqa: B007  `note` reads it
            track(images, "inputs", batches or observation.batches)
        ):
            call_quietly(model, batch)
    return {path: sums.pop(path).moments() for path in paths}


def in_memory(
    items: Iterable[Item], needs: Mapping[str, int], paths: Mapping[Item, Sequence[str]]
) -> Iterator[list[Item]]:
    """Yield the items in portions whose layers' moments fit into MEMORY_BYTES together.

    Args:
        items: In order; one that does not fit makes a portion of its own.
        needs: Bytes by layer.
        paths: The layers that an item needs.
    """
    portion: list[Item] = []
    held: set[str] = set()
    for item in items:
        wanted = held | set(paths[item])
        if portion and sum(needs[path] for path in wanted) > MEMORY_BYTES:
            yield portion
            portion, wanted = [], set(paths[item])
        portion.append(item)
        held = wanted
    if portion:
        yield portion


def moment_bytes(layer: LinearMap) -> int:
    """Return the memory of a layer's float64 moments."""
    return 8 * (patch_length(layer) + 1) ** 2
