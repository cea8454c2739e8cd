"""Sums over what layers see at their observed places: all that a linear regression needs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from prunus.core.console import track
from prunus.model.channels.probe import call_quietly
from prunus.prune.evidence import Observation
from prunus.prune.observe.observation import moment_bytes
from prunus.prune.observe.readers import Reader, read_patches, watching

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
    """Running sums of patches, and of their products with themselves."""

    count: int = 0
    first: Tensor | float = 0.0
    second: Tensor | float = 0.0

    def add(self, patches: Tensor) -> None:
        """Add (n, D) patches."""
        self.count += len(patches)
        self.first = self.first + patches.sum(0).double()
        self.second = self.second + (patches.T @ patches).double()

    def moments(self) -> Moments:
        mean = torch.as_tensor(self.first) / self.count
        return Moments(mean, torch.as_tensor(self.second) / self.count - torch.outer(mean, mean))


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
    layers: dict[Any, str] = {model.get_submodule(path): path for path in paths}
    sums = {path: Sums() for path in paths}
    place = 0

    def note(layer: Any, inputs: Sequence[Tensor], _output: object) -> None:
        path = layers[layer]
        where = observation.layers[path].places[place].to(inputs[0].device)
        sums[path].add(read_patches(layer, inputs[0], where))

    with watching(list(layers), note):
        for batch in track(observation.calibration.batches(), "inputs", observation.batches):
            if batches is not None and place >= batches:
                break
            call_quietly(model, batch)
            place += 1
    return {path: total.moments() for path, total in sums.items()}


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


def needs(layers: Mapping[str, Reader]) -> dict[str, int]:
    """Return the bytes of each layer's moments."""
    return {path: moment_bytes(layer) for path, layer in layers.items()}
