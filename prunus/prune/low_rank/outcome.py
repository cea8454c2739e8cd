"""What became of a detector whose convolutions were to become pairs."""

from collections.abc import Mapping
from dataclasses import dataclass

from prunus.core.console import table
from prunus.model.detector import Detector


@dataclass(frozen=True)
class FactorisedLayer:
    """What became of one layer.

    Attributes:
        name: Of its convolution.
        full_rank: Of its weight.
        rank: Channels in between; `full_rank` where it stays whole.
        flops_before: Operations of one image.
        flops_after: The same afterwards.
        error: Squared error of its outputs as a share of their variance, weighed by how much they
            matter; without images that of its weights.
        note: Why it stays whole, or "".
    """

    name: str
    full_rank: int
    rank: int
    flops_before: int
    flops_after: int
    error: float
    note: str = ""


@dataclass(frozen=True)
class Factorised:
    """A detector with pairs of convolutions, and what was done.

    Attributes:
        model: The new one.
        layers: Every layer that was looked at.
        errors: With images: the relative error of the outputs on held-out ones, by step.
        kept: The step whose network it is, or "".
    """

    model: Detector
    layers: tuple[FactorisedLayer, ...]
    errors: Mapping[str, float]
    kept: str = ""

    def table(self) -> str:
        """Return the layers as text."""
        rows = [
            (
                layer.name,
                layer.full_rank,
                layer.rank,
                f"{layer.flops_before / 1e6:.1f}",
                f"{layer.flops_after / 1e6:.1f}",
                layer.note or f"{layer.error:.4f}",
            )
            for layer in self.layers
        ]
        header = ("layer", "full rank", "rank", "MFLOPs", "after", "relative error")
        return table("low rank", header, rows)
