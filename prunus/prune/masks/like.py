"""The zeros of one network given to another of the same shapes, such as to earlier weights of it.

What stays is as it was, to the last bit: so winning tickets are rewound (Frankle and Carbin, "The
Lottery Ticket Hypothesis", ICLR 2019, arXiv:1803.03635, section 1).
"""

from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.zeros import weights_of
from prunus.prune.masks.report import Sparsity, report


def set_zeros_like_(model: nn.Module, other: nn.Module) -> Sparsity:
    """Set to zero, in place, every weight of a convolution or linear layer that is zero in another.

    Args:
        model: Any network.
        other: One with the same layers of the same shapes; left as it is.

    Raises:
        PruningError: A layer is missing on either side, or of another shape; or `other` has no
            zeros. Nothing is changed then.
    """
    weights: dict[str, Tensor] = {name: w.detach() for name, w in weights_of(model).items()}
    theirs: dict[str, Tensor] = {name: w.detach() for name, w in weights_of(other).items()}
    for name in {**weights, **theirs}:
        ours, other_shape = (_shape(side.get(name)) for side in (weights, theirs))
        if ours != other_shape:
            raise PruningError(
                f"--like: {name}: its weights are {other_shape} there and {ours} here. Give a file "
                "that was made from the same architecture, classes and widths."
            )
    if not any(bool((weight == 0).any()) for weight in theirs.values()):
        raise PruningError("--like: no weight is zero there. Give what `prunus sparsify` wrote.")
    for name, weight in weights.items():
        weight.masked_fill_(theirs[name].to(weight.device) == 0, 0)
    return report(model, weights, None)


def _shape(weight: Tensor | None) -> str:
    return "missing" if weight is None else "x".join(map(str, weight.shape))
