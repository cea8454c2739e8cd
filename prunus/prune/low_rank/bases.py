"""Which directions of a layer's outputs carry most: what few channels in between should hold.

A convolution's weight is a matrix W, (O, I · k · k), from a patch of the input to one place of the
output. Keeping r orthonormal directions U of the outputs leaves U Uᵀ W: a layer Uᵀ W of r channels,
then a 1×1 layer U. With the left singular vectors of W the weights are kept best. With the
eigenvectors of the covariance of what the layer puts out, the outputs are kept best: no other pair
of r channels has a smaller squared error on these images (Zhang et al., "Accelerating Very Deep
Convolutional Networks for Classification and Detection", arXiv:1505.06798, section 3.1).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_MATTER = 0.1
"""Of the mean: what an output channel counts at least. What seems not to matter on some images may
on others."""
DEAD = 1e-14
"""Of the whole energy: a direction that carries no more is round-off."""


@dataclass(frozen=True)
class Basis:
    """Directions of a layer's outputs, those that carry most first.

    Attributes:
        into: (R, O) float64: outputs → coordinates along the directions.
        back: (O, R) float64: coordinates → outputs; `into @ back` is the identity.
        energy: (R,) float64, descending: what each direction carries, in any unit that is the same
            for all layers of a network.
        mean: (O,) float64: what the layer puts out on average; zeros where nobody has looked.
    """

    into: Tensor
    back: Tensor
    energy: Tensor
    mean: Tensor

    @property
    def full_rank(self) -> int:
        return len(self.energy)

    def lost(self, rank: int) -> float:
        """Return what the directions beyond `rank` carry, in the unit of `energy`."""
        return float(self.energy[rank:].sum())

    def lost_share(self, rank: int) -> float:
        """Return the same as a share of what all carry."""
        total = float(self.energy.sum())
        return self.lost(rank) / total if total > 0 else 0.0


def basis_of_weight(weight: Tensor, matter: Tensor, mean: Tensor | None = None) -> Basis:
    """Return the directions of a weight; the energy is its squares, and sums to 1.

    Args:
        weight: (O, I, k, k).
        matter: (O,) how much a squared error of each output counts.
        mean: (O,) what the layer puts out on average, where that is known. Of it counts what the
            weight can put out at all.
    """
    matrix = weight.detach().double().flatten(1)
    scale = _floored(matter.detach().to(matrix)).sqrt()
    left, values, _ = torch.linalg.svd(matrix * scale[:, None], full_matrices=False)
    energy = values.square()
    total = energy.sum().clamp(min=torch.finfo(energy.dtype).tiny)
    known = matrix.new_zeros(len(matrix)) if mean is None else mean.detach().to(matrix)
    able = left[:, energy > DEAD * total]
    known = able @ (able.T @ (known * scale)) / scale
    return Basis(left.T * scale, left / scale[:, None], energy / total, known)


def basis_of_outputs(said: Iterable[Tensor], matter: Tensor, full_rank: int) -> Basis:
    """Return the directions of what a layer puts out.

    Args:
        said: Tensors (n, O), such as those of `evidence.Observed.targets`: before any norm.
        matter: (O,) how much a squared error of each output counts. The energy is in its unit.
        full_rank: No more directions are told: a layer of fewer inputs than outputs has no more.
    """
    outputs = torch.cat([part.double() for part in said])
    mean = outputs.mean(dim=0)
    scale = _floored(matter.to(outputs)).sqrt()
    centred = (outputs - mean) * scale
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(outputs))  # ascending
    directions = vectors.flip(1)[:, :full_rank]
    energy = values.flip(0)[:full_rank].clamp(min=0)
    return Basis(directions.T * scale, directions / scale[:, None], energy, mean)


def _floored(matter: Tensor) -> Tensor:
    """Return weights none of which is next to nothing; ones where all are."""
    mean = matter.mean()
    return matter.clamp(min=LEAST_MATTER * mean) if bool(mean > 0) else torch.ones_like(matter)
