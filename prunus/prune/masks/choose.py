"""The door of the room: a network and a share or a pattern in; the same network with zeros out.

Shapes stay, so that dense runtimes gain no speed; what shrinks is the compressed file.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.core.shares import Pattern
from prunus.model.nm import why_not
from prunus.model.zeros import beyond, lowest, lowest_of_each, weights_of
from prunus.prune.masks.methods import find_method
from prunus.prune.masks.report import Sparsity, report

Scope = Literal["layer", "global"]


def sparsify(
    model: nn.Module,
    amount: float | None = None,
    *,
    pattern: Pattern | None = None,
    method: str = "l1",
    scope: Scope = "layer",
    seed: int = 0,
) -> Sparsity:
    """Set weights of the convolutions and linear layers to zero, in place.

    To match official figures, fuse the batch norms into the convolutions beforehand.

    Args:
        model: Any network.
        amount: Share of the weights, in (0, 1); or else
        pattern: N:M along the input channels. Layers that it does not fit stay dense.
        method: Name in METHODS.
        scope: "layer": this share of each layer; "global": of all together, so that layers of small
            weights lose more. A pattern chooses within its groups.
        seed: Of the method "random".

    Raises:
        PruningError: `amount` is no share, `method` no method, both or neither of `amount` and
            `pattern` are given, or there is nothing that could be set to zero.
    """
    if (amount is None) == (pattern is None):
        raise PruningError("amount, pattern: give one of them, a share such as 0.3 or an N:M.")
    if amount is not None and not 0 < amount < 1:
        raise PruningError(f"amount: must lie between 0 and 1, got {amount}. 0.3 zeroes 30 %.")
    rank, generator = find_method(method), torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {name: w.detach() for name, w in weights_of(model).items()}
    if not weights:
        raise PruningError(
            "there is no convolution or linear layer whose weights could be set to zero."
        )
    scores = {name: rank(weight, generator) for name, weight in weights.items()}
    for name, gone in _choose(scores, amount, pattern, scope).items():
        weights[name].masked_fill_(gone, 0)
    return report(model, weights, pattern)


def _choose(
    scores: Mapping[str, Tensor], amount: float | None, pattern: Pattern | None, scope: Scope
) -> dict[str, Tensor]:
    """Return a mask for each layer that loses weights, True for those that go."""
    if pattern is not None:
        chosen = {
            name: beyond(score, pattern)
            for name, score in scores.items()
            if not why_not(score, pattern)
        }
        if not chosen:
            raise PruningError(
                f"{pattern}: no layer's input channels are a multiple of {pattern.group}. "
                "Give an N:M with a smaller M, such as 2:4."
            )
        return chosen
    assert amount is not None
    among = lowest if scope == "global" else lowest_of_each
    return dict(zip(scores, among(list(scores.values()), amount), strict=True))
